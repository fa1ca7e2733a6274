"""`tiramisu-edu tune`: the options of samplers and guides for a world, chosen on its validation images."""

from __future__ import annotations

import argparse

from ...datafiles import data_root
from ...errors import TiramisuError
from ...masks import MASKS
from ..evaluation.measures import MEASURES
from ..evaluation.tuning import CANDIDATES, GRIDS, GUIDE_GRIDS, save_tuned, tune
from ..zoo import load
from .inpaint import chosen_device


def run_tune(options: argparse.Namespace) -> int:
    """Try all candidates, print them, and write samplers.json or guides.json beside the world's models."""
    samplers, guides, masks = (
        [n for n in text.split(",") if n] for text in (options.samplers, options.guides, options.masks)
    )
    for what, names, allowed in (("sampler", samplers, GRIDS), ("guide", guides, GUIDE_GRIDS), ("mask", masks, MASKS)):
        if unknown := [name for name in names if name not in allowed]:
            raise TiramisuError(f"cannot tune with {what} {unknown[0]!r}: choose from {', '.join(allowed)}")
    if options.measure not in MEASURES:
        raise TiramisuError(f"unknown measure {options.measure!r}; choose one of {', '.join(MEASURES)}")
    device = chosen_device(options.device)
    world = load(options.world).to(device)
    folder = (options.out or data_root()) / options.world
    title = MEASURES[options.measure].title
    print(f"{options.images} validation images x {len(masks)} masks, {options.steps} steps, {CANDIDATES} tries each")
    settings = {"steps": options.steps, "images": options.images, "seed": options.seed}
    for name in samplers + guides:
        found = tune(world, name, masks, **settings, measure_name=options.measure, device=device)
        path = folder / ("guides.json" if name in guides else "samplers.json")
        save_tuned(path, {name: found})  # after each name: a stopped run keeps what it found
        for candidate, value in found["tried"]:
            mark = "<-" if candidate == found["options"] else ""
            print(f"{name:17} {title} {value:.4f}  {candidate} {mark}", flush=True)
        print(f"written: {path}")
    return 0
