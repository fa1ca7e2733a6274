"""Colours and figures, declared once: Okabe and Ito's set, told apart by colour-blind readers.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..files import atomic_path

DPI = 110  # pixels per inch of the stored picture
INK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

# What the colours mean in a circuit and in a picture. Shape or hatching carries the same meaning.
SUM, PRODUCT, INPUT = ORANGE, SKY, GREEN
HIDDEN = VERMILLION
FLOW = BLUE

# Series of a plot: colour, hatching of a bar, marker and line of a curve. No yellow, which is not seen on white.
SERIES = [
    (SKY, "", "o", "-"),
    (ORANGE, "///", "s", "--"),
    (GREEN, "...", "^", "-."),
    (PURPLE, "xxx", "D", ":"),
    (VERMILLION, "\\\\\\", "v", (0, (5, 1))),
    (BLUE, "+++", "P", (0, (3, 1, 1, 1))),
    (INK, "ooo", "X", (0, (1, 1))),
    ("#707070", "OO", "*", (0, (5, 2, 1, 2))),
]


def series_hatch(k: int) -> dict[str, str]:
    """Colour and hatching of the k-th series of bars."""
    colour, hatch, _, _ = SERIES[k % len(SERIES)]
    return {"color": colour, "hatch": hatch}


def series_style(k: int) -> dict[str, object]:
    """Colour, marker and line of the k-th curve."""
    colour, _, marker, line = SERIES[k % len(SERIES)]
    return {"color": colour, "marker": marker, "linestyle": line}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches and its axes, as `plt.subplots` gives them."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, **options)


def save_figure(figure: Figure, path: str | Path, *, grid: bool = True, legend: Any = None) -> Path:
    """Write a figure in the format of its suffix (PNG without one), atomically; returns the path.

    Args:
        figure: from `new_figure`.
        path: the file.
        grid: give every panel a grid, and no frame above and to the right.
        legend: axes whose labels are listed below the panels.
    """
    for axis in figure.axes if grid else []:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    if legend is not None:
        handles, labels = legend.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=8)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format=Path(path).suffix[1:].lower() or "png")
    return Path(path)
