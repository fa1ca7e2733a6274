"""All ways down a circuit, listed: the brute force that flows are checked against.

A way goes from the root to one input per variable, to one child at each sum and to every child at each product. Then

    p(x) = Σ_ways Π θ (of the sums' choices) Π f_n(x_i) (of the inputs reached)

so the number of ways is what the circuit saves: it multiplies with every choice, where edges add.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from ..circuits.nodes import Input, Node, Product


class Way(NamedTuple):
    """One way down.

    Attributes:
        theta: the product of the weights of its choices.
        nodes: all nodes it visits, inputs included.
        edges: (parent, place of the child among its children).
    """

    theta: float
    nodes: tuple[Node, ...]
    edges: tuple[tuple[Node, int], ...]

    @property
    def inputs(self) -> list[Input]:
        """The inputs it ends at, one per variable."""
        return [n for n in self.nodes if isinstance(n, Input)]


def ways_down(n: Node) -> Iterator[Way]:
    """Every way from n to inputs."""
    if isinstance(n, Input):
        yield Way(1.0, (n,), ())
    elif isinstance(n, Product):
        for parts in itertools.product(*(list(ways_down(c)) for c in n.children)):
            theta = math.prod(part.theta for part in parts)
            own = [(n, k) for k in range(len(parts))]
            yield Way(
                theta,
                (n, *(m for part in parts for m in part.nodes)),
                (*own, *(edge for part in parts for edge in part.edges)),
            )
    else:
        for k, (theta, c) in enumerate(zip(n.weights, n.children)):
            for part in ways_down(c):
                yield Way(theta * part.theta, (n, *part.nodes), ((n, k), *part.edges))
