"""Classical models as circuits, small enough to draw: each function returns a `ReferenceCircuit`.

naive_bayes         a mixture: one hidden class, pixels independent given it
hmm                 hidden Markov model: one hidden state per pixel, passed from left to right
chow_liu_tree       every pixel depends on one other pixel
sum_product_network sums and products alternate, and different products split the pixels differently
cutset_network      decide one pixel after the other, then a simple model for the rest
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..circuits.nodes import Input, Node, Product, Row, Sum, indicator
from ..circuits.reference import ReferenceCircuit
from ..errors import StructureError


def naive_bayes(weights: Row, tables: Sequence[Sequence[Row]]) -> ReferenceCircuit:
    """Naive Bayes: p(x) = Σ_k θ_k Π_i f_{k,i}(x_i).

    Args:
        weights: θ (K,), the probability of each class.
        tables: f, indexed [k][i][v]: the table of variable i in class k.
    """
    products = []
    for k, rows in enumerate(tables):
        leaves = [Input(i, row, name=f"X{i} in {k}") for i, row in enumerate(rows)]
        products.append(Product(leaves, name=f"class {k}"))
    return ReferenceCircuit(Sum(products, weights, name="mixture"))


def hmm(initial: Row, transition: ArrayLike, emission: ArrayLike, num_variables: int) -> ReferenceCircuit:
    """Hidden Markov model: p(x) = Σ_z p(z_0) Π_t p(z_t | z_{t−1}) p(x_t | z_t).

    Args:
        initial: p(z_0 = k), (K,).
        transition: p(z_t = l | z_{t−1} = k), (K, K), row k sums to one.
        emission: p(x_t = v | z_t = k), (K, C).
        num_variables: D, the length of the chain. Transition and emission are tied along it.
    """
    A, E = np.asarray(transition, dtype=float), np.asarray(emission, dtype=float)
    K = len(A)
    below: list[Node] = []  # p(x_{t+1}, … given z_{t+1} = k), built from the last variable backwards
    for t in reversed(range(num_variables)):
        states: list[Node] = []
        for k in range(K):
            leaf = Input(t, E[k], name=f"X{t} | z{t}={k}", tie=f"emission {k}")
            if below:
                later = Sum(below, A[k], name=f"z{t + 1} | z{t}={k}", tie=f"transition {k}")
                states.append(Product([leaf, later], name=f"z{t}={k}"))
            else:
                states.append(leaf)
        below = states
    return ReferenceCircuit(Sum(below, initial, name="z0"))


def chow_liu_tree(parents: Sequence[int | None], tables: Sequence[ArrayLike]) -> ReferenceCircuit:
    """Tree of observed variables: p(x) = Π_i p(x_i | x_{parent(i)}).

    Args:
        parents: parent(i) of every variable, None for the one root.
        tables: for the root p(X_i = v), (C_i,); for the others p(X_i = v | X_parent = u), (C_parent, C_i).
    """
    roots = [i for i, parent in enumerate(parents) if parent is None]
    if len(roots) != 1:
        raise StructureError(f"a tree has one root, this one has {roots}")

    def subtree(i: int) -> list[Node]:
        """One sum per value of the parent, over products shared between them: one per value of X_i."""
        table = np.atleast_2d(np.asarray(tables[i], dtype=float))
        below = [subtree(j) for j, parent in enumerate(parents) if parent == i]
        values: list[Node] = []
        for v in range(table.shape[1]):
            leaf = indicator(i, v, table.shape[1])
            values.append(Product([leaf, *(sums[v] for sums in below)], name=f"X{i}={v}") if below else leaf)
        given = [""] if parents[i] is None else [f" | X{parents[i]}={u}" for u in range(len(table))]
        return [Sum(values, row, name=f"X{i}{condition}") for row, condition in zip(table, given)]

    return ReferenceCircuit(subtree(roots[0])[0])


def sum_product_network() -> ReferenceCircuit:
    """Three binary pixels; one part of the mixture ties pixels 0 and 1, the other ties pixels 1 and 2."""
    a = [Input(i, [0.1, 0.9], name=f"X{i} bright") for i in range(3)]
    b = [Input(i, [0.8, 0.2], name=f"X{i} dark") for i in range(3)]
    left = Sum([Product([a[0], a[1]], "both bright"), Product([b[0], b[1]], "both dark")], [0.5, 0.5], "pair 0 1")
    right = Sum([Product([a[1], a[2]], "both bright"), Product([b[1], b[2]], "both dark")], [0.5, 0.5], "pair 1 2")
    splits: list[Node] = [Product([left, b[2]], "01 | 2"), Product([a[0], right], "0 | 12")]
    return ReferenceCircuit(Sum(splits, [0.6, 0.4], name="either split"))


def cutset_network() -> ReferenceCircuit:
    """Three binary pixels: decide pixel 1; if it is dark, decide pixel 0; the others are independent."""
    dark0 = Product([indicator(0, 0, 2), Input(2, [0.9, 0.1], "X2 | dark, dark")], "X0=0")
    bright0 = Product([indicator(0, 1, 2), Input(2, [0.3, 0.7], "X2 | bright, dark")], "X0=1")
    dark1 = Sum([dark0, bright0], [0.8, 0.2], name="X0 | X1=0")
    case0 = Product([indicator(1, 0, 2), dark1], "X1=0")
    case1 = Product([indicator(1, 1, 2), Input(0, [0.2, 0.8], "X0 | bright"), Input(2, [0.2, 0.8], "X2 | bright")])
    return ReferenceCircuit(Sum([case0, case1], [0.5, 0.5], name="X1"))
