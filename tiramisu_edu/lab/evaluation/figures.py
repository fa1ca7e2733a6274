"""Figures of an evaluation: quality against compute, and quality and time against the share of guided steps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...errors import TiramisuError
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
                _line(axis, line[cost], line, Method.parse(method), colours[str(Method.parse(method).base)])
            axis.set(xscale="log", xlabel=label, ylabel=f"{world}: {MEASURES[measure].title}")
    return save_figure(figure, path, legend=panels[0, 0])


def plot_guided_fraction(path: str | Path, found: dict[str, pd.DataFrame], measure: str) -> Path:
    """Quality and time over the base's time against the share of guided steps (the paper's Figure 4).

    Args:
        found: world -> its `points`; those of the first number of steps are drawn.

    Raises:
        TiramisuError: the results hold no method with a stated fraction, or not its base.
    """
    figure, panels = new_figure(10.4, 3.9 * len(found), len(found), 2, squeeze=False)
    for row, (world, points) in zip(panels, found.items()):
        of_first_steps = points[points["steps"] == points["steps"].iloc[0]].set_index("method")
        methods = [Method.parse(method) for method in of_first_steps.index]
        families = list(dict.fromkeys(Method(m.sampler, m.guide) for m in methods if m.fraction is not None))
        if not families or any(family.base not in methods for family in families):
            raise TiramisuError("the fraction figure needs methods such as copaint+difference@0.2, and copaint itself")
        for number, family in enumerate(families):
            own = [m for m in methods if m.fraction is not None and Method(m.sampler, m.guide) == family]
            shares = {str(m): m.fraction or 0.0 for m in (family.base, *own)}
            line = of_first_steps.loc[sorted(shares, key=shares.__getitem__)]
            x = [shares[method] for method in line.index]
            _line(row[0], x, line, family, number)
            row[1].plot(x, line["seconds"] / line["seconds"].iloc[0], **series_style(number))
        row[0].set(ylabel=f"{world}: {MEASURES[measure].title}", xlabel="share of the steps that are guided")
        row[1].set(ylabel="time over the base sampler's", xlabel="share of the steps that are guided")
    return save_figure(figure, path, legend=panels[0, 0])


def _line(axis, x, line: pd.DataFrame, method: Method, colour: int) -> None:
    """Means with their intervals."""
    style = series_style(colour) | {"linestyle": LINES.get(method.guide, "-"), "label": str(method)}
    style |= {"markerfacecolor": "white"} if method.guide == "none" else {}
    bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
    axis.errorbar(x, line["mean"], yerr=bars, capsize=2, linewidth=1.4, markersize=5, **style)
