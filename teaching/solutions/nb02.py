"""Notebook 2: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum
from tiramisu_edu.course.exercises import nb02 as exercises
from tiramisu_edu.course.exercises.nb02 import three_pixels

from . import Answers

# 1 and 2: the inner nodes.

check_product_value = Answers(
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

check_sum_value = Answers(
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


check_forward = Answers(
    name="forward",
    task="return the value of node n at x: one line for each of the three kinds of node",
    solution=_forward,
    built=exercises.check_forward.cases,
    mistakes={
        "x_i = -1 marks a hidden pixel: its input sums f(v) over all v, which gives 1; "
        "f[-1] is Python's last entry": partial(_forward, fault="last"),
        "a hidden pixel is not an impossible one: its input gives 1, not 0": partial(_forward, fault="zero"),
        "a product multiplies its children; only a sum adds": partial(_forward, fault="sum"),
    },
)


# 4: a repair.

_damaged, _bright = three_pixels().likelihood([1, -1, 1]), three_pixels().likelihood([1, 1, 1])

check_p_bright = Answers(
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


check_smooth_root = Answers(
    name="smooth_root",
    task="build the sum again, with 'lone' multiplied by an input over X_1 that gives both values 1/2",
    solution=_mix(Product([_lone, Input(1, [0.5, 0.5])])),
    view=exercises.check_smooth_root.view,
    mistakes={
        "the child 'lone' still says nothing about X_1; put it into a product with an input over X_1": _mix(_lone),
        "the new input must be over X_1; over X_0 the product shares a variable": _mix(
            Product([_lone, Input(0, [0.5, 0.5])])
        ),
        "the new input must be a distribution: 1/2 and 1/2, not 1 and 1": _mix(Product([_lone, Input(1, [1.0, 1.0])])),
        "the new input gives both values of X_1 the same probability": _mix(Product([_lone, Input(1, [0.2, 0.8])])),
    },
)
