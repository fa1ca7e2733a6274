"""Exercises of notebook 2, a circuit by hand: the pass, a repair, a circuit made smooth, a network compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...circuits.enumeration import brute_force_joint
from ...circuits.reference import ReferenceCircuit
from .. import examples
from . import of_notebook

exercise = of_notebook(2)


P_BRIGHT = {"day": [0.9, 0.8, 0.7], "night": [0.2, 0.1, 0.3]}


def three_pixels(theta: float = 0.6) -> ReferenceCircuit:
    """The circuit of the notebook: a mixture of day (weight θ) and night (1 − θ) over three pixels."""
    tables = [[[1 - p, p] for p in row] for row in P_BRIGHT.values()]
    return examples.naive_bayes([theta, 1 - theta], tables)


def table(root: Any) -> np.ndarray:
    """p(x) of every x: the view of answers that are circuits, given by their root or as a `ReferenceCircuit`."""
    return brute_force_joint(root if isinstance(root, ReferenceCircuit) else ReferenceCircuit(root)).probabilities


check_forward = exercise("forward")
check_p_bright = exercise("p_bright")
check_smooth = exercise("smooth", view=table)
check_compiled = exercise("compiled", view=table)
