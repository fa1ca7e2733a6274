"""`tiramisu-edu evaluate`: methods on worlds and masks, cell by cell, into tables, figures and a page."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Iterable

import pandas as pd
import torch

from ...errors import TiramisuError
from ...files import atomic_path
from ...masks import MASKS
from ..evaluation import compute, paper, sets, tables
from ..evaluation.cells import Cell, CellResult, Method, cell_cases
from ..evaluation.figures import plot_frontier, plot_guided_fraction
from ..evaluation.film import save_film
from ..evaluation.measures import MEASURES, lpips_name
from ..evaluation.page import write_page
from ..evaluation.runner import run_cells
from ..table import Table
from ..zoo import load
from .inpaint import chosen_device

BUDGETS = (6, 12, 25, 50, 100, 200, 400, 800)
COPAINT, GOAL = "copaint", 50  # steered methods are searched for its quality at this number of steps


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
    worlds, masks, steps = listed(options.worlds), listed(options.masks), listed(options.steps)
    methods = [Method.parse(text) for text in listed(options.methods)]
    if unknown := [mask for mask in masks if mask not in MASKS]:
        raise TiramisuError(f"unknown mask {unknown[0]!r}; choose from {', '.join(MASKS)}")
    if wrong := [text for text in steps if not text.isdigit() or int(text) < 1]:
        raise TiramisuError(f"--steps takes whole numbers from 1 on, not {wrong[0]!r}")
    if options.seeds < 1:
        raise TiramisuError(f"--seeds must be at least 1, not {options.seeds}")
    if options.measure not in MEASURES:
        raise TiramisuError(f"unknown measure {options.measure!r}; choose one of {', '.join(MEASURES)}")
    for name in worlds:
        available = len(load(name).images(options.split)[0])
        if not 2 <= options.images <= available:  # intervals are over images
            raise TiramisuError(
                f"the {options.split} split of {name} has {available} images: ask for 2 to {available}, "
                f"not {options.images}"
            )
    return [
        Cell(world, mask, method, int(t), seed, options.images, options.split, options.eta, options.dtype)
        for world in worlds
        for mask in masks
        for t in steps
        for method in methods
        for seed in range(options.seed, options.seed + options.seeds)
    ]


def report(options: argparse.Namespace, done: list[CellResult]) -> None:
    """Print the tables, and write everything that the cells tell."""
    frame, measure, out = tables.per_image(done), options.measure, options.out
    worlds = {name: load(name) for name in frame["world"].unique()}
    points = {name: compute.points(frame, name, measure) for name in worlds}
    steps = frame["steps"].unique()
    found = [*tables.of_numbers(frame, measure), *tables_of_compute(frame, points, measure)]
    if {name for name in paper.METHODS if name != "tiramisu"} <= set(frame["method"]):
        found.append(paper.averages())
    found += [sets.calibrations(done, w, t) for w in worlds.values() if w.scene is not None for t in steps]
    realism = [sets.realism_and_diversity(done, w, t) for w in worlds.values() for t in steps]
    found += [table for table in realism if table is not None]
    facts = "\n".join([machine_facts(options), *(f"{name}: {lpips_name(world)}" for name, world in worlds.items())])
    text = f"```\n{facts}\n```\n\n" + "\n".join(table.markdown() for table in found)
    print("\n" + text)
    for name, content in (("table.md", text), ("table.tex", "\n".join(table.latex() for table in found))):
        with atomic_path(out / name) as unfinished:
            unfinished.write_text(content, encoding="utf-8")
    tables.write_per_image(out / "per_image.csv", frame)
    write_page(out / "index.html", done, found, worlds, facts, measure=measure)
    if len(steps) > 1:
        plot_frontier(out / "frontier.png", points, measure)
    if "@" in "".join(frame["method"].unique()):
        plot_guided_fraction(out / "guided_fraction.png", points, measure)
    steered = [result.cell for result in done if result.cell.method.guide != "none"]
    for cell in {cell.world: cell for cell in reversed(steered)}.values():  # the first of each world
        case = next(cell_cases(worlds[cell.world], cell).split(1))
        save_film(out / f"film_{cell.world}.png", worlds[cell.world], case, cell.method, cell.steps, seed=options.seed)
    print(f"page: {out / 'index.html'}")


def tables_of_compute(frame: pd.DataFrame, points: dict[str, pd.DataFrame], measure: str) -> Iterable[Table]:
    """Who is best within a budget; with several numbers of steps also the frontiers."""
    yield compute.best_within(frame, measure, BUDGETS)
    if frame["steps"].nunique() > 1:
        costs = ("evaluations", "seconds")
        yield from (compute.frontier(found, w, measure, cost) for w, found in points.items() for cost in costs)
        if COPAINT in set(frame["method"]) and GOAL in set(frame["steps"]):
            yield compute.sooner(frame, measure, points, COPAINT, GOAL)


def machine_facts(options: argparse.Namespace) -> str:
    """The command and its machine."""
    command = shlex.join(["tiramisu-edu", *sys.argv[1:]])
    kind = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"CPU, {platform.machine()}"
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)} a process"
    network = f"network in {options.dtype}, torch {torch.__version__}"
    return f"{command}\n{kind}, {threads}, {options.workers} process(es), {network}"


def listed(text: str) -> list[str]:
    """The parts between commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
