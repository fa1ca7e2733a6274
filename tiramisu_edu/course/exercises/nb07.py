"""Exercises of notebook 7, diffusion: adding noise, reading a prediction of v, the network's own error, a DDIM step."""

from __future__ import annotations

import numpy as np

from . import of_notebook

exercise = of_notebook(7)

_X = np.array([-1.0, 0.5, 1.0])
_E = np.array([0.3, -1.2, 0.8])

# 1: noise.

check_noisy = exercise(
    "noisy",
    "return sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε",
    cases={"half signal": (_X, 0.5, _E), "mostly noise": (_X, 0.04, _E), "mostly signal": (_X, 0.91, _E)},
)


# 2: the clean picture from v.

check_clean = exercise(
    "clean",
    "return sqrt(ᾱ) x_t - sqrt(1 - ᾱ) v",
    cases={"half signal": (_X, _E, 0.5), "mostly noise": (2 * _E, _X, 0.1), "mostly signal": (_X, _E, 0.84)},
)


# 3: whose error is it?

check_own_share = exercise(
    "own_share",
    "return the mean of (f - m)² divided by its sum with the mean of (m - x_0)²",
    cases={
        "a fair network": (np.array([0.5, -0.2, 0.1]), np.array([0.4, -0.4, 0.2]), np.array([1.0, -1.0, -1.0])),
        "a perfect one": (np.array([0.4, -0.4]), np.array([0.4, -0.4]), np.array([1.0, -1.0])),
        "a bad one": (np.array([1.0, 1.0, -1.0]), np.array([-0.5, 0.2, 0.3]), np.array([-1.0, 1.0, 0.0])),
    },
)


# 4: a DDIM step.

check_ddim = exercise(
    "ddim_step",
    "solve for ε, then mix x_0 and ε again at ᾱ_{t-1}",
    cases={
        "half way": (np.array([0.5, -1.0]), np.array([1.0, -1.0]), 0.5, 0.7),
        "the first step": (np.array([1.5, 0.2]), np.array([0.1, -0.1]), 0.001, 0.04),
        "the last step": (np.array([0.9, -0.7]), np.array([0.9, -0.8]), 0.96, 1.0),
    },
)
