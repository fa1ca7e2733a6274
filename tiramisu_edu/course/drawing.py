"""Draws a small circuit: root on top, inputs as little bar charts of their tables.

Layout after Sugiyama, Tagawa, Toda 1981: a node's row is its longest distance from the root, long edges
get a waypoint per row, and each row is sorted by the mean position of its neighbours until it settles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..circuits.nodes import Input, Node, NodeGraph, Product, Sum, children
from ..lab import palette
from ..lab.palette import new_figure

Point = tuple[float, float]
Edge = tuple[Node, int]  # parent and the place of the child among its children
SWEEPS = 12


def draw_circuit(
    circuit: NodeGraph,
    values: Mapping[Node, float] | None = None,
    flows: Mapping[Node, Sequence[float] | np.ndarray] | None = None,
    *,
    names: bool = False,
    tables: bool = True,
    scale: float = 1.0,
) -> Figure:
    """The circuit as a drawing.

    Args:
        circuit: up to some forty nodes remain readable.
        values: number written beside each node, for example fw_n.
        flows: F_{n,c} of each node's edges, in [0, 1], as the width of the edge.
        names: write each node's name below it.
        tables: write f_n(v) below each input, besides drawing it.
        scale: size of the drawing.
    """
    place, routes = layout(circuit, spacing=1.4 if names else 1.0)
    xs, ys = zip(*(point for route in routes.values() for point in route), *place.values())
    width, height = max(xs) - min(xs) + 1.1, max(ys) - min(ys) + 1.1
    figure, axes = new_figure(scale * width, scale * height)
    axes.set(xlim=(min(xs) - 0.55, max(xs) + 0.55), ylim=(min(ys) - 0.65, max(ys) + 0.45), aspect="equal")
    axes.axis("off")
    for (n, k), route in routes.items():
        _draw_edge(axes, n, k, route, None if flows is None else float(flows[n][k]), scale)
    for n, (x, y) in place.items():
        _draw_node(axes, n, x, y, scale)
        if isinstance(n, Input):
            below = [_table_text(n)] * tables + [n.name] * names
            axes.text(x, y - 0.2, "\n".join(below), ha="center", va="top", fontsize=7 * scale)
        elif names:
            axes.text(x - 0.22, y, n.name, ha="right", va="center", fontsize=7 * scale)
        if values is not None:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
            text = f"{values[n]:.3g}"
            at = (x + 0.3, y + 0.17) if isinstance(n, Input) else (x + 0.2, y + 0.14)
            axes.text(*at, text, fontsize=8 * scale, weight="bold", color=palette.BLUE, bbox=box, zorder=5)
    return figure


def layout(circuit: NodeGraph, spacing: float = 1.0) -> tuple[dict[Node, Point], dict[Edge, list[Point]]]:
    """Where each node stands, and the points each edge passes through, parent first."""
    row = dict.fromkeys(circuit.nodes, 0)
    for n in reversed(circuit.nodes):
        for c in children(n):
            row[c] = max(row[c], row[n] + 1)
    paths = {(n, k): _path(n, k, c, row) for n in circuit.nodes for k, c in enumerate(children(n))}
    links = [link for path in paths.values() for link in pairwise(path)]
    rows = _sorted_rows(circuit, row, paths, links)
    place = {item: (spacing * x, y) for item, (x, y) in _settled(rows, links).items()}
    routes = {edge: [place[item] for item in path] for edge, path in paths.items()}
    return {n: place[n] for n in circuit.nodes}, routes


def _path(n: Node, k: int, c: Node, row: Mapping[Node, int]) -> list[Any]:
    """The items an edge passes: its parent, a waypoint (parent, k, row) in each row between, its child."""
    return [n, *((n, k, r) for r in range(row[n] + 1, row[c])), c]


def _width(item: Any) -> float:
    return 0.45 if isinstance(item, tuple) else 1.0


def _sorted_rows(circuit: NodeGraph, row: Mapping[Node, int], paths: Mapping[Edge, list], links: list) -> list[list]:
    """The items of each row, sorted to let few edges cross."""
    rows: list[list[Any]] = [[] for _ in range(max(row.values()) + 1)]
    for n in circuit.nodes:
        rows[row[n]].append(n)
    for path in paths.values():
        for waypoint in path[1:-1]:
            rows[waypoint[2]].append(waypoint)
    above: dict[Any, list] = {item: [] for items in rows for item in items}
    below: dict[Any, list] = {item: [] for items in rows for item in items}
    for upper, lower in links:
        above[lower].append(upper)
        below[upper].append(lower)
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        for items in rows if downwards else rows[::-1]:
            position = {item: i / max(1, len(r) - 1) for r in rows for i, item in enumerate(r)}
            mean = {x: np.mean([position[y] for y in neighbours[x]] or [position[x]]) for x in items}
            items.sort(key=mean.__getitem__)
    return rows


def _settled(rows: list[list], links: list) -> dict[Any, Point]:
    """Coordinates: each item near the mean of its neighbours, in the order of its row, none touching."""
    near: dict[Any, list] = {item: [] for items in rows for item in items}
    for upper, lower in links:
        near[upper].append(lower)
        near[lower].append(upper)
    x = {item: float(i) - len(items) / 2 for items in rows for i, item in enumerate(items)}
    for sweep in range(4 * SWEEPS):
        for items in rows if sweep % 2 else rows[::-1]:
            wanted = [float(np.mean([x[y] for y in near[item]] or [x[item]])) for item in items]
            from_left, from_right = list(wanted), list(wanted)
            for k in range(1, len(items)):
                gap = (_width(items[k - 1]) + _width(items[k])) / 2
                from_left[k] = max(wanted[k], from_left[k - 1] + gap)
                from_right[-k - 1] = min(
                    wanted[-k - 1], from_right[-k] - (_width(items[-k]) + _width(items[-k - 1])) / 2
                )
            x.update({item: (p + q) / 2 for item, p, q in zip(items, from_left, from_right)})
    return {item: (x[item], -float(depth)) for depth, items in enumerate(rows) for item in items}


def _draw_edge(axes: Any, n: Node, k: int, route: Sequence[Point], flow: float | None, scale: float) -> None:
    width = 1.0 if flow is None else 0.6 + 6 * flow
    colour = palette.INK if flow is None else palette.FLOW
    alpha = 0.55 if flow is None or flow > 1e-9 else 0.2
    axes.plot(*zip(*route), color=colour, linewidth=width * scale, alpha=alpha, zorder=1, solid_capstyle="round")
    if isinstance(n, Sum) and len(n.children) > 1:
        (x0, y0), (x1, y1) = route[0], route[1]
        at = (x0 + 0.3 * (x1 - x0), y0 + 0.3 * (y1 - y0))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        text = f"{n.weights[k]:.2g}"
        axes.text(*at, text, ha="center", va="center", fontsize=7.5 * scale, bbox=box, zorder=2)


def _draw_node(axes: Any, n: Node, x: float, y: float, scale: float) -> None:
    """A circle with + for a sum, a square with × for a product, a box with bars for an input."""
    from matplotlib.patches import Circle, Rectangle

    if isinstance(n, Input):
        axes.add_patch(Rectangle((x - 0.26, y - 0.16), 0.52, 0.32, facecolor="white", edgecolor=palette.INK, zorder=3))
        p = np.asarray(n.probabilities, dtype=float)
        step = 0.46 / len(p)
        for v, height in enumerate(p / max(p.max(), 1e-12) * 0.28):
            corner = (x - 0.23 + v * step, y - 0.14)
            axes.add_patch(Rectangle(corner, step * 0.85, height, facecolor=palette.INPUT, edgecolor="none", zorder=3))
        axes.text(x, y, f"$X_{{{n.variable}}}$", ha="center", va="center", fontsize=10 * scale, zorder=4)
        return
    patch: Any = Circle((x, y), 0.17) if isinstance(n, Sum) else Rectangle((x - 0.15, y - 0.15), 0.3, 0.3)
    patch.set(facecolor=palette.PRODUCT if isinstance(n, Product) else palette.SUM, edgecolor=palette.INK, zorder=3)
    axes.add_patch(patch)
    sign = "×" if isinstance(n, Product) else "+"
    axes.text(x, y - 0.01, sign, ha="center", va="center", fontsize=13 * scale, zorder=4)


def _table_text(n: Input) -> str:
    return " ".join(f"{p:.2g}" for p in n.probabilities) if len(n.probabilities) <= 4 else ""
