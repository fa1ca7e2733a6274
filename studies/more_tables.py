"""Tables beside those of `tiramisu-edu evaluate`, from its cells: budgets, calibrated choices, the paper's averages.

`F + 2 B` counts a backward evaluation as two by convention, as if weights were trained. Samplers differentiate by the
image alone, which costs less. So budgets are also given in the time of forward evaluations, which is measured here.
The options are those of `tiramisu-edu evaluate`. Cells that it left in the folder `--out` are read, the others are run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch

from studies.common import of_cells
from studies.paper_table import METHODS, averages
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.walk import clock
from tiramisu_edu.lab.commands.evaluate import Options
from tiramisu_edu.lab.common import machine_facts
from tiramisu_edu.lab.evaluation import tables
from tiramisu_edu.lab.evaluation.cells import CellResult, Method, cell_cases
from tiramisu_edu.lab.evaluation.factors import calibration
from tiramisu_edu.lab.evaluation.measures import MEASURES, chosen_measure
from tiramisu_edu.lab.evaluation.sets import by_method, with_energy
from tiramisu_edu.lab.evaluation.tables import SETTING, better
from tiramisu_edu.lab.table import Table
from tiramisu_edu.masks import BOXES, PAPER_COLUMNS
from tiramisu_edu.world import World

BATCH, REPEATS = 8, 5
BUDGETS = (6, 12, 25, 50, 100, 200, 400, 800)
COSTS = {"evaluations": "network evaluations, F + 2 B", "forwards": "time, in forward evaluations"}


def tables_of(options: Options, done: list[CellResult], worlds: Mapping[str, World]) -> Iterator[Table]:
    """All tables: who wins within each budget by each measure, choices of drawn worlds, and the paper's averages."""
    frame = tables.per_image(with_energy(done, worlds))
    samplers, device = tables.of_samplers(frame).copy(), torch.device(options.device.partition(",")[0])
    prices = {
        name: measured(w.to(device).denoiser, w.images("validation", BATCH)[0].to(device)) for name, w in worlds.items()
    }
    for name, price in prices.items():
        forward = f"{name}: a forward evaluation takes {1000 * price.forward:.1f} ms"
        print(f"{forward}, a backward one {price.backward:.2f} times as long; {machine_facts(device)}")
    samplers["forwards"] = samplers["seconds"] / samplers["world"].map({n: p.forward for n, p in prices.items()})
    for measure in tables.judging(frame, chosen_measure(options.measure, worlds.values())):
        yield from (best_within(samplers, measure, BUDGETS, cost) for cost in COSTS)
    drawn = [world for world in worlds.values() if world.scene is not None]
    yield from (calibrations(done, world, steps) for world in drawn for steps in frame["steps"].unique())
    if set(METHODS) - {"tiramisu"} <= set(frame["method"]):
        yield averages()


class Price(NamedTuple):
    """Of one image, by `clock`: the seconds of a forward evaluation, and how many of these a backward one takes."""

    forward: float
    backward: float


def measured(denoiser: Denoiser, images: torch.Tensor) -> Price:
    """The least of several alternating runs: forward without a graph; with one, and the gradient by the images."""
    forward, both = [], []
    for _ in range(1 + REPEATS):  # the first one warms up
        begun = clock(images)
        with torch.no_grad():
            denoiser(images, 500)
        middle = clock(images)
        with torch.enable_grad():
            x = images.detach().requires_grad_()
            torch.autograd.grad(denoiser(x, 500).x_0.sum(), x)
        forward.append(middle - begun)
        both.append(clock(images) - middle)
    least = min(forward[1:])
    return Price(least / len(images), min(both[1:]) / least - 1)


def best_within(frame: pd.DataFrame, measure: str, budgets: Sequence[float], cost: str = "evaluations") -> Table:
    """In how many settings a steered method is the best of all that a budget allows.

    For each budget every method runs with its largest affordable number of steps. A setting counts for steering if all
    best methods, to three decimals, are steered. Budgets that nobody can pay, and rows that repeat the previous budget,
    are left out.

    Args:
        cost: a column of the frame that is a key of `COSTS`.
    """
    numbers = frame.groupby([*SETTING, "method", "steps"])[[measure, cost]].mean()
    rows, before = [], None
    for budget in budgets:
        paid = numbers[numbers[cost] <= budget].reset_index("steps").groupby([*SETTING, "method"]).tail(1)
        if paid.empty or paid.equals(before):
            continue
        score = paid[measure].round(3).unstack()
        best = score.eq(score.agg(better(measure), axis=1), axis=0)
        plain = [method for method in best if not Method.parse(method).steered]
        won, counts = (~best[plain].any(axis=1)).sum(), best.sum().sort_values(ascending=False, kind="stable")
        winners = ", ".join(f"{method} {count}" for method, count in counts.items() if count)
        rows.append([f"{budget:g}", f"{won} of {len(frame.groupby(SETTING))}", winners])
        before = paid
    title = f"Best of all within a budget of {COSTS[cost]}: {MEASURES[measure].title}"
    return Table(title, pd.DataFrame(rows, columns=["at most", "won by a steered method", "winners"]))


def calibrations(results: Sequence[CellResult], world: World, steps: int) -> Table:
    """Distance of each method's choices from the exact conditional, pooled over masks and seeds; see `calibration`.

    Masks drawn anew for each image are left out: frequencies need cases with the same evidence.
    """
    rows = []
    for method, masks in by_method(results, world, steps).items():
        parts = []
        for result in (result for seeds in masks for result in seeds):
            if PAPER_COLUMNS.get(result.cell.mask, result.cell.mask) in BOXES:
                cases = cell_cases(world, result.cell)
                parts.append((world.judge.read(result.images), cases.labels, *world.scene.seen(cases.known)))
        if parts:
            found = calibration(world.scene.model, *(torch.cat(column) for column in zip(*parts)))
            distance, chance = found.mean
            rows.append([method, f"{distance:.3f}", f"{chance:.3f}", str(int(found.cases.sum()))])
    title = f"{world.label}, {steps} steps: total variation from the exact conditional of open hidden factors"
    return Table(title, pd.DataFrame(rows, columns=["method", "distance", "of exact draws, about", "cases"]))


def study(options: Options, done: list[CellResult], worlds: Mapping[str, World]) -> None:
    """Print the tables as Markdown."""
    print("\n".join(table.markdown() for table in tables_of(options, done, worlds)))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    of_cells(study, "more_tables", __doc__, arguments)


if __name__ == "__main__":
    main()
