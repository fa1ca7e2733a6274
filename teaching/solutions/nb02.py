"""Notebook 2: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum, children_before_parents, scopes
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course import examples
from tiramisu_edu.course.exercises.nb02 import table, three_pixels

from ..chance import circuit, distribution, picture, picture_fits, simplex, simplices
from . import Answers

# 1: the pass.


def _forward(n, x):
    if isinstance(n, Input):
        return 1.0 if x[n.variable] == -1 else n.probabilities[x[n.variable]]
    below = [_forward(c, x) for c in n.children]
    if isinstance(n, Product):
        return math.prod(below)
    return sum(theta * value for theta, value in zip(n.weights, below))


def _forward_with(n: Node, x: Sequence[int], fault: str) -> float:
    """The recursion with one fault that a student can make."""
    if isinstance(n, Input) and x[n.variable] == -1:
        return {"last": float(n.probabilities[-1]), "zero": 0.0}.get(fault, 1.0)
    if isinstance(n, Input):
        return float(n.probabilities[x[n.variable]])
    below = [_forward_with(c, x, fault) for c in n.children]
    if isinstance(n, Product):
        return sum(below) if fault == "sum" else math.prod(below)
    return max(below) if fault == "max" else sum(t * v for t, v in zip(n.weights, below))


def _circuit_and_picture(rng: np.random.Generator, size: int) -> tuple[Node, list[int]]:
    made = circuit(rng, size)
    return made.root, picture(rng, made)


_NETWORK = examples.sum_product_network().root
check_forward = Answers(
    name="forward",
    task="return the value of node n at x, for each of the three kinds of node",
    solution=_forward,
    cases={
        "an input": (Input(0, [0.1, 0.9]), [1]),
        "a hidden input": (Input(0, [0.1, 0.9]), [-1]),
        "a product": (Product([Input(0, [0.1, 0.9]), Input(1, [0.8, 0.2])]), [1, 0]),
        "the circuit of the strip": (three_pixels().root, [1, 1, 0]),
        "a hidden pixel": (three_pixels().root, [1, -1, 1]),
        "sums below products": (_NETWORK, [0, -1, 1]),
    },
    random=_circuit_and_picture,
    traits={"a hidden pixel": lambda n, x: -1 in x},
    fair=lambda n, x: picture_fits(ReferenceCircuit(n), x),
    mistakes={
        "x_i = -1 marks a hidden pixel: its input sums f(v) over all v, which gives 1; "
        "f[-1] is Python's last entry": partial(_forward_with, fault="last"),
        "a hidden pixel is not an impossible one: its input gives 1, not 0": partial(_forward_with, fault="zero"),
        "a product multiplies its children; only a sum adds": partial(_forward_with, fault="sum"),
        "a sum adds all its children, each weighted by its θ": partial(_forward_with, fault="max"),
    },
)


# 2: a repair.

_damaged, _bright = three_pixels().likelihood([1, -1, 1]), three_pixels().likelihood([1, 1, 1])

check_p_bright = Answers(
    name="p_bright",
    task="set it to the probability that the middle pixel is bright, given its neighbours",
    solution=_bright / _damaged,
    mistakes={
        "this is the joint probability p(1, 1, 1); divide it by p(1, ?, 1)": _bright,
        "this is p(1, ?, 1), the probability of what is visible; it is the denominator": _damaged,
        "this is the marginal of X_1; it does not look at the visible pixels": three_pixels().likelihood([-1, 1, -1]),
        "this is the probability that the middle pixel is dark": 1 - _bright / _damaged,
    },
)


# 3: a circuit made smooth.


def _smooth(root, C):
    new: dict[Node, Any] = {}
    scope = scopes(children_before_parents(root))
    for n in children_before_parents(root):
        if isinstance(n, Input):
            new[n] = n
        elif isinstance(n, Product):
            new[n] = Product([new[c] for c in n.children])
        else:
            whole = []
            for c in n.children:
                lacks = [Input(i, np.full(C[i], 1 / C[i])) for i in scope[n] - scope[c]]
                whole.append(Product([new[c], *lacks]) if lacks else new[c])
            new[n] = Sum(whole, n.weights)
    return new[root]


def _smooth_with(root: Node, C: Sequence[int], fault: str) -> Node:
    """The same with one fault; new nodes even where nothing is lacking."""
    scope = scopes(children_before_parents(root))

    def rebuilt(n: Node) -> Node:
        if isinstance(n, Input):
            return n
        if isinstance(n, Product) or (fault == "root" and n is not root):
            below = [rebuilt(c) for c in n.children]
            return Product(below) if isinstance(n, Product) else Sum(below, n.weights)
        filled: list[Node] = []
        for c in n.children:
            missing = sorted(scope[n] - scope[c])[: 1 if fault == "one" else None]
            table = {i: np.ones(C[i]) if fault == "ones" else np.full(C[i], 1 / C[i]) for i in missing}
            if fault == "first":
                table = {i: np.eye(C[i])[0] for i in missing}
            filled.append(Product([rebuilt(c), *(Input(i, t) for i, t in table.items())]))
        return Sum(filled, n.weights)

    return rebuilt(root)


def _rough(rng: np.random.Generator, size: int) -> tuple[Node, list[int]]:
    """Sums, some of them below products, whose children lack variables; and the number of values of each variable."""
    D = size + 1
    C = rng.integers(2, 4, D).tolist()
    leaves: list[Node] = [Input(i, simplex(rng, C[i])) for i in range(D)]

    def over(scope: list[int], depth: int) -> Node:
        if len(scope) == 1 or depth == 0:
            return Product([leaves[i] for i in scope]) if len(scope) > 1 else leaves[scope[0]]
        parts: list[Node] = []
        for _ in range(rng.integers(1, 3)):
            own = [i for i in scope if rng.random() < 0.6] or scope[:1]
            parts.append(over(own, depth - 1) if rng.random() < 0.5 else over(own, 0))
        cut = int(rng.integers(1, len(scope)))
        whole = Product([over(scope[:cut], depth - 1), over(scope[cut:], depth - 1)])
        return Sum([whole, *parts], simplex(rng, len(parts) + 1, zeros=False))

    return over(list(range(D)), 1 + size // 2), C


def _pair_or_lone() -> Node:
    pair = Product([Input(0, [0.1, 0.9]), Input(1, [0.2, 0.8])])
    return Sum([pair, Input(0, [0.7, 0.3])], [0.5, 0.5])


def _lacks_many(root: Node, C: Sequence[int]) -> bool:
    scope = scopes(children_before_parents(root))
    return any(len(scope[n] - scope[c]) > 1 for n in scope if isinstance(n, Sum) for c in n.children)


check_smooth = Answers(
    name="smooth",
    task="return the root of a smooth circuit, in which a lacking variable has every value with the same probability",
    solution=_smooth,
    cases={"the sum of the text": (_pair_or_lone(), [2, 2])},
    random=_rough,
    fair=lambda root, C: (
        {n.variable: len(n.probabilities) for n in children_before_parents(root) if isinstance(n, Input)}
        == dict(enumerate(C))
    ),
    traits={
        "a child that lacks several variables": _lacks_many,
        "a variable of more than two values": lambda root, C: max(C) > 2,
        "a sum below another node": lambda root, C: sum(isinstance(n, Sum) for n in children_before_parents(root)) > 1,
    },
    view=table,
    mistakes={
        "the new input must be a distribution: 1/C for each of the C values, not 1": partial(
            _smooth_with, fault="ones"
        ),
        "a lacking variable may have any value, each with the same probability": partial(_smooth_with, fault="first"),
        "a child may lack several variables: give it an input over each": partial(_smooth_with, fault="one"),
        "sums below other nodes are to be made smooth too": partial(_smooth_with, fault="root"),
    },
    equivalent={
        "always the first: Product([new[c], *lacks]) if lacks else new[c]": "a product of one child is that child",
    },
)


# 4: a Bayesian network compiled.


def _compiled(parents, tables):
    below = {i: [j for j, parent in enumerate(parents) if parent == i] for i in range(len(parents))}

    def given(i):
        C = tables[i].shape[1]
        sums = {j: given(j) for j in below[i]}
        values = [Product([Input(i, np.eye(C)[v]), *(sums[j][v] for j in below[i])]) for v in range(C)]
        return [Sum(values, row) for row in tables[i]]

    return given(parents.index(-1))[0]


def _compiled_with(parents: Sequence[int], tables: Sequence[np.ndarray], fault: str) -> Node:
    def given(i: int) -> list[Node]:
        C = tables[i].shape[1]
        below = [given(j) for j, parent in enumerate(parents) if parent == i]
        pick = {"first": lambda v: 0, "reversed": lambda v: -1 - v}.get(fault, lambda v: v)
        leaf = {"uniform": lambda v: np.full(C, 1 / C)}.get(fault, lambda v: np.eye(C)[v])
        values: list[Any] = [Product([Input(i, leaf(v)), *(sums[pick(v)] for sums in below)]) for v in range(C)]
        return [Sum(values, row) for row in tables[i]]

    return given(list(parents).index(-1))[0]


def _network(rng: np.random.Generator, size: int) -> tuple[list[int], list[np.ndarray]]:
    """A tree over size + 1 variables: parents, −1 for the root, and a table (C_parent, C_i) for each."""
    D = size + 1
    order, C = rng.permutation(D).tolist(), rng.integers(2, 4, D).tolist()
    parents = [-1] * D
    for k, i in enumerate(order[1:], 1):
        parents[i] = order[int(rng.integers(k))]
    return parents, [simplices(rng, 1 if parents[i] < 0 else C[parents[i]], C[i]) for i in range(D)]


def _is_network(parents: Sequence[int], tables: Sequence[np.ndarray]) -> bool:
    """Whether every variable hangs on the one root, and has a distribution for each value of its parent."""
    above = list(range(len(parents)))
    for _ in parents:
        above = [i if i < 0 else parents[i] for i in above]
    rows = [1 if parent < 0 else tables[parent].shape[1] for parent in parents]
    fits = [t.ndim == 2 and len(t) == row and distribution(t) for t, row in zip(tables, rows)]
    return len(tables) == len(parents) and list(parents).count(-1) == 1 and set(above) == {-1} and all(fits)


check_compiled = Answers(
    name="compiled",
    task="return the root of a circuit with the distribution of the network",
    solution=_compiled,
    cases={
        "one variable": ([-1], [np.array([[0.3, 0.7]])]),
        "a pair": ([-1, 0], [np.array([[0.3, 0.7]]), np.array([[0.9, 0.1], [0.2, 0.8]])]),
    },
    random=_network,
    fair=_is_network,
    traits={
        "a parent of several variables": lambda parents, tables: any(parents.count(i) > 1 for i in set(parents) - {-1}),
        "a root that is not variable 0": lambda parents, tables: parents[0] != -1,
        "a variable of more than two values": lambda parents, tables: max(t.shape[1] for t in tables) > 2,
        "a chain of three": lambda parents, tables: any(p >= 0 and parents[p] >= 0 for p in parents),
    },
    view=table,
    mistakes={
        "each value of a variable goes on to its own sum over the next one, the row of that value": partial(
            _compiled_with, fault="first"
        ),
        "the rows are mixed up: value v of the parent belongs to row v": partial(_compiled_with, fault="reversed"),
        "below value v the variable is v: its input is 1 there and 0 elsewhere": partial(
            _compiled_with, fault="uniform"
        ),
    },
)
