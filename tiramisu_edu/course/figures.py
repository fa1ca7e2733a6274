"""Pictures of the course: one way onto the page, alt text for every figure, and the plots that notebooks share.

A figure is made with `new_figure` of the palette, directly or by a function below, and leaves through `show`. Neither
uses pyplot, so nothing is drawn twice and nothing depends on the backend. Colour is never the only carrier: each series
has a marker, a line or a hatching of its own.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from PIL import Image

from ..errors import TiramisuError
from ..lab.palette import HIDDEN, INK, new_figure, series_hatch, series_style

Interval = tuple[float, float, float]
"""An estimate with its interval: (estimate, low, high). A `significance.Interval` is one."""

GRID_PIXELS = 7  # pictures up to this size show the borders of their pixels; on digits they would hide the strokes
CSS_PIXELS = 84  # pixels per inch on the page


def figure_html(figure: Figure, alt: str, *, small: bool = False) -> str:
    """The figure as one HTML <img> with its PNG inside.

    Args:
        figure: what to draw.
        alt: one sentence that states what the picture shows, for readers who do not see it.
        small: with 256 colours, in a third of the bytes: for the frames of a slider.
    """
    if not alt.strip():
        raise TiramisuError("a figure needs alt text: one sentence that states its finding")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    if small:
        few = Image.open(buffer).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, 1, dither=Image.Dither.NONE)
        few.save(buffer := io.BytesIO(), format="png", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = round(figure.get_figwidth() * CSS_PIXELS)
    style = f"width:{width}px;max-width:100%;height:auto"
    return f'<img alt="{html.escape(alt)}" style="{style}" src="data:image/png;base64,{data}">'


def show(figure: Figure, alt: str, caption: str = "") -> None:
    """Put a figure on the page, with alt text and a visible caption that state its finding.

    Args:
        alt: what the picture shows, for readers who do not see it.
        caption: what everyone reads below it; the alt text where empty.
    """
    from IPython.display import HTML, display

    below = f"<figcaption>{html.escape(caption or alt)}</figcaption>"
    display(HTML(f'<figure style="margin:0.5em 0">{figure_html(figure, alt)}{below}</figure>'))


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
        images: arrays or CPU tensors, (H, W), (H, W, 3), (1, H, W) or (3, H, W), in `value_range`.
        titles: one line above each picture.
        known: per picture a boolean (H, W), True where the pixel is given; None where all are.
        value_range: the values of black and white, (−1, 1) for what the samplers use.
        size: width of a picture in inches.
    """
    return image_grid(
        {None: images}, titles, known=None if known is None else {None: known}, value_range=value_range, size=size
    )


def image_grid(
    rows: Mapping[str | None, Sequence[Any]],
    titles: Sequence[str] | None = None,
    *,
    known: Mapping[str | None, Sequence[Any]] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    size: float = 0.85,
) -> Figure:
    """Rows of small pictures with a label before each row.

    Args:
        rows: label -> pictures as `image_strip` takes them, the same number in each row; without label if None.
        titles: one line above each column.
        known: label -> masks, for the rows whose hidden pixels are to be hatched.
        value_range: the values of black and white.
        size: width of a picture in inches.
    """
    count = len(next(iter(rows.values())))
    shapes = [_pixels(picture, value_range).shape for pictures in rows.values() for picture in pictures]
    tallest = max(height / width for height, width, *_ in shapes)
    labels = max((0.2 + 0.085 * len(label) for label in rows if label is not None), default=0.0)
    titled = 0.3 if titles else 0.0
    figure, axes = new_figure(
        labels + size * count, titled + size * tallest * len(rows), len(rows), count, squeeze=False
    )
    for (label, pictures), line in zip(rows.items(), axes):
        masks = (known or {}).get(label, [None] * count)
        for picture, mask, ax in zip(pictures, masks, line):
            draw_picture(ax, picture, mask, value_range)
        line[0].set_ylabel(label or "", rotation=0, ha="right", va="center", fontsize=9)
    for ax, title in zip(axes[0], titles or []):
        ax.set_title(title, fontsize=9)
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
    tallest = max(len(table) / len(table[0]) for table in tables)
    figure, row = new_figure(size * len(tables) + 0.6, size * min(tallest, 1.0) + 0.4, 1, len(tables), squeeze=False)
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


def interval_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[Interval]],
    *,
    xlabel: str,
    ylabel: str,
    height: float = 2.8,
) -> Figure:
    """Curves whose points carry their intervals as error bars; markers and lines tell them apart without colour.

    Args:
        x: (N,) positions.
        curves: label -> N times (estimate, low, high).
    """
    figure, axes = new_figure(6.0, height)
    for k, (label, points) in enumerate(curves.items()):
        middle, low, high = np.array([tuple(point)[:3] for point in points], dtype=float).T
        bars = np.maximum([middle - low, high - middle], 0)
        drawn = bars if bars.any() else None  # no bars in the legend of a curve that has none
        axes.errorbar(x, middle, drawn, label=label, capsize=3, elinewidth=1, **series_style(k))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
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
    """Cover the hidden pixels (H, W) with one hatching that runs across their borders."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) - 0.5
    squares = [Path(corners + yx[::-1], closed=True) for yx in np.argwhere(hidden)]
    if squares:
        area = Path.make_compound_path(*squares)
        axes.add_patch(PathPatch(area, facecolor="white", edgecolor=HIDDEN, hatch="////", linewidth=0))
