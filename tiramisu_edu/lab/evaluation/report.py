"""What `tiramisu-edu evaluate` is asked for, as cells, and everything that the finished cells say, as files."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import torch

from ...errors import TiramisuError, known_name
from ...files import write_text
from ...masks import MASKS
from ...names import FOLDER
from ..common import machine_facts
from ..zoo import worlds_of
from . import compute, sets, tables
from .cells import Cell, CellResult, Method
from .figures import plot_frontier
from .measures import ENERGY, chosen_measure, lpips_name
from .page import write_page
from .sanity import sanity_of


def planned_cells(options: Any) -> list[Cell]:
    """All cells that the options of `tiramisu-edu evaluate` ask for.

    Raises:
        TiramisuError: an unknown world, mask, method or measure, or a number that is too small.
    """
    methods = [Method.parse(text) for text in options.methods]
    for name in options.masks:
        known_name("mask", name, MASKS)
    worlds = worlds_of(options, options.worlds)
    if chosen_measure(options.measure, worlds.values()) in ENERGY and options.seeds < 2:
        raise TiramisuError("an energy score compares completions of one picture: ask for 2 --seeds or more")
    for world in worlds.values():
        available = len(world.images(options.split)[0])
        if not 2 <= options.images <= available:  # intervals are over images
            raise TiramisuError(
                f"the {options.split} split of {world.label} has {available} images: ask for 2 to {available}, "
                f"not {options.images}"
            )
    shared = options.images, options.split, options.eta, options.dtype
    own = (), (options.size, None if options.models is None else str(options.models))
    return [
        Cell(world, mask, method, t, seed, *shared, *own[world.startswith(FOLDER)])
        for world in options.worlds
        for mask in options.masks
        for t in options.steps
        for method in (*methods, *(Method(name) for name in sanity_of(worlds[world])))
        for seed in range(options.seed, options.seed + options.seeds)
    ]


def report(options: Any, done: list[CellResult]) -> None:
    """Print the tables, and write everything that the cells tell."""
    out, worlds = options.out, worlds_of(options, options.worlds)
    done, measure = sets.with_energy(done, worlds), chosen_measure(options.measure, worlds.values())
    frame = tables.per_image(done)
    samplers, measures = tables.of_samplers(frame), tables.judging(frame, measure)
    points = {m: {name: compute.points(samplers, name, m) for name in worlds} for m in measures}
    device = torch.device(options.device.partition(",")[0])
    steps = frame["steps"].unique()
    found = [*tables.of_numbers(frame, measure)]
    if len(steps) > 1:
        costs = "evaluations", "seconds"
        found += [
            compute.frontier(own, w, m, c) for m, each in points.items() for w, own in each.items() for c in costs
        ]
    realism = [sets.realism_and_diversity(done, w, t) for w in worlds.values() for t in steps]
    found += [table for table in realism if table is not None]
    command = shlex.join(["tiramisu-edu", *sys.argv[1:]])
    machine = f"{machine_facts(device)}, {options.workers} process(es), network in {options.dtype}"
    facts = "\n".join([command, machine, *(f"{name}: {lpips_name(world)}" for name, world in worlds.items())])
    text = f"```\n{facts}\n```\n\n" + "\n".join(table.markdown() for table in found)
    print("\n" + text)
    for name, content in (("table.md", text), ("table.tex", "\n".join(table.latex() for table in found))):
        write_text(out / name, content)
    tables.write_per_image(out / "per_image.csv", frame)
    write_page(out / "index.html", done, found, worlds, facts, measures=measures)
    if len(steps) > 1:
        for m, each in points.items():
            plot_frontier(out / f"frontier_{m}.png", each, m)
    print(f"page: {out / 'index.html'}")
