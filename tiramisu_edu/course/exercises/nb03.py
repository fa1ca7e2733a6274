"""Exercises of notebook 3, queries: evidence as weights, a conditional, a joint draw, the most probable repair."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...circuits.nodes import Input, Node
from ...circuits.reference import ReferenceCircuit
from .. import examples
from ..skyline import skyline_circuit
from . import of_notebook
from .nb02 import three_pixels

exercise = of_notebook(3)


def _seen(circuit: ReferenceCircuit, x: Sequence[int]) -> tuple[Node, list[np.ndarray]]:
    """Arguments of a case: the root, and the weights of what is seen."""
    return circuit.root, [np.exp(row) for row in circuit.evidence(x)]


def _prepared(circuit: ReferenceCircuit, x: Sequence[int]) -> tuple:
    """Arguments of a case: the root, fw, the weights, and a pick that always takes the largest score."""
    fw = {n: math.exp(value) for n, value in circuit.forward(circuit.evidence(x)).items()}
    root, w = _seen(circuit, x)
    return root, fw, w, np.argmax


check_weights = exercise("weights")
check_conditional = exercise(
    "conditional",
    cases={
        "the strip of notebook 2": (three_pixels(), 1, [1, -1, 1]),
        "two hidden pixels": (examples.sum_product_network(), 0, [-1, -1, 0]),
        "a skyline": (skyline_circuit(2, 2), 1, [0, -1, 0, 0]),
    },
)
check_descend = exercise(
    "descend",
    cases={
        "an input that was seen": _prepared(ReferenceCircuit(Input(0, [0.2, 0.8])), [0]),
        "a strip, dark at both ends": _prepared(three_pixels(), [0, -1, 0]),
        "a strip, seldom by day": _prepared(three_pixels(0.1), [1, -1, -1]),
        "a skyline": _prepared(skyline_circuit(2, 2), [1, -1, -1, -1]),
    },
)
check_largest = exercise(
    "largest",
    cases={
        "a hidden input": _seen(ReferenceCircuit(Input(0, [0.3, 0.7])), [-1]),
        "a strip with a hidden pixel": _seen(three_pixels(), [1, -1, 1]),
        "nothing is known": _seen(three_pixels(), [-1, -1, -1]),
        "a cutset network": _seen(examples.cutset_network(), [-1, 0, -1]),
        "a skyline": _seen(skyline_circuit(2, 2), [1, -1, -1, -1]),
    },
)
