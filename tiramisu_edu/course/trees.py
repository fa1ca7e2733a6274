"""Trees over variables, all of them listed: the brute force for Chow and Liu."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import networkx as nx

from ..errors import TiramisuError

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
        yield frozenset((min(edge), max(edge)) for edge in nx.from_prufer_sequence(list(code)).edges)


def edges_of(parents: Sequence[int]) -> Edges:
    """The pairs that a tree given by parents joins; −1 marks its root."""
    return frozenset((min(i, p), max(i, p)) for i, p in enumerate(parents) if p >= 0)
