"""Notebook 4: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.circuits.soft_evidence import log
from tiramisu_edu.course import examples
from tiramisu_edu.course.checks import normalised
from tiramisu_edu.course.exercises.nb02 import three_pixels
from tiramisu_edu.course.exercises.nb04 import by_name
from tiramisu_edu.course.skyline import skyline_circuit

from ..chance import CIRCUIT_TRAITS, circuit, picture, weights, weights_fit
from . import Answers

# 1: the pass down.


def _backward(circuit, w):
    fw = {n: math.exp(v) for n, v in circuit.forward([log(row) for row in w]).items()}
    bk = dict.fromkeys(circuit.nodes, 0.0)
    bk[circuit.root] = 1.0
    for n in reversed(circuit.nodes):
        if isinstance(n, Product):
            for c in n.children:
                bk[c] += bk[n]
        elif isinstance(n, Sum) and bk[n] > 0:
            for theta, c in zip(n.weights, n.children):
                bk[c] += bk[n] * theta * fw[c] / fw[n]
    return bk


def _backward_with(circuit: ReferenceCircuit, w: Sequence[np.ndarray], fault: str) -> dict[Node, float]:
    """The pass with one fault that a student can make."""
    fw = {n: math.exp(v) for n, v in circuit.forward([log(row) for row in w]).items()}
    bk = dict.fromkeys(circuit.nodes, 0.0)
    bk[circuit.root] = 1.0
    for n in circuit.nodes if fault == "upwards" else reversed(circuit.nodes):
        if isinstance(n, Input) or bk[n] == 0:
            continue
        for k, c in enumerate(n.children):
            flow = bk[n] / (len(n.children) if fault == "divide" else 1)
            if isinstance(n, Sum):
                flow = bk[n] * n.weights[k] * (1.0 if fault == "prior" else fw[c] / fw[n])
            bk[c] = flow if fault == "overwrite" else bk[c] + flow
    return bk


def _seen(made: ReferenceCircuit, x: Sequence[int]) -> tuple[ReferenceCircuit, list[np.ndarray]]:
    return made, [np.ones(c) if v < 0 else np.eye(c)[v] for v, c in zip(x, made.num_categories)]


def _evidence(rng: np.random.Generator, size: int) -> tuple[ReferenceCircuit, list[np.ndarray]]:
    made = circuit(rng, size, zeros=bool(rng.integers(2)))
    return (made, weights(rng, made)) if rng.random() < 0.5 else _seen(made, picture(rng, made))


_HMM = examples.hmm([0.6, 0.4], [[0.9, 0.1], [0.2, 0.8]], [[0.2, 0.8], [0.9, 0.1]], 3)
check_backward = Answers(
    name="backward",
    task="return a dictionary from every node to its flow",
    solution=_backward,
    cases={
        "the strip": _seen(three_pixels(), [1, -1, 1]),
        "nodes with several parents": _seen(_HMM, [1, -1, 0]),
        "sums that nothing reaches": _seen(skyline_circuit(2, 3), [-1, 1, -1, -1, 1, 0]),
    },
    random=_evidence,
    traits=CIRCUIT_TRAITS,
    fair=weights_fit,
    view=by_name,
    mistakes={
        "a node gathers from all its parents: add to bk_c, do not overwrite it": partial(
            _backward_with, fault="overwrite"
        ),
        "a product does not share out its flow: each child gets all of it": partial(_backward_with, fault="divide"),
        "this splits by θ_c alone; multiply by fw_c / fw_n": partial(_backward_with, fault="prior"),
        "parents come first: a node must have gathered everything before it passes it on": partial(
            _backward_with, fault="upwards"
        ),
    },
)


# 2 and 3: a marginal, and the same pixel left out.

Gathered = Sequence[tuple[float, np.ndarray, float]]


def _gathered(circuit: ReferenceCircuit, i: int, w: Sequence[ArrayLike]) -> tuple[np.ndarray, Gathered]:
    """Arguments of a case: w_i, and (bk_n, f_n, fw_n) of every input n over pixel i."""
    log_fw = circuit.forward([log(row) for row in w])
    bk = circuit.backward(log_fw)
    inputs = [n for n in circuit.nodes if isinstance(n, Input) and n.variable == i]
    inputs = [n for n in inputs if log_fw[n] > -np.inf]
    return np.asarray(w[i]), [(float(bk[n]), np.asarray(n.probabilities), math.exp(log_fw[n])) for n in inputs]


_SEEN, _HIDDEN = ([1.0, 0.0], [0.0, 1.0]), [1.0, 1.0]
_PIXELS = {
    "a hidden pixel": _gathered(three_pixels(), 1, [_SEEN[1], _HIDDEN, _SEEN[1]]),
    "a visible pixel": _gathered(three_pixels(), 0, [_SEEN[1], _HIDDEN, _SEEN[0]]),
    "a pixel seen dimly": _gathered(three_pixels(), 2, [_SEEN[0], _HIDDEN, [0.3, 0.9]]),
}


def _added(inputs: Gathered, w: ArrayLike = 1.0, *, flow: bool = True, divide: bool = True) -> np.ndarray:
    """Σ_n bk_n f_n(v) w(v) / fw_n, with what a student may forget switched off."""
    terms = [(bk if flow else 1.0) * f * np.asarray(w) / (fw if divide else 1.0) for bk, f, fw in inputs]
    return np.sum(terms, 0)


def _some_pixel(rng: np.random.Generator, size: int) -> tuple:
    made = circuit(rng, size)
    w = weights(rng, made)
    row, inputs = _gathered(made, int(rng.integers(made.num_variables)), w)
    return row, [(round(bk, 6), f, float(f @ row)) for bk, f, _ in inputs]


def _marginal(w, inputs):
    total = np.zeros(len(w))
    for bk, f, fw in inputs:
        total += bk * f * w / fw
    return total


def _left_out(w, inputs):
    total = np.zeros(len(w))
    for bk, f, fw in inputs:
        total += bk * f / fw
    return total / total.sum()


_TRAITS = {"more than two inputs over the pixel": lambda w, inputs: len(inputs) > 2}

check_marginal = Answers(
    name="marginal",
    task="return the probability of every value of the pixel",
    solution=_marginal,
    cases=_PIXELS,
    random=_some_pixel,
    traits=_TRAITS,
    mistakes={
        "an input counts for as much as flows into it: bk_n is missing": lambda w, inputs: _added(
            inputs, w, flow=False
        ),
        "w is missing: a visible pixel has one possible value": lambda w, inputs: _added(inputs),
        "each input shares out bk_n among its values, so divide by fw_n": lambda w, inputs: _added(
            inputs, w, divide=False
        ),
    },
)

check_left_out = Answers(
    name="left_out",
    task="return what all the other pixels say of this one, a distribution",
    solution=_left_out,
    cases=_PIXELS,
    random=_some_pixel,
    traits=_TRAITS,
    mistakes={
        "this is the marginal of exercise 2: without w the pixel's own evidence stays out": lambda w, inputs: _added(
            inputs, w
        ),
        "leaving out w leaves no distribution: divide by the sum over v": lambda w, inputs: _added(inputs),
        "the pixel's own evidence is inside bk_n too; dividing by fw_n takes it out": lambda w, inputs: normalised(
            _added(inputs, divide=False)
        ),
    },
)


# 4: two pixels together.


def _pair(circuit, w, i, j):
    table = np.zeros((circuit.num_categories[i], circuit.num_categories[j]))
    for v in np.flatnonzero(w[i]):
        only = [w[k] * np.eye(len(table))[v] if k == i else w[k] for k in range(len(w))]
        Z = np.exp(circuit.forward([log(row) for row in only])[circuit.root])
        if Z > 0:
            table[v] = Z * circuit.posterior_marginals([log(row) for row in only])[j]
    return table / table.sum()


def _pair_with(circuit: ReferenceCircuit, w: Sequence[np.ndarray], i: int, j: int, fault: str) -> np.ndarray:
    marginals = circuit.posterior_marginals([log(row) for row in w])
    if fault == "independent":
        return np.outer(marginals[i], marginals[j])
    found = _pair(circuit, w, i, j)
    if fault == "conditional":
        return found / np.maximum(found.sum(1, keepdims=True), 1e-12)
    if fault == "even":
        given = found / np.maximum(found.sum(1, keepdims=True), 1e-12)
        return given / given.sum()
    return found.T


def _two(rng: np.random.Generator, size: int) -> tuple:
    """The evidence of pixel i is not certain."""
    made = circuit(rng, size + 1)
    i, j = rng.permutation(made.num_variables)[:2].tolist()
    w = weights(rng, made)
    w[i] = np.maximum(w[i], 0.5)
    return made, w, i, j


check_pair = Answers(
    name="pair",
    task="return the table of the probabilities of all pairs of values",
    solution=_pair,
    cases={
        "the ends of the strip": (*_seen(three_pixels(), [-1, -1, -1]), 0, 2),
        "given the middle": (*_seen(three_pixels(), [-1, 1, -1]), 2, 0),
        "a value that never occurs": (
            ReferenceCircuit(Product([Input(0, [1.0, 0.0]), Input(1, [0.25, 0.75])])),
            [np.ones(2), np.ones(2)],
            *(0, 1),
        ),
    },
    random=_two,
    traits=CIRCUIT_TRAITS,
    fair=lambda circuit, w, i, j: i != j and min(i, j) >= 0 and weights_fit(circuit, w),
    mistakes={
        "two pixels are not independent: their marginals do not tell their joint": partial(
            _pair_with, fault="independent"
        ),
        "these rows are conditionals p(X_j | X_i = v): multiply each by the probability of its v": partial(
            _pair_with, fault="conditional"
        ),
        "the values of X_i are not equally probable: weigh each row by its Z": partial(_pair_with, fault="even"),
        "rows are the values of X_i, columns those of X_j": partial(_pair_with, fault="transposed"),
    },
)
