"""Exercises of notebook 6, soft evidence: weights from a sensor, a posterior from a list, temperature, safe sums."""

from __future__ import annotations

import numpy as np

from ..checks import normalised
from . import of_notebook

exercise = of_notebook(6)

# 1: weights.

_SENSOR = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])  # row v: how often value v is reported as dark, unclear, bright

check_weights = exercise(
    "weights",
    "return p(report | v) for every value v, a column of the table",
    cases={
        "reported bright": (_SENSOR, 2),
        "reported unclear": (_SENSOR, 1),
        "three values": (np.array([[0.9, 0.1, 0.0], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]]), 2),
    },
    view=normalised,
)


# 2: a posterior from a list.

_PAIRS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])

check_posterior = exercise(
    "posterior",
    "return p(x) Π_i w_i(x_i) / Z for every picture x of the list",
    cases={
        "two pixels that agree": (_PAIRS, np.array([0.5, 0.0, 0.0, 0.5]), np.array([[0.3, 0.7], [0.6, 0.4]])),
        "one pixel known": (_PAIRS, np.array([0.4, 0.1, 0.2, 0.3]), np.array([[0.0, 1.0], [0.9, 0.6]])),
        "weights that do not add up to 1": (
            _PAIRS,
            np.array([0.4, 0.1, 0.2, 0.3]),
            np.array([[2.0, 5.0], [0.1, 0.3]]),
        ),
    },
)


# 3: temperature.

check_temper = exercise(
    "temper",
    "return q(v)^(1/τ) for every v, divided by its sum",
    cases={
        "cooler": (np.array([0.2, 0.3, 0.5]), 0.25),
        "as it is": (np.array([0.2, 0.8]), 1.0),
        "warmer": (np.array([0.05, 0.15, 0.8]), 4.0),
        "a value excluded": (np.array([0.0, 0.4, 0.6]), 2.0),
    },
)


# 4: a sum of very small numbers.

check_log_sum = exercise(
    "log_sum",
    "return log Σ exp(a_k), computed with the largest a_k taken out",
    cases={
        "ordinary numbers": (np.log([0.2, 0.3, 0.5]),),
        "far below what a float holds": (np.array([-1000.0, -1001.0, -1004.0]),),
        "far above": (np.array([1000.0, 999.0]),),
        "an excluded value": (np.array([-np.inf, -2000.0]),),
    },
)
