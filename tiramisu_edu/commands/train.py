"""`tiramisu-edu train`: make the data and models of a world again, each from its recipe and seed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path


def run_train(options: argparse.Namespace) -> int:
    """Train the parts asked for, resuming from checkpoints beside them, and renew the checksums."""
    from ..zoo import data_root, write_checksums

    root = options.out or data_root()
    makers = _digits(root, options.seed)
    parts = list(makers) if options.part == "all" else [options.part]
    for part in parts:
        start = time.perf_counter()
        path = root / options.world / f"{part}.safetensors"
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


def _digits(root: Path, seed: int) -> dict[str, Callable[[Path], object]]:
    from ..worlds.digits import build_images
    from ..worlds.digits_circuit import train_digits_circuit
    from ..worlds.digits_denoiser import train_digits_denoiser
    from ..worlds.digits_judge import train_digits_judge

    return {
        "images": build_images,
        "circuit": lambda path: train_digits_circuit(path, seed=seed, checkpoint=checkpoint_of(path)),
        "denoiser": lambda path: train_digits_denoiser(path, seed=seed, checkpoint=checkpoint_of(path)),
        "judge": lambda path: train_digits_judge(path, seed=seed),
    }
