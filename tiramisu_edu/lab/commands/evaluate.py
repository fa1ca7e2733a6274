"""`tiramisu-edu evaluate`: methods on worlds and masks, cell by cell, into tables, figures and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...names import PAPER_MASKS, WORLDS
from .options import WorldOptions, option

HELP = "compare samplers with and without a guide"
METHODS = ("ddim", "ddim+difference", "replacement", "replacement+difference", "copaint", "copaint+difference")


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu evaluate`."""

    worlds: tuple[str, ...] = option(("digits",), f"of {', '.join(WORLDS)}, folder:PATH", metavar="A,B")
    masks: tuple[str, ...] = option(PAPER_MASKS, "mask layouts", metavar="A,B")
    methods: tuple[str, ...] = option(METHODS, "sampler, sampler+guide, sampler+guide@0.2", metavar="A,B")
    steps: tuple[int, ...] = option((25,), "denoising steps; several give a frontier", metavar="T,T")
    images: int = option(64, "held-out images, each under each mask")
    seeds: int = option(3, "repetitions with other noise")
    seed: int = option(0, "the first of them")
    eta: float | None = option(None, "0: deterministic, 1: the noise of DDPM; None: the sampler's own")
    split: str = option("test", "tune on validation only", choices=("validation", "test"))
    dtype: str = option("float32", "of the denoising network", choices=("float32", "bfloat16"))
    measure: str | None = option(None, "what the tables compare; None: LPIPS, or MSE where a world has none")
    workers: int = option(1, "processes that share the cells; or use torchrun")
    device: str = option("cpu", "cpu, cuda, mps; cuda:0,cuda:1: several share the cells")
    out: Path = option(Path("out/evaluation"), "folder; a stopped run goes on there", writes="folder")


def run(options: Options) -> int:
    """Run the cells that are missing, then write table.md, table.tex, per_image.csv, the figures and index.html."""
    import os

    from ..common import chosen_device, fast_bfloat16
    from ..evaluation.report import planned_cells, report
    from ..evaluation.runner import run_cells

    for name in options.device.split(","):
        chosen_device(name)
        if options.dtype == "bfloat16" and not fast_bfloat16(name):
            print(f"note: {name} may lack instructions for bfloat16, which then takes longer than float32", flush=True)
    cells = planned_cells(options)
    many = f"{len(cells)} cells of {options.images} images"
    print(f"{many}; results in {options.out} (a stopped run goes on where it was)", flush=True)
    done = run_cells(cells, options.out / "cells", device=options.device, workers=options.workers)
    if int(os.environ.get("RANK", 0)) == 0:
        report(options, done)
    return 0
