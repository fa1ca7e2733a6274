"""Exercises of notebook 4, the backward pass: flows at a sum, the pass down, a marginal, a pixel left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...circuits.nodes import Node
from ...circuits.reference import ReferenceCircuit
from .. import examples
from ..skyline import skyline_circuit
from . import of_notebook
from .nb02 import three_pixels

exercise = of_notebook(4)


def _downwards(circuit: ReferenceCircuit, x: Sequence[int]) -> tuple[list[Node], dict[Node, float]]:
    """Arguments of a case: the nodes, parents before children, and fw."""
    return circuit.nodes[::-1], {n: math.exp(v) for n, v in circuit.forward(circuit.evidence(x)).items()}


check_edge_flows = exercise("edge_flows")
check_backward = exercise(
    "backward",
    cases={
        "the strip": _downwards(three_pixels(), [1, -1, 1]),
        "nodes with several parents": _downwards(
            examples.hmm([0.6, 0.4], [[0.9, 0.1], [0.2, 0.8]], [[0.2, 0.8], [0.9, 0.1]], 3), [1, -1, 0]
        ),
        "a skyline": _downwards(skyline_circuit(2, 3), [-1, -1, 1, -1, -1, 0]),
        "sums that nothing reaches": _downwards(skyline_circuit(2, 3), [-1, 1, -1, -1, 1, 0]),
    },
    view=lambda bk: {n.name: value for n, value in bk.items()},
)
check_marginal = exercise("marginal")
check_left_out = exercise("left_out")
