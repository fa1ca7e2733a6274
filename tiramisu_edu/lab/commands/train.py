"""`tiramisu-edu train`: make the data and models of a world again, each from its recipe, scale and seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...names import SCALES, WORLDS
from .options import option

HELP = "make the models of a world again"


@dataclass(frozen=True)
class Options:
    """Of `tiramisu-edu train`."""

    world: str = option(help=f"one of {', '.join(WORLDS)}, or folder:PATH, pictures of your own")
    part: str = option("all", "one file, such as denoiser, denoiser_weak or circuit")
    scale: str = option(
        "laptop", "toy: seconds, to see it work; laptop: as shipped; gpu: hours on one GPU; paper: days", choices=SCALES
    )
    seed: int = option(0, "of initial weights and batches")
    device: str = option("cpu", "of denoisers: cpu, cuda, cuda:1")
    size: int | None = option(None, "of a folder's pictures: 32, 64, 128, ...; None: 64")
    source: Path | None = option(None, "of clothes: a folder with all of Fashion-MNIST; None: the 7000 pictures here")
    threads: int = option(1, "of the processor; 0: as PyTorch chooses")
    out: Path | None = option(
        None,
        "folder to write to; None: the package's data folder, or PATH-models-SIZE beside a folder",
        writes="folder",
    )


def run(options: Options) -> int:
    """Train the parts asked for, each from its checkpoint where it was stopped, and renew the checksums."""
    from ..common import chosen_device
    from ..recipes.parts import Request, make

    chosen_device(options.device)
    asked = options.world, options.scale, options.seed, options.device, options.size, options.out, options.source
    make(Request(*asked), options.part)
    return 0
