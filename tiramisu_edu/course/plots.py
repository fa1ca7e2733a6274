"""Three plots that comparisons of samplers need: pictures in rows, curves with intervals, and intervals alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..lab.palette import INK
from .figures import draw_picture, new_figure, series_style

Interval = tuple[float, float, float]
"""An estimate with its interval: (estimate, low, high). A `PairedInterval` begins with these three."""


def image_grid(
    rows: Mapping[str, Sequence[Any]],
    titles: Sequence[str] | None = None,
    *,
    known: Mapping[str, Sequence[Any]] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    size: float = 0.85,
) -> Figure:
    """Rows of small pictures with a label before each row.

    Args:
        rows: label -> pictures as `image_strip` takes them, the same number in each row.
        titles: one line above each column.
        known: label -> masks, for the rows whose hidden pixels are to be hatched.
        value_range: the values of black and white.
        size: width of a picture in inches.
    """
    count = len(next(iter(rows.values())))
    label_width = 0.2 + 0.085 * max(map(len, rows))
    titled = 0.3 if titles else 0.0
    width, height = label_width + size * count, titled + size * len(rows)
    figure, axes = new_figure(width, height, len(rows), count, squeeze=False)
    for (label, pictures), line in zip(rows.items(), axes):
        masks = (known or {}).get(label, [None] * count)
        for picture, mask, ax in zip(pictures, masks, line):
            draw_picture(ax, picture, mask, value_range)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    for ax, title in zip(axes[0], titles or []):
        ax.set_title(title, fontsize=9)
    return figure


def interval_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[Interval]],
    *,
    xlabel: str,
    ylabel: str,
    width: float = 6.0,
    height: float = 2.8,
) -> Figure:
    """Curves whose points carry their intervals as error bars; markers and lines tell them apart without colour.

    Args:
        x: (N,) positions.
        curves: label -> N times (estimate, low, high).
    """
    figure, axes = new_figure(width, height)
    for k, (label, points) in enumerate(curves.items()):
        middle, low, high = np.array([tuple(point)[:3] for point in points], dtype=float).T
        bars = [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]
        axes.errorbar(x, middle, bars, label=label, capsize=3, elinewidth=1, **series_style(k))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def interval_rows(
    rows: Mapping[str, Interval], *, xlabel: str, reference: float | None = None, width: float = 6.0
) -> Figure:
    """One interval per row, its estimate written beside it, and a line at the value that would mean "no difference".

    Args:
        rows: label -> (estimate, low, high), from top to bottom.
        reference: where the line stands; none if None.
    """
    figure, axes = new_figure(width, 0.7 + 0.3 * len(rows))
    for y, (estimate, low, high, *_) in enumerate(rows.values()):
        axes.plot([low, high], [y, y], color=INK, linewidth=1.5)
        axes.plot([estimate], [y], color=INK, marker="o")
        axes.annotate(f"{estimate:.2f}", (estimate, y), (0, 5), textcoords="offset points", ha="center", fontsize=8)
    if reference is not None:
        axes.axvline(reference, color="0.5", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.8))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
