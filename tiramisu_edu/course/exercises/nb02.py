"""Exercises of notebook 2, a circuit by hand: the three nodes, the pass, a repair, a sum made smooth."""

from __future__ import annotations

import numpy as np

from ...circuits.enumeration import brute_force_joint
from ...circuits.nodes import Input, Node, Product
from ...circuits.reference import ReferenceCircuit
from .. import examples
from . import of_notebook

exercise = of_notebook(2)


P_BRIGHT = {"day": [0.9, 0.8, 0.7], "night": [0.2, 0.1, 0.3]}


def three_pixels(theta: float = 0.6) -> ReferenceCircuit:
    """The circuit of the notebook: a mixture of day (weight θ) and night (1 − θ) over three pixels."""
    tables = [[[1 - p, p] for p in row] for row in P_BRIGHT.values()]
    return examples.naive_bayes([theta, 1 - theta], tables)


def _table(root: Node) -> np.ndarray:
    return brute_force_joint(ReferenceCircuit(root)).probabilities


check_product_value = exercise("product_value")
check_sum_value = exercise("sum_value")
check_forward = exercise(
    "forward",
    cases={
        "an input": (Input(0, [0.1, 0.9]), [1]),
        "a product": (Product([Input(0, [0.1, 0.9]), Input(1, [0.8, 0.2])]), [1, 0]),
        "the circuit of the strip": (three_pixels().root, [1, 1, 0]),
        "a hidden pixel": (three_pixels().root, [1, -1, 1]),
        "all pixels hidden": (three_pixels().root, [-1, -1, -1]),
        "sums below products": (examples.sum_product_network().root, [0, -1, 1]),
    },
)
check_p_bright = exercise("p_bright")
check_smooth_root = exercise("smooth_root", view=_table)
