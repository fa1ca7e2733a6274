"""`tiramisu-edu evaluate`: methods on worlds and masks, cell by cell, into tables, figures and a page."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from pathlib import Path

from ...errors import TiramisuError
from ...files import atomic_path
from ...masks import MASKS
from ..evaluation.cells import Cell, CellResult, Method, cell_cases
from ..evaluation.compute import best_within, frontier, sooner
from ..evaluation.measures import MEASURES, lpips_name
from ..evaluation.paper import METHODS
from ..evaluation.realism import realism_and_diversity
from ..evaluation.runner import run_cells
from ..evaluation.table import (
    Grid,
    Results,
    best_of_all,
    calibrations,
    means,
    papers_table,
    steered_against_base,
    write_per_image,
)
from .inpaint import chosen_device

COSTS, BUDGETS = ("evaluations", "seconds"), (6, 12, 25, 50, 100, 200, 400, 800)
COPAINT, GOAL = Method("copaint"), 50  # whose quality a steered method is asked to reach sooner


def run_evaluate(options: argparse.Namespace) -> int:
    """Run the cells that are missing, then write table.md, table.tex, per_image.csv, the figures and index.html."""
    chosen_device(options.device)
    cells = planned_cells(options)
    print(
        f"{len(cells)} cells of {options.images} images; results in {options.out} (a stopped run goes on where it was)",
        flush=True,
    )
    done = run_cells(cells, options.out / "cells", device=options.device, workers=options.workers)
    if int(os.environ.get("RANK", 0)) == 0:
        report(options, done)
    return 0


def planned_cells(options: argparse.Namespace) -> list[Cell]:
    """All cells that the options ask for.

    Raises:
        TiramisuError: an unknown world, mask, method or measure, or a number that is too small.
    """
    from ..zoo import load

    worlds, masks = _listed(options.worlds), _listed(options.masks)
    methods = [Method.parse(text) for text in _listed(options.methods)]
    for mask in masks:
        if mask not in MASKS:
            raise TiramisuError(f"unknown mask {mask!r}; choose from {', '.join(MASKS)}")
    steps = [_at_least_one("--steps", text) for text in _listed(options.steps)]
    if options.seeds < 1:
        raise TiramisuError(f"--seeds must be at least 1, not {options.seeds}")
    if options.measure not in MEASURES:
        raise TiramisuError(f"unknown measure {options.measure!r}; choose one of {', '.join(MEASURES)}")
    for name in worlds:
        available = len(load(name).images(options.split)[0])
        if not 1 <= options.images <= available:
            raise TiramisuError(
                f"the {options.split} split of {name} has {available} images: ask for 1 to {available}, "
                f"not {options.images}"
            )
    return [
        Cell(world, mask, method, t, seed, options.images, options.split, options.eta, options.dtype)
        for world in worlds
        for mask in masks
        for t in steps
        for method in methods
        for seed in range(options.seed, options.seed + options.seeds)
    ]


def report(options: argparse.Namespace, done: list[CellResult]) -> None:
    """Print the tables, and write everything that the cells tell."""
    from ..evaluation.figures import plot_frontier, plot_guided_fraction
    from ..evaluation.film import save_film
    from ..evaluation.page import write_page
    from ..zoo import load

    results = Results(done)
    grids = all_grids(results, options.measure)
    worlds = {name: load(name) for name in results.worlds}
    facts = machine_facts(options)
    facts += "".join(f"\n{name}: {lpips_name(world)}" for name, world in worlds.items())
    grids += [calibrations(results, w, t) for w in worlds.values() if w.scene is not None for t in results.steps]
    sets = [realism_and_diversity(results, w, t) for w in worlds.values() for t in results.steps]
    grids += [grid for grid in sets if grid is not None]
    text = f"```\n{facts}\n```\n\n" + "\n".join(grid.markdown() for grid in grids)
    print("\n" + text)
    _write(options.out / "table.md", text)
    _write(options.out / "table.tex", "\n".join(grid.latex() for grid in grids))
    write_per_image(options.out / "per_image.csv", done)
    write_page(options.out / "index.html", results, grids, worlds, facts, measure=options.measure)
    if len(results.steps) > 1:
        plot_frontier(options.out / "frontier.png", results, options.measure)
    if any(method.fraction is not None for method in results.methods):
        plot_guided_fraction(options.out / "guided_fraction.png", results, options.measure)
    for method in [m for m in results.methods if m.guide != "none"][:1]:
        for setting in {setting.world: setting for setting in reversed(results.settings)}.values():
            cases = cell_cases(worlds[setting.world], results.cells(setting, method, results.steps[0])[0].cell)
            film = options.out / f"film_{setting.world}.png"
            save_film(film, worlds[setting.world], next(cases.split(1)), method, results.steps[0], seed=options.seed)
    print(f"page: {options.out / 'index.html'}")


def all_grids(results: Results, measure: str) -> list[Grid]:
    """Per world and number of steps the means; who gains over its base; who is best of all."""
    grids = [means(results, world, measure, steps) for world in results.worlds for steps in results.steps]
    if any(method.base != method and method.base in results.methods for method in results.methods):
        grids.append(steered_against_base(results, measure))
    grids += [best_of_all(results, measure, steps) for steps in results.steps]
    grids += [best_within(results, measure, BUDGETS)]
    if len(results.steps) > 1:
        grids += [frontier(results, world, measure, cost) for world in results.worlds for cost in COSTS]
        if COPAINT in results.methods and GOAL in results.steps:
            grids += [sooner(results, measure, COPAINT, GOAL)]
    published = {Method.parse(name) for name in METHODS if name != "tiramisu"}
    return [*grids, papers_table()] if published <= set(results.methods) else grids


def machine_facts(options: argparse.Namespace) -> str:
    """The command, and what it ran on."""
    import torch

    command = shlex.join(["tiramisu-edu", *sys.argv[1:]])
    kind = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"CPU, {platform.machine()}"
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)} a process"
    network = f"network in {options.dtype}, torch {torch.__version__}"
    return f"{command}\n{kind}, {threads}, {options.workers} process(es), {network}"


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _at_least_one(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise TiramisuError(f"{name} takes whole numbers from 1 on, not {text!r}")
    return int(text)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
