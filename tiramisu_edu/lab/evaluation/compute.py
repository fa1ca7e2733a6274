"""Methods at equal compute: what is on the frontier, as a table and as a figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..palette import new_figure, save_figure, series_style
from ..table import Table
from .cells import Method
from .measures import MEASURES
from .significance import Interval, interval
from .tables import better

LINES = {"none": "--", "mixture": ":"}  # of a guide; solid for all others


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


def plot_frontier(path: str | Path, found: dict[str, pd.DataFrame], measure: str) -> Path:
    """Quality against network evaluations and against seconds: a panel pair per world, a line per method.

    A steered method has its base's colour and a filled marker on a solid line, dotted for the paper's mixture; the base
    is hollow and dashed. Bars are 95 % bootstrap intervals of the mean over images.

    Args:
        found: world -> its `points`.
    """
    figure, panels = new_figure(10.4, 3.9 * len(found), len(found), 2, squeeze=False)
    labels = {"evaluations": "network evaluations per image, F + 2 B", "seconds": "seconds per image"}
    for row, (world, points) in zip(panels, found.items()):
        bases = [str(Method.parse(method).base) for method in points["method"]]
        colours = {base: number for number, base in enumerate(dict.fromkeys(bases))}
        for axis, (cost, label) in zip(row, labels.items()):
            for method, line in points.groupby("method", sort=False):
                draw_line(axis, line[cost], line, Method.parse(method), colours[str(Method.parse(method).base)])
            axis.set(xscale="log", xlabel=label, ylabel=f"{world}: {MEASURES[measure].title}")
    return save_figure(figure, path, legend=panels[0, 0])


def draw_line(axis, x, line: pd.DataFrame, method: Method, colour: int) -> None:
    """Means with their intervals, in the style of a method and the colour of its base."""
    style = series_style(colour) | {"linestyle": LINES.get(method.guide, "-"), "label": str(method)}
    style |= {"markerfacecolor": "white"} if method.guide == "none" else {}
    bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
    axis.errorbar(x, line["mean"], yerr=bars, capsize=2, linewidth=1.4, markersize=5, **style)
