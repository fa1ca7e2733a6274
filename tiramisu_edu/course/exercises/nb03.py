"""Exercises of notebook 3, queries: a conditional, joint draws, a new query, a world that misleads max-product."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...circuits.enumeration import brute_force_joint
from ...circuits.reference import ReferenceCircuit
from ..checks import shares
from . import of_notebook

exercise = of_notebook(3)


def missed(root: Any) -> str:
    """How far max-product falls short of the most probable picture: the view of answers that are circuits."""
    circuit = root if isinstance(root, ReferenceCircuit) else ReferenceCircuit(root)
    table = brute_force_joint(circuit).probabilities
    share = float(table[tuple(circuit.most_probable())] / np.max(table))
    found = (
        "half as probable as the best one, or less" if share <= 0.5 else "more than half as probable as the best one"
    )
    return "a picture " + ("as probable as the best one" if share > 1 - 1e-9 else found)


check_conditional = exercise("conditional")
check_draws = exercise("draws", view=shares)
check_count_bright = exercise("count_bright")
check_missed = exercise("missed", view=missed)
