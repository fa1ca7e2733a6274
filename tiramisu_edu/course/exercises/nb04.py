"""Exercises of notebook 4, the backward pass: flows at a sum, the pass down, a marginal, a pixel left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ...circuits import examples
from ...circuits.nodes import Input, Node
from ...circuits.reference import ReferenceCircuit
from ...circuits.soft_evidence import log
from ..skyline import skyline_circuit
from . import of_notebook
from .nb02 import three_pixels

exercise = of_notebook(4)

# 1: flows at a sum.

check_edge_flows = exercise(
    "edge_flows",
    "return bk_n θ_c fw_c / fw_n for every child c",
    cases={
        "the root of the strip": (1.0, np.array([0.6, 0.4]), np.array([0.63, 0.06])),
        "a sum that half of the draws pass": (0.5, np.array([0.2, 0.3, 0.5]), np.array([0.9, 0.1, 0.4])),
        "a child that the evidence excludes": (0.8, np.array([0.5, 0.5]), np.array([0.0, 0.7])),
    },
)


# 2: the pass down.


def _downwards(circuit: ReferenceCircuit, x: Sequence[int]) -> tuple[list[Node], dict[Node, float]]:
    """Arguments of a case: the nodes, parents before children, and fw."""
    return circuit.nodes[::-1], {n: math.exp(v) for n, v in circuit.forward(circuit.evidence(x)).items()}


check_backward = exercise(
    "backward",
    "return {n: bk_n} for all nodes, parents before children",
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


# 3 and 4: a marginal, and the same pixel left out.

Gathered = Sequence[tuple[float, np.ndarray, float]]


def _gathered(circuit: ReferenceCircuit, i: int, w: Sequence[ArrayLike]) -> tuple[np.ndarray, Gathered]:
    """Arguments of a case: w_i, and (bk_n, f_n, fw_n) of every input n over pixel i."""
    log_fw = circuit.forward([log(row) for row in w])
    bk = circuit.backward(log_fw)
    inputs = [n for n in circuit.nodes if isinstance(n, Input) and n.variable == i]
    return np.asarray(w[i]), [(bk[n], np.asarray(n.probabilities), math.exp(log_fw[n])) for n in inputs]


_SEEN, _HIDDEN = ([1.0, 0.0], [0.0, 1.0]), [1.0, 1.0]
_PIXELS = {
    "a hidden pixel": _gathered(three_pixels(), 1, [_SEEN[1], _HIDDEN, _SEEN[1]]),
    "a visible pixel": _gathered(three_pixels(), 0, [_SEEN[1], _HIDDEN, _SEEN[0]]),
    "a pixel seen dimly": _gathered(three_pixels(), 2, [_SEEN[0], _HIDDEN, [0.3, 0.9]]),
}


check_marginal = exercise(
    "marginal",
    "return the sum over the inputs of bk_n f_n(v) w(v) / fw_n, for every v",
    cases=_PIXELS,
)

check_left_out = exercise(
    "left_out",
    "return p(X_i = v | all the other pixels), a distribution over v",
    cases=_PIXELS,
)
