"""Notebook 3: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.circuits.soft_evidence import log
from tiramisu_edu.course import examples
from tiramisu_edu.course.checks import shares
from tiramisu_edu.course.exercises.nb02 import three_pixels
from tiramisu_edu.course.exercises.nb03 import missed
from tiramisu_edu.course.skyline import skyline_circuit

from ..chance import CIRCUIT_TRAITS, circuit, picture, picture_fits, stacked, weights, weights_fit, wide
from . import Answers

# 1: a conditional.


def _conditional(circuit, i, x):
    joint = [circuit.likelihood([*x[:i], v, *x[i + 1 :]]) for v in range(circuit.num_categories[i])]
    return np.array(joint) / circuit.likelihood(x)


def _over_hidden(circuit: ReferenceCircuit, i: int, x: Sequence[int]) -> np.ndarray:
    nothing = [-1] * len(x)
    return _conditional(circuit, i, nothing)


def _hidden_case(rng: np.random.Generator, size: int) -> tuple[ReferenceCircuit, int, list[int]]:
    made = circuit(rng, size)
    x = picture(rng, made)
    i = int(rng.integers(len(x)))
    return made, i, [*x[:i], -1, *x[i + 1 :]]


check_conditional = Answers(
    name="conditional",
    task="return the probability of every value of pixel i, given what is known",
    solution=_conditional,
    cases={
        "the strip of notebook 2": (three_pixels(), 1, [1, -1, 1]),
        "two hidden pixels": (examples.sum_product_network(), 0, [-1, -1, 0]),
    },
    random=_hidden_case,
    traits={"another hidden pixel": lambda circuit, i, x: x.count(-1) > 1} | CIRCUIT_TRAITS,
    fair=lambda circuit, i, x: picture_fits(circuit, x) and x[i] == -1,
    mistakes={
        "these are joint probabilities p(v, known): divide by p(known)": lambda circuit, i, x: (
            _conditional(circuit, i, x) * circuit.likelihood(x)
        ),
        "this is the marginal of X_i; keep the pixels that are known": _over_hidden,
        "X_i is still hidden in every call: put v in its place": lambda circuit, i, x: np.ones(
            circuit.num_categories[i]
        ),
        "divide by p(known), not by p(v)": lambda circuit, i, x: (
            _conditional(circuit, i, x) * circuit.likelihood(x) / np.maximum(_over_hidden(circuit, i, x), 1e-12)
        ),
    },
)


# 2: joint draws.

_DRAWS = 600


def _draws(circuit, w, n, rng):
    fw = {m: math.exp(value) for m, value in circuit.forward([log(row) for row in w]).items()}

    def go(m, x):
        if isinstance(m, Product):
            return [go(c, x) for c in m.children]
        if isinstance(m, Input):
            scores = m.probabilities * w[m.variable]
        else:
            scores = m.weights * np.array([fw[c] for c in m.children])
        k = int(np.searchsorted(scores.cumsum(), rng.random() * scores.sum()))
        if isinstance(m, Input):
            x[m.variable] = k
        else:
            go(m.children[k], x)

    drawn = np.zeros((n, circuit.num_variables), dtype=int)
    for x in drawn:
        go(circuit.root, x)
    return drawn


def _pixelwise(circuit: ReferenceCircuit, w: Sequence[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    rows = circuit.posterior_marginals([log(row) for row in w])
    return np.stack([rng.choice(len(row), n, p=row / row.sum()) for row in rows], 1)


def _by_hand(circuit: ReferenceCircuit, w: Sequence[np.ndarray], n: int, rng: np.random.Generator, fault: str) -> list:
    """Draws that ignore the evidence at the sums, or at the inputs."""
    fw = {m: math.exp(value) for m, value in circuit.forward([log(row) for row in w]).items()}

    def go(m: Node, x: list[int]) -> None:
        if isinstance(m, Input):
            terms = np.array(m.probabilities) * (1 if fault == "inputs" else w[m.variable])
            x[m.variable] = int(rng.choice(len(terms), p=terms / terms.sum())) if terms.sum() else 0
        elif isinstance(m, Product):
            for c in m.children:
                go(c, x)
        else:
            scores = np.array(m.weights) * (1 if fault == "sums" else [fw[c] for c in m.children])
            go(m.children[int(rng.choice(len(scores), p=scores / scores.sum()))], x)

    drawn = [[0] * circuit.num_variables for _ in range(n)]
    for x in drawn:
        go(circuit.root, x)
    return drawn


def _case(made: ReferenceCircuit, w: Sequence[np.ndarray], seed: int) -> tuple:
    return made, w, _DRAWS, np.random.default_rng(seed)


_RARE = Sum([Product([Input(i, [1 - v, v]) for i in range(2)]) for v in (0.1, 0.5, 0.9)], [0.3, 0.3, 0.4])
_NESTED = ReferenceCircuit(Sum([Product([Input(0, [0.9, 0.1]), Input(1, [0.9, 0.1])]), _RARE], [0.5, 0.5]))


def _deep(rng: np.random.Generator) -> ReferenceCircuit:
    """A circuit with a sum of three parts below a sum."""
    deep = (made for made in iter(lambda: circuit(rng, 3), None) if stacked(made) and wide(made))
    return next(deep)


def _drawn_case(rng: np.random.Generator, size: int) -> tuple:
    made = _deep(rng)
    return _case(made, weights(rng, made), int(rng.integers(1000)))


check_draws = Answers(
    name="draws",
    task="return n draws of the posterior, one in a row",
    solution=_draws,
    cases={
        "a strip with a hidden pixel": _case(three_pixels(), [np.eye(2)[1], np.ones(2), np.eye(2)[0]], 0),
        "a sum below a sum": _case(_NESTED, [np.eye(2)[1], np.ones(2)], 2),
        "a skyline": _case(skyline_circuit(2, 2), [np.eye(2)[1], *[np.ones(2)] * 3], 1),
    },
    random=_drawn_case,
    random_cases=8,
    traits=CIRCUIT_TRAITS,
    fair=lambda circuit, w, n, rng: n == _DRAWS and weights_fit(circuit, w),
    view=shares,
    slack=0.11,
    mistakes={
        "a sum that looks at θ alone forgets the evidence: the scores are θ_c fw_c": partial(_by_hand, fault="sums"),
        "an input draws among the values that its weights allow: the scores are f(v) w(v)": partial(
            _by_hand, fault="inputs"
        ),
        "each pixel has the right odds, and they do not fit together: one way down draws them all": _pixelwise,
    },
    equivalent={
        "option left out: np.zeros((n, circuit.num_variables), dtype=int)": "values as floats are the same values",
    },
)


# 3: how many are bright.


def _count_bright(n):
    if isinstance(n, Input):
        return np.array(n.probabilities)
    below = [_count_bright(c) for c in n.children]
    if isinstance(n, Product):
        whole = np.ones(1)
        for each in below:
            whole = np.convolve(whole, each)
        return whole
    return sum(theta * each for theta, each in zip(n.weights, below))


def _count_with(n: Node, fault: str) -> np.ndarray:
    if isinstance(n, Input):
        return np.array(n.probabilities)[:: -1 if fault == "dark" else 1]
    below = [_count_with(c, fault) for c in n.children]
    if isinstance(n, Sum):
        return np.mean(below, 0) if fault == "even" else np.dot(n.weights, below)
    whole = below[0]
    for each in below[1:]:
        size = max(len(whole), len(each))
        padded = [np.pad(a, (0, size - len(a))) for a in (whole, each)]
        whole = np.multiply(*padded) if fault == "multiply" else np.convolve(whole, each)
    return whole


def _independent(n: Node) -> np.ndarray:
    whole = np.ones(1)
    for row in ReferenceCircuit(n).posterior_marginals():
        whole = np.convolve(whole, row)
    return whole


check_count_bright = Answers(
    name="count_bright",
    task="return the probability of 0, 1, 2, … bright pixels",
    solution=_count_bright,
    cases={
        "an input": (Input(0, [0.3, 0.7]),),
        "two pixels": (Product([Input(0, [0.3, 0.7]), Input(1, [0.9, 0.1])]),),
        "the circuit of the strip": (three_pixels().root,),
    },
    random=lambda rng, size: (circuit(rng, size, values=2).root,),
    fair=lambda n: set(ReferenceCircuit(n).num_categories) == {2},
    mistakes={
        "3 bright pixels can be 1 and 2, or 0 and 3: a product adds over all ways to share them out": partial(
            _count_with, fault="multiply"
        ),
        "index k is for k bright pixels; this counts the dark ones": partial(_count_with, fault="dark"),
        "a sum weights its children by θ": partial(_count_with, fault="even"),
        "the pixels are not independent: their marginals alone do not tell how many are bright": _independent,
    },
)


# 4: where max-product goes wrong.


def _split(k: int) -> Node:
    """k equal parts that all like the dark picture, against one that is a little heavier and likes the bright one."""
    dark = [Product([Input(i, [1.0, 0.0]) for i in range(2)]) for _ in range(k)]
    bright = Product([Input(i, [0.0, 1.0]) for i in range(2)])
    heavy = 1.2 / (k + 1.2)
    return Sum([*dark, bright], [*[(1 - heavy) / k] * k, heavy])


check_missed = Answers(
    name="missed",
    task="build the root of a circuit whose max-product picture is at most half as probable as the best one",
    solution=_split(4),
    view=missed,
    mistakes={
        "max-product finds the best picture of this circuit: let several terms of a sum add up to it": _split(1),
        "here it is misled, but the picture it finds is more than half as probable as the best one": _split(2),
    },
)
