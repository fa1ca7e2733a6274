"""Exercises of notebook 10, semantic fusion: a demand, a contradiction, LPIPS of one layer, counting wins, a vote."""

from __future__ import annotations

import numpy as np

from . import of_notebook

exercise = of_notebook(10)

# 1: what a reference asks of one patch.

check_demand = exercise(
    "demand",
    "return 1 - κ + κ V q(v) for every value v, where V is their number",
    cases={
        "ruled in part": (np.array([0.7, 0.2, 0.1]), 0.25),
        "ruled": (np.array([0.9, 0.1]), 1.0),
        "not ruled": (np.array([0.5, 0.3, 0.1, 0.1]), 0.0),
    },
)


# 2: how far two demands contradict each other.

check_contradiction = exercise(
    "contradiction",
    "return log Z of a alone plus log Z of b alone minus log Z of both, with Z = Σ_x p(x) w(x)",
    cases={
        "rarely together": (np.array([0.45, 0.45, 0.1]), np.array([2.0, 0.0, 1.0]), np.array([0.0, 2.0, 1.0])),
        "one asks nothing": (np.array([0.2, 0.8]), np.array([1.9, 0.1]), np.array([1.0, 1.0])),
        "often together": (np.array([0.5, 0.3, 0.2]), np.array([1.8, 0.1, 1.1]), np.array([1.5, 0.5, 1.0])),
    },
)


# 3: LPIPS, one layer.


def _layers(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    y = np.random.default_rng(seed).uniform(0.1, 2.0, (2, *shape))
    return y[0], y[1]


check_layer_distance = exercise(
    "layer_distance",
    "scale the channels at each position to length 1, then return the mean over positions of |y - y'|²",
    cases={
        "one position": (np.array([[[3.0]], [[4.0]]]), np.array([[[4.0]], [[3.0]]])),
        "six positions": _layers(0, (2, 2, 3)),
        "the same, three times brighter": (_layers(2, (3, 2, 2))[0], 3 * _layers(2, (3, 2, 2))[0]),
    },
)


# 4: wins as the paper counts them.

check_tally = exercise(
    "tally",
    "return (won, tied, lost): in how many settings the LPIPS of `ours` is below, equal to, above that of `base`, "
    "both rounded to three decimals",
    cases={
        "a clear table": (np.array([0.310, 0.205, 0.480]), np.array([0.330, 0.201, 0.500])),
        "ties in the third decimal": (np.array([0.1871, 0.2204, 0.4512]), np.array([0.1874, 0.2204, 0.4498])),
        "close": (np.array([0.0694, 0.4861, 0.2891]), np.array([0.0752, 0.4879, 0.2872])),
    },
)


# 5: what a voter prefers.

check_vote_difference = exercise(
    "vote_difference",
    "return (votes for A - votes for B) / all votes; A is on the left where `a_left` is True",
    cases={
        "a friend of A": (["left", "right", "right", "left", "tie"], [True, False, False, False, True]),
        "always left": (["left", "left", "left", "left"], [True, False, True, False]),
        "mostly no difference": (["tie", "tie", "tie", "left"], [True, True, False, False]),
    },
)
