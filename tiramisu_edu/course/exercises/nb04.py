"""Exercises of notebook 4, the backward pass: flows at a sum, the pass down, a marginal, a pixel left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from ...circuits.nodes import Input, Node, Sum
from ...circuits.reference import ReferenceCircuit
from ...circuits.soft_evidence import log
from .. import examples
from ..checks import Exercise, normalised
from ..skyline import skyline_circuit
from .nb02 import three_pixels

# 1: flows at a sum.


def _flows(bk_n: float, theta: ArrayLike, fw: ArrayLike) -> np.ndarray:
    terms = np.asarray(theta) * np.asarray(fw)
    return bk_n * terms / terms.sum()


check_edge_flows = Exercise(
    name="edge_flows",
    task="return bk_n θ_c fw_c / fw_n for every child c",
    solution=_flows,
    cases={
        "the root of the strip": (1.0, np.array([0.6, 0.4]), np.array([0.63, 0.06])),
        "a sum that half of the draws pass": (0.5, np.array([0.2, 0.3, 0.5]), np.array([0.9, 0.1, 0.4])),
        "a child that the evidence excludes": (0.8, np.array([0.5, 0.5]), np.array([0.0, 0.7])),
    },
    mistakes={
        "θ_c is the split before looking; what the evidence says is in fw_c": lambda bk_n, theta, fw: bk_n * theta,
        "only bk_n arrives here, so only bk_n can flow on": lambda bk_n, theta, fw: _flows(1.0, theta, fw),
        "divide by fw_n, the sum of all θ_c fw_c, so that what flows on is what arrives": lambda bk_n, theta, fw: (
            bk_n * theta * fw
        ),
        "a child that is rarely chosen gets less: θ_c is missing": lambda bk_n, theta, fw: _flows(
            bk_n, np.ones_like(theta), fw
        ),
    },
)


# 2: the pass down.


def _backward(nodes: Sequence[Node], fw: Mapping[Node, float], fault: str = "") -> dict[Node, float]:
    """The pass, or with one fault that a student can make."""
    bk = dict.fromkeys(nodes, 0.0)
    bk[nodes[0]] = 1.0
    for n in reversed(nodes) if fault == "upwards" else nodes:
        if isinstance(n, Input) or bk[n] == 0:
            continue
        for k, c in enumerate(n.children):
            flow = bk[n] / (len(n.children) if fault == "divide" else 1)
            if isinstance(n, Sum):
                flow = bk[n] * n.weights[k] * (1.0 if fault == "prior" else fw[c] / fw[n])
            bk[c] = flow if fault == "overwrite" else bk[c] + flow
    return bk


def _downwards(circuit: ReferenceCircuit, x: Sequence[int]) -> tuple[list[Node], dict[Node, float]]:
    """Arguments of a case: the nodes, parents before children, and fw."""
    return circuit.nodes[::-1], {n: math.exp(v) for n, v in circuit.forward(circuit.evidence(x)).items()}


check_backward = Exercise(
    name="backward",
    task="return {n: bk_n} for all nodes, parents before children",
    solution=_backward,
    cases={
        "the strip": _downwards(three_pixels(), [1, -1, 1]),
        "nodes with several parents": _downwards(
            examples.hmm([0.6, 0.4], [[0.9, 0.1], [0.2, 0.8]], [[0.2, 0.8], [0.9, 0.1]], 3), [1, -1, 0]
        ),
        "a skyline": _downwards(skyline_circuit(2, 3), [-1, -1, 1, -1, -1, 0]),
        "sums that nothing reaches": _downwards(skyline_circuit(2, 3), [-1, 1, -1, -1, 1, 0]),
    },
    view=lambda bk: {n.name: value for n, value in bk.items()},
    mistakes={
        "a node gathers from all its parents: add to bk_c, do not overwrite it": partial(_backward, fault="overwrite"),
        "a product does not share out its flow: each child gets all of it": partial(_backward, fault="divide"),
        "this splits by θ_c alone; multiply by fw_c / fw_n": partial(_backward, fault="prior"),
        "parents come first: a node must have gathered everything before it passes it on": partial(
            _backward, fault="upwards"
        ),
    },
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


def _added(inputs: Gathered, w: ArrayLike = 1.0, *, flow: bool = True, divide: bool = True) -> np.ndarray:
    """Σ_n bk_n f_n(v) w(v) / fw_n, with what a student may forget switched off."""
    terms = [(bk if flow else 1.0) * f * np.asarray(w) / (fw if divide else 1.0) for bk, f, fw in inputs]
    return np.sum(terms, 0)


check_marginal = Exercise(
    name="marginal",
    task="return the sum over the inputs of bk_n f_n(v) w(v) / fw_n, for every v",
    solution=lambda w, inputs: _added(inputs, w),
    cases=_PIXELS,
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

check_left_out = Exercise(
    name="left_out",
    task="return p(X_i = v | all the other pixels), a distribution over v",
    solution=lambda w, inputs: normalised(_added(inputs)),
    cases=_PIXELS,
    mistakes={
        "this is the marginal of exercise 3: without w the pixel's own evidence stays out": lambda w, inputs: _added(
            inputs, w
        ),
        "leaving out w leaves no distribution: divide by the sum over v": lambda w, inputs: _added(inputs),
        "the pixel's own evidence is inside bk_n too; dividing by fw_n takes it out": lambda w, inputs: normalised(
            _added(inputs, divide=False)
        ),
    },
)
