"""Draws a small region graph: one box per region with its variables and K, one circle per partition, heights as rows.

Every input has a column of its own and every region spans the columns of the inputs below it, so in a tree no box
touches another and no line runs through one: an edge to a lower row first moves over to the child, then drops.
"""

from __future__ import annotations

import string
from typing import Any

from matplotlib.figure import Figure

from ..circuits.regions import Region, RegionGraph
from ..errors import StructureError
from ..lab import palette
from ..lab.palette import new_figure

Point = tuple[float, float]
MAX_REGIONS, MAX_INPUTS = 40, 18  # more cannot be read
COLUMN, ROW = 0.72, 1.0  # inches
BOX_HEIGHT = 0.44  # of a row
MARGIN = 0.07  # between boxes, in columns
CHARACTER = 0.115  # width in columns of one character of a box


def draw_region_graph(graph: RegionGraph, *, scale: float = 1.0) -> Figure:
    """The region graph as a drawing, the root on top, rows by height as in `level_table`.

    A box is a region: its variables and its number of units K. A circle with × is a partition: unit by unit the
    product of the regions below it. Boxes with the same letter share their parameters.

    Args:
        graph: at most `MAX_REGIONS` regions and `MAX_INPUTS` input regions.
        scale: size of the drawing.

    Raises:
        StructureError: the graph is too large to read.
    """
    num_inputs = sum(region.is_input for region in graph.regions)
    if len(graph.regions) > MAX_REGIONS or num_inputs > MAX_INPUTS:
        raise StructureError(
            f"{len(graph.regions)} regions, {num_inputs} of them inputs, are too many to read (at most {MAX_REGIONS} "
            f"and {MAX_INPUTS}): draw a smaller graph of the same kind, or print `level_table`"
        )
    spans, top = column_spans(graph), max(graph.heights)
    letters = tie_letters(graph)
    left, bottom = -1.75, -0.45 - 0.3 * bool(letters)
    figure, axes = new_figure(scale * COLUMN * (num_inputs - 0.4 - left), scale * ROW * (top + 0.4 - bottom))
    axes.set(xlim=(left, num_inputs - 0.4), ylim=(bottom, top + 0.4))
    axes.axis("off")
    for parent, region in enumerate(graph.regions):
        for at, routes in partition_routes(graph, parent, spans):
            _draw_partition(axes, (_centre(spans[parent]), graph.heights[parent]), at, routes, scale)
        _draw_region(axes, region, spans[parent], graph.heights[parent], letters.get(parent, ""), scale)
    _label_rows(axes, graph, left, scale)
    if letters:
        note = "Regions with the same letter share their parameters."
        axes.text(left, -0.6, note, fontsize=8 * scale, va="center")
    return figure


def column_spans(graph: RegionGraph) -> dict[int, tuple[int, int]]:
    """Per region its first and last column: inputs in the order in which a walk from the root meets them."""
    spans: dict[int, tuple[int, int]] = {}
    num_columns = 0

    def visit(index: int) -> None:
        nonlocal num_columns
        if index in spans:
            return
        below = [c for partition in graph.regions[index].partitions for c in partition]
        for child in below:
            visit(child)
        if not below:
            spans[index] = num_columns, num_columns
            num_columns += 1
        else:
            spans[index] = min(spans[c][0] for c in below), max(spans[c][1] for c in below)

    visit(len(graph.regions) - 1)
    return spans


def partition_routes(
    graph: RegionGraph, parent: int, spans: dict[int, tuple[int, int]]
) -> list[tuple[Point, list[list[Point]]]]:
    """Per partition of a region where its circle stands, and the points that the line to each child passes."""
    x, y = _centre(spans[parent]), graph.heights[parent]
    partitions = graph.regions[parent].partitions
    found = []
    for p, partition in enumerate(partitions):
        middle = sum(_centre(spans[c]) for c in partition) / len(partition)
        shift = 0.0 if len(partitions) == 1 else 0.5 * (middle - x) + 0.3 * (p - (len(partitions) - 1) / 2)
        at = x + shift, y - 0.5 + 0.06
        routes = []
        for c in partition:
            column, height = _centre(spans[c]), graph.heights[c]
            corner = [(column, y - 1 + BOX_HEIGHT / 2)] if height < y - 1 else []
            routes.append([at, *corner, (column, height + BOX_HEIGHT / 2)])
        found.append((at, routes))
    return found


def tie_letters(graph: RegionGraph) -> dict[int, str]:
    """A letter for every region that shares its parameters, the same for those that share them."""
    owners = sorted({region.tied_to for region in graph.regions if region.tied_to is not None})
    letters = dict(zip(owners, [*string.ascii_uppercase, *(f"A{n}" for n in range(MAX_REGIONS))]))
    shared = {i: r.tied_to if r.tied_to is not None else i for i, r in enumerate(graph.regions)}
    return {i: letters[owner] for i, owner in shared.items() if owner in letters}


def scope_text(scope: tuple[int, ...], max_characters: int) -> str:
    """The variables with runs joined, X0–2, 5; what does not fit is counted, X0, 2, … (9)."""
    runs: list[tuple[int, int]] = []
    for variable in scope:
        if runs and variable == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], variable
        else:
            runs.append((variable, variable))
    parts = [f"{a}" if a == b else f"{a}–{b}" for a, b in runs]
    text = "X" + ", ".join(parts)
    while len(text) > max_characters and len(parts) > 1:
        parts.pop()
        text = f"X{', '.join(parts)}, … ({len(scope)})"
    return text


def _centre(span: tuple[int, int]) -> float:
    return (span[0] + span[1]) / 2


def _draw_partition(axes: Any, parent: Point, at: Point, routes: list[list[Point]], scale: float) -> None:
    line = {"color": palette.INK, "linewidth": scale, "alpha": 0.55, "zorder": 1, "solid_joinstyle": "round"}
    axes.plot(*zip(parent, at), **line)
    for route in routes:
        axes.plot(*zip(*route), **line)
    face = {"markerfacecolor": palette.PRODUCT, "markeredgecolor": palette.INK, "markersize": 11 * scale}
    axes.plot(*at, marker="o", zorder=3, **face)
    axes.text(*at, "×", fontsize=9 * scale, ha="center", va="center_baseline", zorder=4)


def _draw_region(axes: Any, region: Region, span: tuple[int, int], height: int, letter: str, scale: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    room = span[1] - span[0] + 1 - 2 * MARGIN
    text = scope_text(region.scope, int(room / CHARACTER))
    width = min(room, max(1 - 2 * MARGIN, CHARACTER * len(text) + 0.1))
    x, rounding = _centre(span), 0.1
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2 + rounding, height - BOX_HEIGHT / 2 + rounding),
            width - 2 * rounding,
            BOX_HEIGHT - 2 * rounding,
            boxstyle=f"round,pad={rounding}",
            facecolor=palette.INPUT if region.is_input else palette.SUM,
            edgecolor=palette.INK,
            linewidth=scale,
            zorder=3,
        )
    )
    label = f"{text}\nK = {region.num_units}"
    axes.text(x, height, label, fontsize=8 * scale, ha="center", va="center", zorder=4, linespacing=1.25)
    if letter:
        badge = {"facecolor": "white", "edgecolor": palette.INK, "boxstyle": "square,pad=0.15", "linewidth": scale}
        corner = x + width / 2 - 0.04, height + BOX_HEIGHT / 2 - 0.02
        axes.text(*corner, letter, fontsize=7 * scale, weight="bold", ha="center", va="center", bbox=badge, zorder=5)


def _label_rows(axes: Any, graph: RegionGraph, left: float, scale: float) -> None:
    families = sorted({region.family for region in graph.regions if region.is_input})
    names = "\n".join(name.replace("_", "\n") for name in families)
    for height in range(max(graph.heights) + 1):
        text = f"height {height}" if height else f"height 0\ninputs:\n{names}"
        axes.text(left, height, text, fontsize=8 * scale, va="center")
