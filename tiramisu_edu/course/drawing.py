"""Draws a small circuit, and a tree over the pixels that it joins.

Nodes stand in rows, the root on top. Layout after Sugiyama, Tagawa, Toda 1981: the row of a node is its longest
distance from the root, a long edge gets a waypoint per row, and each row is sorted by the mean position of its
neighbours until it settles.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from ..circuits.nodes import Input, Node, NodeGraph, Sum, children
from ..errors import TiramisuError
from ..lab.palette import BLUE, FLOW, INK, INPUT, ORANGE, PRODUCT, SUM, new_figure
from .figures import draw_picture

Point = tuple[float, float]
Edge = tuple[Any, int]  # parent and the place of the child among its children
SWEEPS = 12
NAME_WIDTH = 10  # characters of a line of a node's name
WEIGHT_DROP = 0.34  # how far below its sum a weight stands on its edge


class Waypoint(NamedTuple):
    """A point that an edge passes in a row between its ends."""

    parent: Any
    place: int
    row: int


def draw_circuit(
    circuit: NodeGraph,
    values: Mapping[Node, float] | None = None,
    flows: Mapping[Node, Sequence[float] | np.ndarray] | None = None,
    *,
    names: bool = False,
    tables: bool = True,
) -> Figure:
    """The circuit as a drawing: a circle with + for a sum, a square with × for a product, bars for an input.

    Args:
        circuit: up to some forty nodes remain readable.
        values: number written beside each node, for example fw_n.
        flows: F_{n,c} of each node's edges, in [0, 1], as the width of the edge.
        names: write the name of each sum and product beside it; an input shows its variable.
        tables: write f_n(v) below each input, besides drawing it.
    """
    place, routes = layout(circuit, spacing=1.4 if names else 1.0)
    figure, axes = _canvas(routes, place)
    for (n, k), route in routes.items():
        _draw_edge(axes, n, k, route, None if flows is None else float(flows[n][k]))
    for n, (x, y) in place.items():
        if isinstance(n, Input):
            _draw_input(axes, n, x, y)
            axes.text(x, y - 0.2, _table_text(n) if tables else "", ha="center", va="top", fontsize=8.5)
        else:
            _draw_sign(axes, isinstance(n, Sum), x, y)
            if names and n.name:
                name = textwrap.fill(n.name, NAME_WIDTH)
                axes.text(x - 0.24, y, name, ha="right", va="center", fontsize=8.5, bbox=_behind())
        if values is not None:
            at = (x + 0.33, y + 0.17) if isinstance(n, Input) else (x + 0.2, y + 0.14)
            style = {"fontsize": 9.5, "weight": "bold", "color": BLUE, "zorder": 5}
            axes.text(*at, f"{values[n]:.3g}", bbox=_behind(alpha=0.85), **style)
    return figure


def draw_tree(parents: Sequence[int], picture: Any) -> Figure:
    """A tree over the pixels of a picture: a line per edge, a square at the root, a dot at every other pixel.

    Args:
        parents: per pixel, in reading order, its parent; −1 for the root.
        picture: (H, W) in [0, 1], drawn below.
    """
    height, width = picture.shape
    if height * width != len(parents):
        raise TiramisuError(f"a picture of {height} × {width} pixels does not fit a tree of {len(parents)}")
    figure, axes = new_figure(3.2 * width / height, 3.2)
    draw_picture(axes, picture)
    for i, parent in enumerate(parents):
        row, column = divmod(i, width)
        if parent >= 0:
            above, beside = divmod(parent, width)
            axes.plot([column, beside], [row, above], color=ORANGE, linewidth=2, zorder=2)
        marker, colour, points = ("s", BLUE, 9) if parent < 0 else ("o", INK, 5)
        axes.plot(column, row, marker=marker, color=colour, markeredgecolor="white", markersize=points, zorder=3)
    return figure


def layout(circuit: NodeGraph, spacing: float = 1.0) -> tuple[dict[Node, Point], dict[Edge, list[Point]]]:
    """Where each node stands, and the points each edge passes through, parent first."""
    below: dict[Any, Sequence[Any]] = {n: children(n) for n in circuit.nodes}  # children first
    row = dict.fromkeys(below, 0)
    for n in reversed(below):
        for c in below[n]:
            row[c] = max(row[c], row[n] + 1)
    paths = {
        (n, k): [n, *(Waypoint(n, k, r) for r in range(row[n] + 1, row[c])), c]
        for n in below
        for k, c in enumerate(below[n])
    }
    rows: list[list[Any]] = [[n for n in below if row[n] == r] for r in range(max(row.values()) + 1)]
    up: dict[Any, list[Any]] = defaultdict(list)
    down: dict[Any, list[Any]] = defaultdict(list)
    for path in paths.values():
        for waypoint in path[1:-1]:
            rows[waypoint.row].append(waypoint)
        for upper, lower in pairwise(path):
            up[lower].append(upper)
            down[upper].append(lower)
    _sort(rows, up, down)
    x = _settled(rows, {item: up[item] + down[item] for items in rows for item in items})
    place = {item: (spacing * x[item], -float(r)) for r, items in enumerate(rows) for item in items}
    return {n: place[n] for n in below}, {edge: [place[item] for item in path] for edge, path in paths.items()}


def _sort(rows: list[list[Any]], up: Mapping[Any, list], down: Mapping[Any, list]) -> None:
    """Order the items of each row so that few edges cross."""
    for sweep in range(SWEEPS):
        neighbours = down if sweep % 2 else up
        for items in rows[::-1] if sweep % 2 else rows:
            position = {item: i / max(1, len(r) - 1) for r in rows for i, item in enumerate(r)}
            mean = {x: np.mean([position[y] for y in neighbours[x]] or [position[x]]) for x in items}
            items.sort(key=mean.__getitem__)


def _settled(rows: list[list[Any]], near: Mapping[Any, list]) -> dict[Any, float]:
    """x of each item, near the mean of its neighbours, in the order of its row, none touching."""
    x = {item: i - len(items) / 2 for items in rows for i, item in enumerate(items)}
    for sweep in range(4 * SWEEPS):
        for items in rows if sweep % 2 else rows[::-1]:
            wanted = np.array([np.mean([x[y] for y in near[item]] or [x[item]]) for item in items])
            width = np.array([0.45 if isinstance(item, Waypoint) else 1.0 for item in items])
            packed = np.cumsum(width) - width / 2  # where the items would stand side by side
            from_left = np.maximum.accumulate(wanted - packed)
            from_right = np.minimum.accumulate((wanted - packed)[::-1])[::-1]
            x.update(zip(items, ((from_left + from_right) / 2 + packed).tolist()))
    return x


def _canvas(routes: Mapping[Edge, list[Point]], place: Mapping[Any, Point]) -> tuple[Figure, Any]:
    """A figure and axes that all points fit into, an inch a unit."""
    xs, ys = zip(*(point for route in routes.values() for point in route), *place.values())
    figure, axes = new_figure(max(xs) - min(xs) + 1.1, max(ys) - min(ys) + 1.1)
    axes.set(xlim=(min(xs) - 0.55, max(xs) + 0.55), ylim=(min(ys) - 0.65, max(ys) + 0.45), aspect="equal")
    axes.axis("off")
    return figure, axes


def _draw_edge(axes: Any, n: Node, k: int, route: Sequence[Point], flow: float | None) -> None:
    width, colour = (0.6 + 6 * flow, FLOW) if flow else (1.0, INK)
    alpha = 0.55 if flow is None or flow else 0.25
    line = _curve(route)
    axes.plot(*line.T, color=colour, linewidth=width, alpha=alpha, zorder=1, solid_capstyle="round")
    if isinstance(n, Sum) and len(n.children) > 1:
        at = line[np.argmin(np.abs(line[:, 1] - line[0, 1] + WEIGHT_DROP))]
        axes.text(*at, f"{n.weights[k]:.2g}", ha="center", va="center", fontsize=9.5, zorder=2, bbox=_behind())


def _curve(route: Sequence[Point]) -> np.ndarray:
    """(N, 2) points of the Bézier curve that the points of a route control: an edge without kinks."""
    points = np.repeat(np.array(route)[:, None], 60, axis=1)
    t = np.linspace(0, 1, 60)[:, None]
    while len(points) > 1:
        points = (1 - t) * points[:-1] + t * points[1:]
    return points[0]


def _draw_sign(axes: Any, is_sum: bool, x: float, y: float) -> None:
    patch: Any = Circle((x, y), 0.17) if is_sum else Rectangle((x - 0.15, y - 0.15), 0.3, 0.3)
    patch.set(facecolor=SUM if is_sum else PRODUCT, edgecolor=INK, zorder=3)
    axes.add_patch(patch)
    axes.text(x, y - 0.01, "+" if is_sum else "×", ha="center", va="center", fontsize=13, zorder=4)


def _draw_input(axes: Any, n: Input, x: float, y: float) -> None:
    axes.add_patch(Rectangle((x - 0.3, y - 0.16), 0.6, 0.32, facecolor="white", edgecolor=INK, zorder=3))
    p = np.asarray(n.probabilities, dtype=float)
    left, heights = x - 0.01 + 0.28 / len(p) * np.arange(len(p)), p / max(p.max(), 1e-12) * 0.26
    style = {"color": INPUT, "edgecolor": INK, "linewidth": 0.6, "align": "edge", "zorder": 3}
    axes.bar(left, heights, 0.28 / len(p), bottom=y - 0.16, **style)
    axes.text(x - 0.16, y, f"$X_{{{n.variable}}}$", ha="center", va="center", fontsize=11, zorder=4)


def _behind(**style: Any) -> dict[str, Any]:
    """The white ground of a text that stands on lines."""
    return {"facecolor": "white", "edgecolor": "none", "pad": 0.5, **style}


def _table_text(n: Input) -> str:
    return " ".join(f"{p:.2g}" for p in n.probabilities) if len(n.probabilities) <= 4 else ""
