"""`tiramisu-edu tune`: the samplers' options for a world, chosen on its validation images."""

from __future__ import annotations

import argparse

from ..errors import TiramisuError
from ..evaluation.masks import MASKS
from ..evaluation.measures import MEASURES
from ..evaluation.tuning import CANDIDATES, GRIDS, save_tuned, tune
from .inpaint import chosen_device


def run_tune(options: argparse.Namespace) -> int:
    """Try every sampler's candidates, print them all, and write samplers.json beside the world's models."""
    from ..zoo import data_root, load

    samplers, masks = options.samplers.split(","), options.masks.split(",")
    for what, names, allowed in (("sampler", samplers, GRIDS), ("mask", masks, MASKS)):
        if unknown := [name for name in names if name not in allowed]:
            raise TiramisuError(f"cannot tune with {what} {unknown[0]!r}: choose from {', '.join(allowed)}")
    if options.measure not in MEASURES:
        raise TiramisuError(f"unknown measure {options.measure!r}; choose one of {', '.join(MEASURES)}")
    device = chosen_device(options.device)
    world = load(options.world).to(device)
    path = (options.out or data_root()) / options.world / "samplers.json"
    title = MEASURES[options.measure].title
    print(f"{options.images} validation images x {len(masks)} masks, {options.steps} steps, {CANDIDATES} tries each")
    for name in samplers:
        found = tune(
            world,
            [name],
            masks,
            steps=options.steps,
            images=options.images,
            seed=options.seed,
            measure_name=options.measure,
            device=device,
        )
        save_tuned(path, found)  # after each sampler: a stopped run keeps what it found
        for candidate, value in found[name]["tried"]:
            mark = "<-" if candidate == found[name]["options"] else ""
            print(f"{name:12} {title} {value:.4f}  {candidate} {mark}", flush=True)
    print(f"written: {path}")
    return 0
