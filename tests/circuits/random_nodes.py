"""Random circuits of scalar nodes, smooth and decomposable, with shared nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum
from tiramisu_edu.circuits.reference import ReferenceCircuit


def random_nodes(
    rng: np.random.Generator, num_categories: Sequence[int], *, sharing: float = 0.4, sparsity: float = 0.0
) -> ReferenceCircuit:
    """A random smooth, decomposable circuit.

    Args:
        rng: the source of all choices.
        num_categories: C_i of each variable.
        sharing: probability that a node needed over some scope is one that exists already.
        sparsity: probability that a parameter is zero (one of each row stays positive).
    """
    made: dict[tuple[int, ...], list[Node]] = {}

    def row(size: int) -> np.ndarray:
        p = rng.dirichlet(np.ones(size)) * (rng.random(size) >= sparsity)
        return p / p.sum() if p.sum() > 0 else np.eye(size)[rng.integers(size)]

    def split(scope: tuple[int, ...]) -> Product:
        shuffled = [int(i) for i in rng.permutation(scope)]
        cuts = sorted(rng.choice(np.arange(1, len(scope)), size=rng.integers(1, min(3, len(scope))), replace=False))
        parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(scope)])]
        return Product([node(tuple(sorted(part))) for part in parts])

    def node(scope: tuple[int, ...]) -> Node:
        existing = made.setdefault(scope, [])
        if existing and rng.random() < sharing:
            return existing[rng.integers(len(existing))]
        new: Node
        if len(scope) == 1 and rng.random() < 0.7:
            new = Input(scope[0], row(num_categories[scope[0]]))
        else:
            width = int(rng.integers(1, 4))
            parts: list[Node] = [split(scope) if len(scope) > 1 else node(scope) for _ in range(width)]
            new = Sum(parts, row(width))
        made[scope].append(new)
        return new

    return ReferenceCircuit(node(tuple(range(len(num_categories)))))
