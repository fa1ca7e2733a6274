"""Pictures of the course: one palette, one way onto the page, and alt text for every figure.

Figures are made with ``new_figure`` and leave through ``show``. Neither touches pyplot, so nothing is
drawn twice and nothing depends on the backend. Colour is never the only carrier: ``series_style`` and
``series_hatch`` give each series a marker, a line or a hatching of its own.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..errors import TiramisuError
from ..lab.palette import HIDDEN, INK, SERIES, new_figure, series_hatch, series_style

__all__ = [
    "HIDDEN",
    "SERIES",
    "bars",
    "draw_picture",
    "figure_html",
    "heat_maps",
    "image_strip",
    "new_figure",
    "series_hatch",
    "series_style",
    "show",
]

GRID_PIXELS = 8  # pictures up to this size show the borders of their pixels
CSS_PIXELS = 84  # pixels per inch on the page


def figure_html(figure: Figure, alt: str) -> str:
    """The figure as one HTML <img> with its PNG inside.

    Args:
        figure: what to draw.
        alt: one sentence that states what the picture shows, for readers who do not see it.
    """
    if not alt.strip():
        raise TiramisuError("a figure needs alt text: one sentence that states its finding")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = round(figure.get_figwidth() * CSS_PIXELS)
    style = f"width:{width}px;max-width:100%;height:auto"
    return f'<img alt="{html.escape(alt)}" style="{style}" src="data:image/png;base64,{data}">'


def show(figure: Figure, alt: str) -> None:
    """Put a figure on the page, with alt text that states its finding."""
    from IPython.display import HTML, display

    display(HTML(figure_html(figure, alt)))


def bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    ylabel: str = "probability",
    width: float = 7.0,
    height: float = 2.4,
) -> Figure:
    """Grouped bars: one group per name, one hatching per series, the numbers above when they fit.

    Args:
        names: labels of the N groups.
        series: label -> N heights.
    """
    figure, axes = new_figure(width, height)
    bar_width = 0.8 / len(series)
    for k, (label, heights) in enumerate(series.items()):
        x = np.arange(len(names)) + (k - (len(series) - 1) / 2) * bar_width
        drawn = axes.bar(x, heights, bar_width, label=label, edgecolor=INK, linewidth=0.6, **series_hatch(k))
        if len(names) * len(series) <= 16:
            axes.bar_label(drawn, fmt="%.2f", fontsize=8, padding=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(ylabel)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8, ncols=len(series), loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def image_strip(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    known: Sequence[Any] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    size: float = 1.1,
) -> Figure:
    """A row of small pictures; hidden pixels are hatched.

    Args:
        images: arrays or CPU tensors, (H, W), (H, W, 3), (1, H, W) or (3, H, W), in ``value_range``.
        titles: one line above each picture.
        known: per picture a boolean (H, W), True where the pixel is given; None where all are.
        value_range: the values of black and white, (−1, 1) for what the samplers use.
        size: width of a picture in inches.
    """
    pictures = [_pixels(image, value_range) for image in images]
    heights = [p.shape[0] / p.shape[1] for p in pictures]
    titled = 0.3 if titles else 0.0
    figure, row = new_figure(size * len(pictures), size * max(heights) + titled, 1, len(pictures), squeeze=False)
    for k, (axes, image) in enumerate(zip(row[0], images)):
        draw_picture(axes, image, None if known is None else known[k], value_range)
        if titles:
            axes.set_title(titles[k], fontsize=9)
    return figure


def draw_picture(axes: Any, image: Any, known: Any = None, value_range: tuple[float, float] = (0.0, 1.0)) -> None:
    """One picture in axes of a figure: no ticks, hidden pixels hatched, borders of the pixels where they are few."""
    picture = _pixels(image, value_range)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if known is not None:
        _hatch(axes, ~np.asarray(known, dtype=bool).reshape(picture.shape[:2]))
    axes.set(xticks=[], yticks=[])
    if max(picture.shape[:2]) <= GRID_PIXELS:
        axes.set_xticks(np.arange(picture.shape[1] - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(picture.shape[0] - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="0.6", linewidth=0.5)
        axes.tick_params(which="minor", length=0)


def heat_maps(
    tables: Sequence[Any],
    titles: Sequence[str],
    *,
    xlabel: str = "",
    ylabel: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
    size: float = 2.2,
) -> Figure:
    """Tables side by side on one colour scale; the numbers are written out up to 64 entries a table."""
    figure, row = new_figure(size * len(tables) + 0.6, size + 0.4, 1, len(tables), squeeze=False)
    low, high = value_range
    for axes, table, title in zip(row[0], tables, titles):
        table = np.asarray(table, dtype=float)
        drawn = axes.imshow(table, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set(xlabel=xlabel, ylabel=ylabel, xticks=range(table.shape[1]), yticks=range(table.shape[0]))
        for (i, j), value in np.ndenumerate(table if table.size <= 64 else np.empty((0, 0))):
            ink = "white" if value < (low + high) / 2 else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(drawn, ax=list(row[0]), shrink=0.8)
    return figure


def _pixels(image: Any, value_range: tuple[float, float]) -> np.ndarray:
    """(H, W) or (H, W, 3) in [0, 1]."""
    pixels = np.asarray(image, dtype=float)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    low, high = value_range
    return np.clip((pixels - low) / (high - low), 0, 1)


def _hatch(axes: Any, hidden: np.ndarray) -> None:
    """Cover the hidden pixels (H, W) with a hatching."""
    from matplotlib.patches import Rectangle

    for y, x in zip(*np.nonzero(hidden)):
        corner = (x - 0.5, y - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor="white", edgecolor=HIDDEN, hatch="////", linewidth=0.5))
