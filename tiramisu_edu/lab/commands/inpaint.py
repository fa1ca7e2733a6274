"""`tiramisu-edu inpaint`: repair held-out images, or one of your own, and show it in one picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import TiramisuError
from ...files import atomic_path
from ...masks import MASKS, load_mask, mask_batch
from ...pictures import load_image
from ...steering.evidence import PixelCodebook
from ..evaluation.comparison import Cases, Completed, circuit_samples, make_cases, run_method
from ..evaluation.measures import MEASURES, measure
from ..evaluation.sheet import damaged, save_sheet
from ..evaluation.significance import interval

if TYPE_CHECKING:
    from ...world import World

COLUMNS = 12  # images shown in the picture


def run_inpaint(options: argparse.Namespace) -> int:
    """Complete the images with the plain and the steered sampler and with the circuit alone; print and draw it all."""
    from ...diffusion.samplers import get_sampler
    from ...methods import make_guide
    from ..zoo import load

    get_sampler(options.sampler)
    if options.batch < 1:
        raise TiramisuError(f"--batch must be at least 1, not {options.batch}")
    device = chosen_device(options.device)
    world = load(options.world, size=options.size).to(device)
    make_guide(options.guide, world)  # what is missing or damaged shows before the work
    cases, has_truth = _cases(world, options)
    print(f"world {options.world}, seed {options.seed}, {len(cases.images)} images, mask {options.mask}")

    settings = sampling_settings(options, device)
    methods = {options.sampler: run_method(world, cases, guide="none", **settings)}
    if options.guide != "none":
        methods[f"{options.sampler} + {options.guide}"] = run_method(world, cases, guide=options.guide, **settings)
    circuit = circuit_samples(world, cases.images, cases.known, seed=options.seed)
    methods["circuit alone"] = Completed(circuit, 0.0, 0.0, 0.0, 0.0)
    measured = {label: measure(world, done.images, cases) for label, done in methods.items()} if has_truth else {}
    report = {"seed": options.seed, "mask": str(options.mask), "methods": _report(measured, cases)}
    if options.guide != "none":
        report["guide_share"] = _print_cost(world, cases, methods, options, settings)
    title = f"{options.world}, mask {Path(options.mask).name}, {options.num_inference_steps} steps, seed {options.seed}"
    path = save_sheet(options.out, _rows(cases, methods, measured), title)
    write_json(options.json, report)
    print(f"picture: {path}")
    return 0


def _rows(cases: Cases, methods: dict[str, Completed], measured: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of the picture; where the truth is known, each label says how well the method did."""
    rows = {"truth": cases.images[:COLUMNS]} if measured else {}
    rows["damaged"] = damaged(cases.images, cases.known)[:COLUMNS]
    for label, done in methods.items():
        right = [measured[label][name] for name in ("determined", "agreement") if name in measured.get(label, {})]
        score = f"\n{float(right[0].nanmean()):.0%} right" if right else ""
        rows[label.replace(" + ", "\n+ ") + score] = done.images[:COLUMNS]
    return rows


def sampling_settings(options: argparse.Namespace, device: torch.device) -> dict:
    """The arguments of `run_method` that the command line sets."""
    return {
        "sampler": options.sampler,
        "num_inference_steps": options.num_inference_steps,
        "guided_fraction": options.guided_fraction,
        "eta": options.eta,
        "seed": options.seed,
        "device": device,
    }


def _cases(world: World, options: argparse.Namespace) -> tuple[Cases, bool]:
    """The damaged images, and whether the truth under the damage is known."""
    height, width = world.images("test", 1)[0].shape[-2:]
    is_layout = options.mask in MASKS
    if not is_layout and not Path(options.mask).exists():
        raise TiramisuError(f"unknown mask {options.mask!r}: choose one of {', '.join(MASKS)}, or a picture file")
    if options.image is None:
        if is_layout:
            return make_cases(world, [options.mask], options.batch, seed=options.seed), True
        cases = make_cases(world, ["left"], options.batch, seed=options.seed)
        return cases._replace(known=load_mask(options.mask, height, width).expand_as(cases.known)), True
    picture = load_image(options.image, (height, width), world.images("test", 1)[0].shape[1])
    if picture.notice:
        print(f"notice: {picture.notice}")
    image, codebook = picture.image, world.codebook
    if isinstance(codebook, PixelCodebook):
        image = codebook.image(codebook.categories(image), image.shape)
        if not torch.equal(image, picture.image):
            print(f"notice: {options.image}: its pixels are rounded to the world's {len(codebook.levels)} levels")
    generator = torch.Generator().manual_seed(options.seed)
    known = mask_batch(options.mask, 1, height, width, generator=generator) if is_layout else None
    known = load_mask(options.mask, height, width)[None] if known is None else known
    number = min(options.batch, COLUMNS)
    nothing = torch.zeros(number, dtype=torch.long)
    return Cases(image.repeat(number, 1, 1, 1), nothing, known.repeat(number, 1, 1, 1), nothing), False


def _report(measured: dict[str, dict[str, Tensor]], cases: Cases) -> dict[str, dict]:
    """Print a line per method; without a truth to compare with there is nothing to print."""
    if not measured:
        return {}
    base_name, base = next(iter(measured.items()))
    columns = list(base)[:2]
    titles = [MEASURES[name].title for name in columns]
    print(f"\n{'':26}" + "".join(f"{title:>22}  {f'minus {base_name} [95 %]':>30}" for title in titles))
    report: dict[str, dict] = {}
    for label, values in measured.items():
        line, report[label] = f"{label:26}", {}
        for name in columns:
            mean = float(values[name].nanmean())
            report[label][name] = {"mean": mean}
            text = ""
            gaps = values[name] - base[name]
            if values is not base and len(cases.identity[gaps.isfinite()].unique()) > 1:
                found = interval(gaps, cases.identity)
                report[label][name] |= {"difference": found.mean, "low": found.low, "high": found.high}
                text = f"{found:+.3f}"
            line += f"{mean:22.3f}  {text:>30}"
        print(line)
    return report


def _print_cost(
    world: World, cases: Cases, methods: dict[str, Completed], options: argparse.Namespace, settings: dict
) -> dict:
    """Print the circuit's share of the sampling time, as run and with 20 % of the steps guided."""
    name = f"{options.sampler} + {options.guide}"
    fifth = run_method(world, cases, guide=options.guide, **(settings | {"guided_fraction": 0.2}))
    print(
        f"\n{name}: {methods[name].seconds:.2f} s; the circuit's share of the sampling time is "
        f"{methods[name].guide_share:.1%}, and {fifth.guide_share:.1%} with 20 % of the steps guided"
    )
    return {"as_run": methods[name].guide_share, "at_20_percent": fifth.guide_share}


def write_json(path: Path | None, report: dict) -> None:
    """Write the report, where one was asked for, atomically."""
    if path is not None:
        with atomic_path(path) as unfinished:
            unfinished.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def chosen_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        TiramisuError: when there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise TiramisuError(f"device {name!r} is not available here: use --device cpu") from None
    return device
