"""Trees over variables: all of them listed, the brute force for Chow and Liu, and one drawn on the pixels it joins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure

from ..errors import TiramisuError
from ..lab.palette import BLUE, INK, ORANGE
from .figures import draw_picture, new_figure

Edges = frozenset[tuple[int, int]]
"""Pairs (i, j) with i < j."""

MAX_VARIABLES = 7  # 7^5 = 16 807 trees


def spanning_trees(n: int) -> Iterator[Edges]:
    """All n^(n − 2) trees that join n variables, each as n − 1 pairs, from Prüfer's codes.

    Args:
        n: variables, 2 … `MAX_VARIABLES`.

    Raises:
        TiramisuError: for another n.
    """
    if not 2 <= n <= MAX_VARIABLES:
        raise TiramisuError(f"lists the trees over 2 to {MAX_VARIABLES} variables, not {n}: there are n^(n - 2)")
    for code in itertools.product(range(n), repeat=n - 2):
        degree = [1 + code.count(i) for i in range(n)]
        edges = []
        for j in code:
            leaf = degree.index(1)
            edges.append((min(leaf, j), max(leaf, j)))
            degree[leaf], degree[j] = 0, degree[j] - 1
        last, other = (i for i in range(n) if degree[i] == 1)
        edges.append((last, other))
        yield frozenset(edges)


def edges_of(parents: Sequence[int]) -> Edges:
    """The pairs that a tree given by parents joins; −1 marks its root."""
    return frozenset((min(i, p), max(i, p)) for i, p in enumerate(parents) if p >= 0)


def draw_tree(parents: Sequence[int], picture: Any, size: float = 3.2) -> Figure:
    """A tree over the pixels of a picture: a line per edge, a square at the root, a dot at every other pixel.

    Args:
        parents: per pixel, in reading order, its parent; −1 for the root.
        picture: (H, W) in [0, 1], drawn below.
        size: inches.
    """
    height, width = picture.shape
    if height * width != len(parents):
        raise TiramisuError(f"a picture of {height} × {width} pixels does not fit a tree of {len(parents)}")
    figure, axes = new_figure(size * width / height, size)
    draw_picture(axes, picture)
    for i, parent in enumerate(parents):
        row, column = divmod(i, width)
        if parent >= 0:
            above, beside = divmod(parent, width)
            axes.plot([column, beside], [row, above], color=ORANGE, linewidth=2, zorder=2)
        marker, colour, points = ("s", BLUE, 9) if parent < 0 else ("o", INK, 5)
        axes.plot(column, row, marker=marker, color=colour, markeredgecolor="white", markersize=points, zorder=3)
    return figure
