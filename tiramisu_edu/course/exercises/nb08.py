"""Exercises of notebook 8, steering: soft evidence, the geometric mean, Tweedie, consistent noise, a verdict."""

from __future__ import annotations

import numpy as np

from ..checks import normalised
from . import of_notebook

exercise = of_notebook(8)

_LEVELS = np.array([-1.0, 0.0, 1.0])


# 1: soft evidence.

check_weights = exercise(
    "soft_evidence",
    "return exp(-(x_t - sqrt(ᾱ) g_v)² / (2 (1 - ᾱ))) for every level g_v",
    cases={
        "half signal": (0.5, 0.5, _LEVELS),
        "mostly noise": (1.2, 0.1, _LEVELS),
        "mostly signal": (-0.4, 0.8, np.array([-1.0, -0.5, 0.0, 0.5, 1.0])),
    },
    view=normalised,
)


# 2: the paper's mixture.

check_mixture = exercise(
    "mixture",
    "return a(v)^α b(v)^(1 - α) for every v, divided by its sum",
    cases={
        "equal weights": (np.array([0.2, 0.8]), np.array([0.5, 0.5]), 0.5),
        "mostly a": (np.array([0.1, 0.2, 0.7]), np.array([0.6, 0.3, 0.1]), 0.8),
        "b excludes a value": (np.array([0.3, 0.3, 0.4]), np.array([0.0, 0.5, 0.5]), 0.25),
    },
)


# 3: Tweedie's formula.

check_score = exercise(
    "score",
    "return the gradient of log p(x_t): (sqrt(ᾱ) E[x_0 | x_t] - x_t) / (1 - ᾱ)",
    cases={
        "half signal": (np.array([0.5, -1.0]), np.array([0.8, -0.9]), 0.5),
        "mostly noise": (np.array([1.5, 0.2]), np.array([0.1, 0.0]), 0.05),
        "mostly signal": (np.array([0.9, -0.7]), np.array([1.0, -0.8]), 0.9),
    },
)


# 4: noise that fits the steered picture.

check_epsilon = exercise(
    "consistent_epsilon",
    "solve x_t = sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε for ε",
    cases={
        "half signal": (np.array([0.5, -1.0]), np.array([1.0, -1.0]), 0.5),
        "mostly noise": (np.array([1.5, 0.2]), np.array([0.3, -0.3]), 0.04),
        "mostly signal": (np.array([0.9, -0.7]), np.array([0.9, -0.9]), 0.84),
    },
)


# 5: what an interval allows to say.

check_verdict = exercise(
    "verdict",
    'return "better", "worse" or "open" from the interval of steered minus plain, where more is better',
    cases={
        "all above 0": (0.02, 0.10),
        "all below 0": (-0.08, -0.01),
        "around 0, leaning up": (-0.01, 0.09),
        "around 0, leaning down": (-0.09, 0.01),
    },
)
