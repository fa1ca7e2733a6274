"""Exercises of notebook 9, latent space and scale: beliefs about codes, independent draws, counting, log-space GEMM."""

from __future__ import annotations

import numpy as np

from . import of_notebook

exercise = of_notebook(9)

# 1: the encoder's belief.

_DISTANCES = np.array([1.2, 0.5, 3.0, 0.9])

check_beliefs = exercise(
    "beliefs",
    "return exp(-d_c/τ) for every code c, divided by its sum",
    cases={
        "the usual rounding error": (_DISTANCES, 1.0),
        "sure": (_DISTANCES, 0.2),
        "hardly a hint": (_DISTANCES, 20.0),
        "two codes equally near": (np.array([0.7, 2.0, 0.7]), 0.5),
    },
)


# 2: what independent draws make up.

_EYES = np.array([[0.3, 0.0, 0.0], [0.0, 0.2, 0.1], [0.0, 0.0, 0.4]])

check_made_up = exercise(
    "made_up",
    "return the probability, under independent draws, of all pairs that the joint table never makes",
    cases={
        "two codes, always equal": (np.array([[0.5, 0.0], [0.0, 0.5]]),),
        "three codes": (_EYES,),
        "nothing is excluded": (np.array([[0.1, 0.2], [0.3, 0.4]]),),
    },
)


# 3: distillation by counting.

_PARENT, _CHILD = np.array([0, 0, 0, 1, 1, 0, 1, 0]), np.array([2, 2, 0, 1, 1, 2, 0, 1])

check_table = exercise(
    "distilled",
    "return the K x M table whose entry k, m is the share of samples with child m among those with parent k",
    cases={
        "two states above, three below": (_PARENT, _CHILD, 2, 3),
        "the other way round": (_CHILD, _PARENT, 3, 2),
        "the child repeats its parent": (_PARENT, _PARENT, 2, 2),
    },
)


# 4: a matrix product between logarithms.

_THETA = np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])
_LOG_X = np.log(np.array([[0.1, 0.9], [0.5, 0.3], [0.4, 0.2]]))

check_gemm = exercise(
    "log_matmul",
    "return log(θ @ exp(x)) with the maximum of each column of x taken out and added again",
    cases={
        "ordinary numbers": (_THETA, _LOG_X),
        "far below what a float holds": (_THETA, _LOG_X - 3000.0),
        "two samples far apart": (_THETA, _LOG_X - np.array([0.0, 3000.0])),
    },
)


# 5: arithmetic intensity.

check_intensity = exercise(
    "intensity",
    "return 2 K M B operations divided by the 4 (K M + M B + K B) bytes that are read and written",
    cases={"one sample": (1024, 1024, 1), "a batch": (1024, 1024, 64), "an input layer": (32, 256, 128)},
)
