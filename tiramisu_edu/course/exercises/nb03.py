"""Exercises of notebook 3, queries: evidence as weights, a conditional, a joint draw, the most probable repair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...circuits.nodes import Input, Node, Product
from ...circuits.reference import ReferenceCircuit
from .. import examples
from ..checks import Exercise
from ..skyline import skyline_circuit
from .nb02 import three_pixels

# 1: evidence as weights.


def _weights(x: Sequence[int], C: int, hidden: float = 1.0) -> list[np.ndarray]:
    return [np.full(C, hidden) if value == -1 else np.eye(C)[value] for value in x]


check_weights = Exercise(
    name="weights",
    task="return one row of C weights per variable",
    solution=_weights,
    cases={
        "a strip with a hidden pixel": ([1, -1, 0], 2),
        "three grey levels": ([2, 0, -1], 3),
        "nothing is known": ([-1, -1], 2),
    },
    mistakes={
        "a hidden pixel allows every value: its weights are 1, not 0": partial(_weights, hidden=0.0),
        "weights are no probabilities: with 1/C instead of 1 every hidden pixel divides Z by C": lambda x, C: _weights(
            x, C, hidden=1 / C
        ),
        "x_i = -1 marks a hidden pixel; to Python it is the last value": lambda x, C: [np.eye(C)[value] for value in x],
        "the weight of the value that was seen is 1, those of the others are 0": lambda x, C: [
            np.full(C, 1.0) if value == -1 else 1 - np.eye(C)[value] for value in x
        ],
    },
)


# 2: a conditional.


def _with_value(circuit: ReferenceCircuit, i: int, x: Sequence[int]) -> np.ndarray:
    """Z with x_i = v, for every v: (C_i,)."""
    return np.array([circuit.likelihood([*x[:i], v, *x[i + 1 :]]) for v in range(circuit.num_categories[i])])


def _over_hidden(circuit: ReferenceCircuit, i: int, x: Sequence[int]) -> np.ndarray:
    return _with_value(circuit, i, [-1] * len(x))


check_conditional = Exercise(
    name="conditional",
    task="return p(X_i = v | x) for every value v, one call of circuit.likelihood each",
    solution=lambda circuit, i, x: _with_value(circuit, i, x) / circuit.likelihood(x),
    cases={
        "the strip of notebook 2": (three_pixels(), 1, [1, -1, 1]),
        "two hidden pixels": (examples.sum_product_network(), 0, [-1, -1, 0]),
        "a skyline": (skyline_circuit(2, 2), 1, [0, -1, 0, 0]),
    },
    mistakes={
        "these are joint probabilities p(v, known): divide by p(known)": _with_value,
        "this is the marginal of X_i; keep the pixels that are known": _over_hidden,
        "X_i is still hidden in every call: put v in its place": lambda circuit, i, x: np.ones(
            circuit.num_categories[i]
        ),
        "divide by p(known), not by p(v)": lambda circuit, i, x: (
            _with_value(circuit, i, x) / _over_hidden(circuit, i, x)
        ),
    },
)


# 3: a joint draw.

Pick = Callable[[Any], Any]


def _descend(n: Node, fw: Mapping[Node, float], w: Sequence[np.ndarray], pick: Pick, fault: str = "") -> dict[int, int]:
    """The way down, with one fault that a student can make."""
    if isinstance(n, Input):
        return {n.variable: int(pick(np.asarray(n.probabilities) * (1.0 if fault == "evidence" else w[n.variable])))}
    if isinstance(n, Product):
        x: dict[int, int] = {}
        for c in n.children[:1] if fault == "one factor" else n.children:
            x |= _descend(c, fw, w, pick, fault)
        return x
    theta = np.ones(len(n.children)) if fault == "theta" else n.weights
    scores = [t * (1.0 if fault == "values" else fw[c]) for t, c in zip(theta, n.children)]
    return _descend(n.children[int(pick(scores))], fw, w, pick, fault)


def _prepared(circuit: ReferenceCircuit, x: Sequence[int]) -> tuple:
    """Arguments of a case: the root, fw, the weights, and a pick that always takes the largest score."""
    fw = {n: math.exp(value) for n, value in circuit.forward(circuit.evidence(x)).items()}
    return circuit.root, fw, _weights(x, 2), np.argmax


check_descend = Exercise(
    name="descend",
    task="return {variable: value} of everything below n",
    solution=_descend,
    cases={
        "an input that was seen": _prepared(ReferenceCircuit(Input(0, [0.2, 0.8])), [0]),
        "a strip, dark at both ends": _prepared(three_pixels(), [0, -1, 0]),
        "a strip, seldom by day": _prepared(three_pixels(0.1), [1, -1, -1]),
        "a skyline": _prepared(skyline_circuit(2, 2), [1, -1, -1, -1]),
    },
    mistakes={
        "a sum that looks at θ alone forgets the evidence: the scores are θ_c fw_c": partial(_descend, fault="values"),
        "the children of a sum are not equally frequent: the scores are θ_c fw_c": partial(_descend, fault="theta"),
        "an input draws among the values that its weights allow: the scores are f(v) w(v)": partial(
            _descend, fault="evidence"
        ),
        "a product goes down to all of its children": partial(_descend, fault="one factor"),
    },
)


# 4: the most probable repair.


def _largest(n: Node, w: Sequence[np.ndarray], fault: str = "") -> float:
    """The value of n with sums replaced by maxima, or with one fault that a student can make."""
    if isinstance(n, Input):
        terms = np.asarray(n.probabilities) * w[n.variable]
        return float(terms.sum() if fault in ("inputs", "all") else terms.max())
    below = [_largest(c, w, fault) for c in n.children]
    if isinstance(n, Product):
        return math.prod(below)
    terms = [(1.0 if fault == "theta" else t) * value for t, value in zip(n.weights, below)]
    return sum(terms) if fault in ("sums", "all") else max(terms)


check_largest = Exercise(
    name="largest",
    task="return the value of n where every sum is replaced by a maximum",
    solution=_largest,
    cases={
        "a hidden input": (Input(0, [0.3, 0.7]), _weights([-1], 2)),
        "a strip with a hidden pixel": (three_pixels().root, _weights([1, -1, 1], 2)),
        "nothing is known": (three_pixels().root, _weights([-1, -1, -1], 2)),
        "a cutset network": (examples.cutset_network().root, _weights([-1, 0, -1], 2)),
        "a skyline": (skyline_circuit(2, 2).root, _weights([1, -1, -1, -1], 2)),
    },
    mistakes={
        "this is the forward pass of notebook 2: take a maximum where it adds": partial(_largest, fault="all"),
        "a hidden input adds up its values too: there, take the largest f(v) w(v)": partial(_largest, fault="inputs"),
        "the sums still add: keep their largest term only": partial(_largest, fault="sums"),
        "each child of a sum is still weighted by its θ_c": partial(_largest, fault="theta"),
    },
)
