"""Exercises of notebook 5, learning by EM: expected counts, the M-step, mutual information, a mini-batch step."""

from __future__ import annotations

import numpy as np

from . import of_notebook

exercise = of_notebook(5)

# 1: expected counts.

check_counts = exercise(
    "expected_counts",
    "return Σ over the pictures of θ_c fw_c / fw_n, one number per child",
    cases={
        "two strips": (np.array([0.6, 0.4]), np.array([[0.504, 0.006], [0.006, 0.504]])),
        "three children": (np.array([0.2, 0.3, 0.5]), np.array([[0.1, 0.2, 0.1], [0.0, 0.5, 0.5], [0.4, 0.1, 0.0]])),
        "a picture seldom seen": (np.array([0.5, 0.5]), np.array([[0.9, 0.1], [1e-6, 3e-6]])),
    },
)


# 2: the M-step.

check_weights = exercise(
    "new_weights",
    "return (F_c + λ/K) / (Σ_c F_c + λ) in every row",
    cases={
        "a sum, nothing added": (np.array([[30.0, 10.0]]), 0.0),
        "three nodes": (np.array([[3.0, 1.0, 0.0], [0.5, 0.5, 1.0], [7.0, 0.0, 0.0]]), 0.6),
        "more added than seen": (np.array([[2.0, 0.0]]), 8.0),
    },
)


# 3: mutual information.

check_information = exercise(
    "information",
    "return Σ p(u, v) log(p(u, v) / (p(u) p(v))) over the cells with p(u, v) > 0",
    cases={
        "two pixels that tend to agree": (np.array([[0.4, 0.1], [0.2, 0.3]]),),
        "independent": (np.outer([0.3, 0.7], [0.6, 0.4]),),
        "always equal": (np.diag([0.2, 0.3, 0.5]),),
    },
)


# 4: a step of mini-batch EM.

check_step = exercise(
    "step",
    "return (1 - η) θ + η F / Σ F",
    cases={
        "a small step": (np.array([0.6, 0.4]), np.array([10.0, 30.0]), 0.1),
        "the whole step": (np.array([0.6, 0.4]), np.array([10.0, 30.0]), 1.0),
        "a value that this batch lacks": (np.array([0.2, 0.3, 0.5]), np.array([6.0, 0.0, 2.0]), 0.3),
    },
)
