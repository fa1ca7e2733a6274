"""Methods at equal compute: what is on the frontier."""

from __future__ import annotations

import pandas as pd

from ..table import Table
from .cells import Method
from .measures import MEASURES
from .significance import Interval, interval
from .tables import better


def points(frame: pd.DataFrame, world: str, measure: str) -> pd.DataFrame:
    """All methods at all numbers of steps in one world: one row each.

    Returns: columns method, steps, steered, evaluations (F + 2 B per image), seconds (per image), and mean, low, high
        of the measure with its 95 % interval over images.
    """
    rows = []
    for (method, steps), own in frame[frame["world"] == world].groupby(["method", "steps"], sort=False):
        steered, costs = Method.parse(method).steered, own[["evaluations", "seconds"]].mean()
        rows.append([method, steps, steered, *costs, *interval(own[measure], own["image"])])
    columns = ["method", "steps", "steered", "evaluations", "seconds", *Interval._fields]
    return pd.DataFrame(rows, columns=columns)


def pareto(found: pd.DataFrame, cost: str, measure: str) -> pd.DataFrame:
    """The points that no other equals or beats in both cost and mean, cheapest first.

    Args:
        found: from `points`.
        cost: "evaluations" or "seconds".
        measure: whether lower or higher is better is in `MEASURES`.
    """
    loss = found["mean"] if better(measure) == "min" else -found["mean"]
    ordered = found.assign(loss=loss).sort_values([cost, "loss"])
    best_before = ordered["loss"].cummin().shift(fill_value=float("inf"))
    return found.loc[ordered.index[ordered["loss"] < best_before]]


def frontier(found: pd.DataFrame, world: str, measure: str, cost: str) -> Table:
    """The frontier of points as a table."""
    front = pareto(found, cost, measure)
    rows = [
        [f"{p.evaluations:.0f}", f"{1000 * p.seconds:.0f}", f"{p.method}, {p.steps} steps", f"{Interval(*p[-3:]):.3f}"]
        for p in front.itertuples()
    ]
    title = f"{world}: frontier of {MEASURES[measure].title} against {cost}"
    title += f"; {front['steered'].sum()} of its {len(front)} points steered"
    return Table(title, pd.DataFrame(rows, columns=["F + 2 B", "ms", "method", "mean [95 %]"]))
