"""Exercises of notebook 2, a circuit by hand: the three nodes, the pass, a repair, a sum made smooth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from ...circuits.enumeration import brute_force_joint
from ...circuits.nodes import Input, Node, Product, Sum
from ...circuits.reference import ReferenceCircuit
from .. import examples
from ..checks import Exercise

P_BRIGHT = {"day": [0.9, 0.8, 0.7], "night": [0.2, 0.1, 0.3]}
"""p(pixel i is bright), given which kind of picture the strip was torn from."""


def three_pixels(theta: float = 0.6) -> ReferenceCircuit:
    """The circuit of the notebook: a mixture of day (weight θ) and night (1 − θ) over three pixels."""
    tables = [[[1 - p, p] for p in row] for row in P_BRIGHT.values()]
    return examples.naive_bayes([theta, 1 - theta], tables)


# 1 and 2: the inner nodes.

check_product_value = Exercise(
    name="product_value",
    task="return the product of the values of the children",
    solution=lambda values: math.prod(values),
    cases={"two children": ([0.5, 0.2],), "three children": ([0.9, 0.8, 0.7],), "one child": ([0.3],)},
    mistakes={
        "the parts are independent, so their probabilities multiply; you added them": sum,
        "every child counts; you took only the first": lambda values: values[0],
        "a product, not an average: do not divide by the number of children": lambda values: sum(values) / len(values),
    },
)

check_sum_value = Exercise(
    name="sum_value",
    task="return the sum over the children of θ_c times the value of c",
    solution=lambda theta, values: sum(t * v for t, v in zip(theta, values)),
    cases={
        "equal weights": ([0.5, 0.5], [0.5, 0.1]),
        "unequal weights": ([0.6, 0.4], [0.504, 0.006]),
        "one weight is zero": ([1.0, 0.0], [0.3, 0.9]),
    },
    mistakes={
        "each child is weighted by its θ_c; you added the bare values": lambda theta, values: sum(values),
        "a mixture adds all its parts; you kept only the largest": lambda theta, values: max(
            t * v for t, v in zip(theta, values)
        ),
        "the parts of a mixture add; you multiplied them": lambda theta, values: math.prod(
            t * v for t, v in zip(theta, values)
        ),
    },
)


# 3: the pass.


def _forward(n: Node, x: Sequence[int], fault: str = "") -> float:
    """The recursion, or with one fault that a student can make."""
    if isinstance(n, Input) and x[n.variable] == -1:
        return {"last": n.probabilities[-1], "zero": 0.0}.get(fault, 1.0)
    if isinstance(n, Input):
        return n.probabilities[x[n.variable]]
    below = [_forward(c, x, fault) for c in n.children]
    if isinstance(n, Product):
        return sum(below) if fault == "sum" else math.prod(below)
    return sum(t * v for t, v in zip(n.weights, below))


check_forward = Exercise(
    name="forward",
    task="return the value of node n at x: one line for each of the three kinds of node",
    solution=_forward,
    cases={
        "an input": (Input(0, [0.1, 0.9]), [1]),
        "a product": (Product([Input(0, [0.1, 0.9]), Input(1, [0.8, 0.2])]), [1, 0]),
        "the circuit of the strip": (three_pixels().root, [1, 1, 0]),
        "a hidden pixel": (three_pixels().root, [1, -1, 1]),
        "all pixels hidden": (three_pixels().root, [-1, -1, -1]),
        "sums below products": (examples.sum_product_network().root, [0, -1, 1]),
    },
    mistakes={
        "x_i = -1 marks a hidden pixel: its input sums f(v) over all v, which gives 1; "
        "f[-1] is Python's last entry": partial(_forward, fault="last"),
        "a hidden pixel is not an impossible one: its input gives 1, not 0": partial(_forward, fault="zero"),
        "a product multiplies its children; only a sum adds": partial(_forward, fault="sum"),
    },
)


# 4: a repair.

_damaged, _bright = three_pixels().likelihood([1, -1, 1]), three_pixels().likelihood([1, 1, 1])

check_p_bright = Exercise(
    name="p_bright",
    task="set it to p(X_1 = 1 given X_0 = 1, X_2 = 1), from two calls of circuit.likelihood",
    solution=_bright / _damaged,
    mistakes={
        "this is the joint probability p(1, 1, 1); divide it by p(1, ?, 1)": _bright,
        "this is p(1, ?, 1), the probability of what is visible; it is the denominator": _damaged,
        "this is the marginal of X_1; it does not look at the visible pixels": three_pixels().likelihood([-1, 1, -1]),
        "this is the probability that the middle pixel is dark": 1 - _bright / _damaged,
    },
)


# 5: a sum made smooth.

_pair = Product([Input(0, [0.1, 0.9], "X0"), Input(1, [0.2, 0.8], "X1")], name="pair")
_lone = Input(0, [0.7, 0.3], "lone")


def _mix(child: Node) -> Node:
    return Sum([_pair, child], [0.5, 0.5], name="blend")


def _table(root: Node) -> np.ndarray:
    return brute_force_joint(ReferenceCircuit(root)).probabilities


check_smooth_root = Exercise(
    name="smooth_root",
    task="build the sum again, with 'lone' multiplied by an input over X_1 that gives both values 1/2",
    solution=_mix(Product([_lone, Input(1, [0.5, 0.5])])),
    view=_table,
    mistakes={
        "the child 'lone' still says nothing about X_1; put it into a product with an input over X_1": _mix(_lone),
        "the new input must be over X_1; over X_0 the product shares a variable": _mix(
            Product([_lone, Input(0, [0.5, 0.5])])
        ),
        "the new input must be a distribution: 1/2 and 1/2, not 1 and 1": _mix(Product([_lone, Input(1, [1.0, 1.0])])),
        "the new input gives both values of X_1 the same probability": _mix(Product([_lone, Input(1, [0.2, 0.8])])),
    },
)
