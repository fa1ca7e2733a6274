"""`tiramisu-edu train`: make the data and models of a world again, each from its recipe, scale and seed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datafiles import data_root, write_checksums
from ...errors import TiramisuError
from ...names import FOLDER

if TYPE_CHECKING:
    from ..recipes.scene_denoiser import Images

Maker = Callable[[Path], object]


def run_train(options: argparse.Namespace) -> int:
    """Train the parts asked for, resuming from checkpoints beside them, and renew the checksums.

    Raises: TiramisuError for an unknown world, or a part or scale that the world does not have.
    """
    folder, makers = plan(options)
    if options.part != "all" and options.part not in makers:
        raise TiramisuError(f"{options.world} has no part {options.part!r}; choose one of {', '.join(makers)}, all")
    for part in makers if options.part == "all" else [options.part]:
        start = time.perf_counter()
        path = folder / f"{part}.safetensors"
        print(f"{part}: {path}", flush=True)
        makers[part](path)
        checkpoint_of(path).unlink(missing_ok=True)
        print(f"{part}: done in {time.perf_counter() - start:.1f} s", flush=True)
        if options.out is None and not options.world.startswith(FOLDER):
            write_checksums()  # after each part: the next one reads the files made before it
    return 0


def checkpoint_of(path: Path) -> Path:
    """Where an unfinished run keeps its state, beside the file it will write."""
    return path.with_name(f".{path.stem}.checkpoint")


def plan(options: argparse.Namespace) -> tuple[Path, dict[str, Maker]]:
    """The folder to write to, and part -> what writes its file, in the order in which `--part all` makes them."""
    if options.world.startswith(FOLDER):
        from ..worlds.folder import FolderWorld

        world = FolderWorld(options.world, size=options.size, models=options.out)
        return world.models, _patch_circuits(world.name, world.images, options) | _denoisers(
            world.name, world.images, options
        )
    if options.size is not None:
        raise TiramisuError(f"--size is for folders, such as {FOLDER}PATH; {options.world} has its own")
    makers = _digits(options) if options.world == "digits" else _scene(options)
    return (options.out or data_root()) / options.world, makers


def _digits(options: argparse.Namespace) -> dict[str, Maker]:
    if options.scale != "laptop":
        raise TiramisuError(f"digits come in one scale, laptop; there is no {options.scale}")
    from ..recipes.digits_circuit import train_digits_circuit
    from ..recipes.digits_denoiser import train_digits_denoiser
    from ..recipes.digits_judge import train_digits_judge
    from ..worlds.digits import build_images

    seed = options.seed
    return {
        "images": build_images,
        "circuit": lambda path: train_digits_circuit(path, seed=seed, checkpoint=checkpoint_of(path)),
        "denoiser": lambda path: train_digits_denoiser(path, seed=seed, checkpoint=checkpoint_of(path)),
        "judge": lambda path: train_digits_judge(path, seed=seed),
    }


def _scene(options: argparse.Namespace) -> dict[str, Maker]:
    """Of a procedural world. Files made earlier lie in the same folder.

    Only the denoisers grow beyond the scale laptop: the other parts have two sizes, toy and what ships.
    """
    from ..recipes import scene_codes, scene_judge, scene_tokenizer
    from ..worlds.scenes import SCENES

    if options.world not in SCENES:
        raise TiramisuError(f"unknown world {options.world!r}; choose one of digits, {', '.join(SCENES)}, {FOLDER}PATH")
    scene, seed, toy = SCENES[options.world], options.seed, options.scale == "toy"

    def tokenizer(path: Path) -> None:
        sizes = {"num_codes": 16, "width": 16, "steps": 20, "unquantised_steps": 5} if toy else {}
        settings = replace(scene_tokenizer.SETTINGS, **sizes)
        number: dict[str, Any] = {"num_images": 256, "num_validation": 64} if toy else {}
        scene_tokenizer.train_scene_tokenizer(scene, path, seed, settings=settings, **number)

    def codes(path: Path) -> None:
        structure = path.stem.removeprefix("codes_")
        settings = scene_codes.CodeSettings(**({"images": 256, "num_latents": 4, "epochs": 1} if toy else {}))
        inputs = beside(path, "tokenizer"), structure
        checkpoint = checkpoint_of(path)
        scene_codes.train_code_circuit(scene, path, *inputs, seed=seed, settings=settings, checkpoint=checkpoint)

    def judge(path: Path) -> None:
        sizes: dict[str, Any] = {"num_images": 256, "epochs": 1, "num_test": 64} if toy else {}
        scene_judge.train_scene_judge(scene, path, seed, **sizes)

    return {
        "judge": judge,
        **_patch_circuits(scene.name, scene.images, options),
        "tokenizer": tokenizer,
        "codes_hclt": codes,
        "codes_quad_tree": codes,
        **_denoisers(scene.name, scene.images, options),
    }


def _patch_circuits(world: str, images: Images, options: argparse.Namespace) -> dict[str, Maker]:
    """Of any world of colour pictures; the circuit's maker writes the codebook too."""
    from ..recipes.scene_circuit import PatchSettings, train_independent_circuit, train_patch_circuit

    toy = {"images": 256, "num_codes": 8, "num_latents": 4, "rounds": 1, "epochs": 1}
    settings = PatchSettings(**(toy if options.scale == "toy" else {}))

    def circuit(path: Path) -> None:
        train_patch_circuit(world, images, path, beside(path, "codebook"), seed=options.seed, settings=settings)

    def circuit_independent(path: Path) -> None:
        train_independent_circuit(world, images, path, beside(path, "codebook"), seed=options.seed)

    return {"circuit": circuit, "circuit_independent": circuit_independent}


def _denoisers(world: str, images: Images, options: argparse.Namespace) -> dict[str, Maker]:
    """Of any world of colour pictures."""
    from ..recipes.scene_denoiser import train_scene_denoiser

    def train(path: Path) -> None:
        sizes = {"weak": path.stem == "denoiser_weak", "scale": options.scale, "seed": options.seed}
        train_scene_denoiser(world, images, path, device=options.device, checkpoint=checkpoint_of(path), **sizes)

    return {"denoiser": train, "denoiser_weak": train}


def beside(path: Path, part: str) -> Path:
    """The file of another part of the same world."""
    return path.with_name(f"{part}.safetensors")
