"""The paper's comparison at its own scale: CoPaint, and CoPaint steered by a circuit over VQ-GAN codes, on photographs.

    python -m studies.paper_scale celeba-hq --pictures CelebA-HQ --tokenizer vqgan.safetensors --circuit pc.jpc

What to download, and what it takes: docs/paper_scale.md. A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from tqdm.auto import tqdm

from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.pyjuice import load_pyjuice
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.errors import TiramisuError, unknown_name
from tiramisu_edu.files import write_text
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.datafiles import sha256
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.perceptual import official_weights, perceptual_metric
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.worlds.folder import PictureFolder
from tiramisu_edu.masks import mask
from tiramisu_edu.names import PAPER_MASKS
from tiramisu_edu.tokenizer import Tokenizer
from tiramisu_edu.world import PartsWorld

from . import common
from .paper_table import AVERAGES, METHODS


class Preset(NamedTuple):
    """A data set of the paper: its name there, and its denoiser on the hub where one is in diffusers' format."""

    title: str
    denoiser: str | None


PRESETS = {
    "celeba-hq": Preset("CelebA-HQ", "google/ddpm-celebahq-256"),
    "lsun-bedroom": Preset("LSUN-Bedroom", "google/ddpm-bedroom-256"),
    "imagenet": Preset("ImageNet", None),
}
GUIDES = {"copaint": "none", "tiramisu": "latent-published"}  # the first 20 % of the steps; see docs/paper.md


def study(options: argparse.Namespace) -> None:
    """Complete every picture under every mask with both methods, one at a time, and print the table."""
    preset = PRESETS[options.data]
    if (source := options.denoiser or preset.denoiser) is None:
        raise TiramisuError(f"no denoiser of {preset.title} is known in diffusers' format: give --denoiser FOLDER")
    masks = options.masks.split(",")
    for name in masks:
        if name not in PAPER_MASKS:
            raise unknown_name("mask", name, PAPER_MASKS)
    is_pyjuice = options.circuit.suffix == ".jpc"
    world = PartsWorld(
        options.device,
        denoiser=Denoiser.from_pretrained(source, label=options.label),
        tokenizer=Tokenizer.from_pretrained(options.tokenizer),
        code_circuit=load_pyjuice(options.circuit) if is_pyjuice else Circuit.load(options.circuit),
    )
    shape = world.denoiser.shape
    if shape is None or shape[1] != shape[2]:
        raise TiramisuError(f"the network in {source} does not state that its pictures are square: {shape}")
    images = PictureFolder(options.pictures, shape[1]).images("test", options.images)[0]
    request = {name: str(value) for name, value in vars(options).items() if name not in ("out", "masks", "threads")}
    request |= {"circuit": sha256(options.circuit), "tokenizer": sha256(options.tokenizer)}
    done = _read(options.out.with_suffix(".json"), request)
    cells = [(name, method, n) for name in masks for method in GUIDES for n in range(len(images))]
    for name, method, n in tqdm(cells, unit="picture"):
        if (key := f"{name} {method} {n}") not in done:
            done[key] = _measured(world, images[n : n + 1], name, method, n, options)
            _write(options.out.with_suffix(".json"), request, done)
    common.write_page(options.out, _tables(preset, masks, done, len(images)))


def _measured(
    world: PartsWorld, image: torch.Tensor, name: str, method: str, n: int, options: argparse.Namespace
) -> dict[str, float]:
    """One picture's errors and seconds; mask and noise depend on its number and the seed alone."""
    generator = torch.Generator().manual_seed(1_000_003 * options.seed + n)
    known = mask(name, *image.shape[-2:], generator=generator)
    task = (world, image.to(world.device), known.to(world.device))
    steps = options.steps
    found = inpaint(*task, sampler="copaint", guide=GUIDES[method], num_inference_steps=steps, generator=generator)
    completed = found.images.cpu()
    errors = {"hidden-pixel MSE": float(hidden_mse(completed, image, known[None]))}
    if official_weights():
        errors["LPIPS (AlexNet)"] = float(perceptual_metric(None).distance(completed, image))
    return errors | {"seconds": found.seconds}


def _tables(preset: Preset, masks: list[str], done: dict[str, dict[str, float]], count: int) -> list[Table]:
    """A table for each measure, masks as columns; the paper's own averages beside LPIPS."""
    tables = []
    for measure in next(iter(done.values())):
        rows = []
        for method in GUIDES:
            means = [sum(done[f"{name} {method} {n}"][measure] for n in range(count)) / count for name in masks]
            row: dict[str, Any] = {"method": method, **{name: f"{x:.3f}" for name, x in zip(masks, means)}}
            row["mean"] = f"{sum(means) / len(means):.3f}"
            if measure.startswith("LPIPS"):
                row["the paper's, seven masks"] = f"{AVERAGES[preset.title][METHODS.index(method)]:.3f}"
            rows.append(row)
        tables.append(Table(f"{preset.title}, {count} pictures: {measure}", pd.DataFrame(rows)))
    return tables


def _read(path: Path, request: dict[str, str]) -> dict[str, dict[str, float]]:
    """What an earlier run with the same request has measured."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found.get("done", {}) if found.get("request") == request else {}


def _write(path: Path, request: dict[str, str], done: dict[str, dict[str, float]]) -> None:
    write_text(path, json.dumps({"request": request, "done": done}))


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    options = argparse.ArgumentParser(prog="python -m studies.paper_scale", description=(__doc__ or "").split("\n")[0])
    options.add_argument("data", choices=PRESETS, help="a data set of the paper")
    options.add_argument("--pictures", type=Path, required=True, help="folder of its pictures")
    options.add_argument("--tokenizer", type=Path, required=True, help="VQ-GAN checkpoint, safetensors")
    options.add_argument("--circuit", type=Path, required=True, help="circuit over its codes, .jpc or .safetensors")
    options.add_argument("--denoiser", help="folder or hub name of a diffusers model; the preset's if not given")
    options.add_argument("--label", type=int, help="class, of a class-conditional denoiser")
    options.add_argument("--masks", default=",".join(PAPER_MASKS), help="of the paper's seven")
    options.add_argument("--images", type=int, default=100, help="test pictures")
    options.add_argument("--steps", type=int, default=250, help="denoising steps")
    options.add_argument("--seed", type=int, default=0, help="of masks and noise")
    options.add_argument("--threads", type=int, default=1, help="of the processor")
    options.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    options.add_argument("--out", type=Path, default=Path("out/paper_scale.md"), help="the table; FILE.json beside it")
    common.run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
