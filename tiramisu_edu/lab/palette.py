"""The colours of the course, declared once: Okabe and Ito's set, told apart by colour-blind readers.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

DPI = 110  # pixels per inch of the stored picture
INK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

# What the colours mean in a circuit and in a picture. Shape or hatching says the same once more.
SUM, PRODUCT, INPUT = ORANGE, SKY, YELLOW
HIDDEN = VERMILLION
FLOW = BLUE

# Series of a plot: colour, hatching of a bar, marker and line of a curve.
SERIES = [
    (SKY, "", "o", "-"),
    (ORANGE, "///", "s", "--"),
    (GREEN, "...", "^", "-."),
    (PURPLE, "xxx", "D", ":"),
    (YELLOW, "\\\\\\", "v", (0, (5, 1))),
    (VERMILLION, "+++", "P", (0, (3, 1, 1, 1))),
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
    """A figure of ``width`` × ``height`` inches and its axes, as ``plt.subplots`` gives them."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, **options)
