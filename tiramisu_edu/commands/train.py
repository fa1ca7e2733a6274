"""`tiramisu-edu train`: make the data and models of a world again, each from its recipe, scale and seed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import TiramisuError

Maker = Callable[[Path], object]


def run_train(options: argparse.Namespace) -> int:
    """Train the parts asked for, resuming from checkpoints beside them, and renew the checksums.

    Raises: TiramisuError for an unknown world, or a part or scale that the world does not have.
    """
    from ..zoo import data_root, write_checksums

    folder = (options.out or data_root()) / options.world
    makers = makers_of(options)
    if options.part != "all" and options.part not in makers:
        raise TiramisuError(f"{options.world} has no part {options.part!r}; choose one of {', '.join(makers)}, all")
    for part in makers if options.part == "all" else [options.part]:
        start = time.perf_counter()
        path = folder / f"{part}.safetensors"
        print(f"{part}: {path}", flush=True)
        makers[part](path)
        checkpoint_of(path).unlink(missing_ok=True)
        print(f"{part}: done in {time.perf_counter() - start:.1f} s", flush=True)
        if options.out is None:
            write_checksums()  # after each part: the next one reads the files made before it
    return 0


def checkpoint_of(path: Path) -> Path:
    """Where an unfinished run keeps its state, beside the file it will write."""
    return path.with_name(f".{path.stem}.checkpoint")


def makers_of(options: argparse.Namespace) -> dict[str, Maker]:
    """Part -> what writes its file, in the order in which `--part all` makes them."""
    if options.world == "digits":
        if options.scale != "laptop":
            raise TiramisuError(f"digits come in one scale, laptop; there is no {options.scale}")
        return _digits(options)
    return _scene(options)


def _digits(options: argparse.Namespace) -> dict[str, Maker]:
    from ..worlds.digits import build_images
    from ..worlds.digits_circuit import train_digits_circuit
    from ..worlds.digits_denoiser import train_digits_denoiser
    from ..worlds.digits_judge import train_digits_judge

    seed = options.seed
    return {
        "images": build_images,
        "circuit": lambda path: train_digits_circuit(path, seed=seed, checkpoint=checkpoint_of(path)),
        "denoiser": lambda path: train_digits_denoiser(path, seed=seed, checkpoint=checkpoint_of(path)),
        "judge": lambda path: train_digits_judge(path, seed=seed),
    }


def _scene(options: argparse.Namespace) -> dict[str, Maker]:
    """Of a procedural world. Each maker gets the path of its file; files made before it lie in the same folder."""
    from ..worlds.scene_denoiser import train_scene_denoiser
    from ..worlds.scenes import SCENES

    if options.world not in SCENES:
        raise TiramisuError(f"unknown world {options.world!r}; choose one of digits, {', '.join(SCENES)}")
    scene, seed, scale, device = SCENES[options.world], options.seed, options.scale, options.device

    def denoiser(path: Path, weak: bool = False) -> None:
        where = {"device": device, "checkpoint": checkpoint_of(path)}
        train_scene_denoiser(scene.name, scene.images, path, weak=weak, scale=scale, seed=seed, **where)

    return {
        "denoiser": denoiser,
        "denoiser_weak": lambda path: denoiser(path, weak=True),
    }
