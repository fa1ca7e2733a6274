"""`tiramisu-edu tune`: the options of samplers and guides for a world, chosen on its validation images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import TiramisuError, known_name
from ...names import PAPER_MASKS, SAMPLERS, WORLDS
from .options import WorldOptions, option

HELP = "choose options of samplers and guides on validation images"
TUNED = tuple(name for name in SAMPLERS if name not in ("ddim", "ddpm"))


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu tune`."""

    world: str = option(help=f"one of {', '.join(WORLDS)}, or folder:PATH")
    samplers: tuple[str, ...] = option(TUNED, "each with eight tries", metavar="A,B", may_be_empty=True)
    guides: tuple[str, ...] = option(
        (), "latent, difference-kernel; eight tries each too", metavar="A,B", may_be_empty=True
    )
    masks: tuple[str, ...] = option(PAPER_MASKS, "mask layouts", metavar="A,B")
    steps: int = option(12, "denoising steps")
    images: int = option(16, "validation images, each under each mask")
    measure: str | None = option(None, "what is best; None: LPIPS, or MSE where the world has none")
    seed: int = option(0, "of image choice and noise")
    out: Path | None = option(None, "folder for WORLD/samplers.json; None: beside the models", writes="folder")


def run(options: Options) -> int:
    """Try all candidates, print them, and write samplers.json or guides.json beside the world's models."""
    from ...checkpoint import Checkpoint
    from ...masks import MASKS
    from ..common import check_place
    from ..datafiles import write_checksums
    from ..evaluation.measures import MEASURES, chosen_measure
    from ..evaluation.tuning import CANDIDATES, GRIDS, GUIDE_GRIDS, Task, save_tuned, tune, tuning_request
    from ..zoo import world_of

    asked: list[tuple[str, tuple[str, ...], Any]] = [("mask", options.masks, MASKS)]
    asked += [("sampler to tune", options.samplers, GRIDS), ("guide to tune", options.guides, GUIDE_GRIDS)]
    _check_names(asked)
    if not options.samplers + options.guides:
        raise TiramisuError("--samplers and --guides are both empty: name one to tune")
    world = world_of(options)
    measure, folder = chosen_measure(options.measure, [world]), world.tuned_folder
    if options.out is not None:
        folder = options.out / world.label
    check_place(folder, "folder")
    task = Task(list(options.masks), options.steps, options.images, options.seed, measure)
    kept = Checkpoint(folder / ".tune.checkpoint", tuning_request(options, world))
    many = f"{options.images} validation images x {len(options.masks)} masks, {options.steps} steps"
    print(f"{many}, {CANDIDATES} tries each; a stopped run goes on where it was")
    found = {}
    for name in options.samplers + options.guides:
        found[name] = tune(world, name, task, kept)
        for candidate, value in found[name]["tried"]:
            mark = "<-" if candidate == found[name]["options"] else ""
            number = "not finite" if value is None else f"{value:.4f}"
            print(f"{name:17} {MEASURES[measure].title} {number}  {candidate} {mark}", flush=True)
    for path, names in ((folder / "samplers.json", options.samplers), (folder / "guides.json", options.guides)):
        if names:  # at the end, so that a guide is tuned on the same sampler however often the run was stopped
            save_tuned(path, {name: found[name] for name in names})
            print(f"written: {path}")
    if options.out is None and world.listed:
        write_checksums()
    kept.remove()
    return 0


def _check_names(asked: list[tuple[str, tuple[str, ...], Any]]) -> None:
    for what, names, allowed in asked:
        for name in names:
            known_name(what, name, allowed)
