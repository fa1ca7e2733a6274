"""The figure of an evaluation: quality against compute."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..palette import new_figure, save_figure, series_style
from .cells import Method
from .measures import MEASURES

LINES = {"none": "--", "mixture": ":"}  # of a guide; solid for all others


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
