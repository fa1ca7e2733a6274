"""`tiramisu-edu train`: make the data and models of a world again, each from its recipe, scale and seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...names import SCALES, WORLDS
from .options import WorldOptions, option

HELP = "make the models of a world again"


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu train`."""

    world: str = option(help=f"one of {', '.join(WORLDS)}, or folder:PATH, pictures of your own")
    part: str = option("all", "denoiser, denoiser_weak, circuit (with its codebook), tokenizer, codes, ...")
    scale: str = option(
        "laptop", "toy: seconds, to see it work; laptop: as shipped; gpu: hours on one GPU; paper: days", choices=SCALES
    )
    seed: int = option(0, "of initial weights and batches")
    steps: int | None = option(None, "of denoiser and tokenizer; None: those of the scale", at_most=10**8)
    minutes: float | None = option(None, "that each part takes at most; None: no limit")
    images: int | None = option(None, "of the training split; None: those of the scale", at_most=10**8)
    num_latents: int | None = option(None, "states of a latent of the circuits; None: those of the scale", metavar="K")
    patch: int | None = option(None, "side of the circuit's patches in pixels; None: 4")
    source: Path | None = option(None, "of clothes: a folder with all of Fashion-MNIST; None: the 7000 pictures here")
    out: Path | None = option(None, "folder for WORLD/...; None: the data folder; not of a folder", writes="folder")


def run(options: Options) -> int:
    """Train the parts named, each from its checkpoint where it was stopped, and renew the checksums."""
    from ..common import chosen_device, joined
    from ..recipes.parts import make

    with joined(options.device) as device:
        chosen_device(device)
        make(replace(options, device=device))
    return 0
