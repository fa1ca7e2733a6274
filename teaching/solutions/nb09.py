"""Notebook 9: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiramisu_edu.course.checks import normalised

from . import Answers

# 1: the encoder's belief.


def _softmax(a: ArrayLike) -> np.ndarray:
    return normalised(np.exp(np.asarray(a, dtype=float) - np.max(a)))


_DISTANCES = np.array([1.2, 0.5, 3.0, 0.9])

check_beliefs = Answers(
    name="beliefs",
    task="return exp(-d_c/τ) for every code c, divided by its sum",
    solution=lambda d, tau: _softmax(-d / tau),
    cases={
        "the usual rounding error": (_DISTANCES, 1.0),
        "sure": (_DISTANCES, 0.2),
        "hardly a hint": (_DISTANCES, 20.0),
        "two codes equally near": (np.array([0.7, 2.0, 0.7]), 0.5),
    },
    mistakes={
        "a distance speaks against a code: exp(-d/τ), so that the nearest has the most weight": lambda d, tau: _softmax(
            d / tau
        ),
        "a high temperature forgives distances: divide by τ, do not multiply": lambda d, tau: _softmax(-d * tau),
        "divide by the sum over the codes": lambda d, tau: np.exp(-d / tau),
        "the distance itself is in the exponent here, not its square as in a Gaussian": lambda d, tau: _softmax(
            -(d**2) / tau
        ),
    },
)


# 2: what independent draws make up.


def _apart(joint: np.ndarray) -> np.ndarray:
    """The table of two codes drawn each from its own marginal."""
    return np.outer(joint.sum(1), joint.sum(0))


_EYES = np.array([[0.3, 0.0, 0.0], [0.0, 0.2, 0.1], [0.0, 0.0, 0.4]])

check_made_up = Answers(
    name="made_up",
    task="return the probability, under independent draws, of all pairs that the joint table never makes",
    solution=lambda joint: float(_apart(joint)[joint == 0].sum()),
    cases={
        "two codes, always equal": (np.array([[0.5, 0.0], [0.0, 0.5]]),),
        "three codes": (_EYES,),
        "nothing is excluded": (np.array([[0.1, 0.2], [0.3, 0.4]]),),
    },
    mistakes={
        "cells are not equally likely: weigh each by the product of its two marginals": lambda joint: float(
            (joint == 0).mean()
        ),
        "each code has a marginal of its own: sums of rows for the first, of columns for the second": lambda joint: (
            float(np.outer(joint.sum(1), joint.sum(1))[joint == 0].sum())
        ),
        "this is how often independent draws make a pair that is possible; the rest is asked for": lambda joint: float(
            _apart(joint)[joint > 0].sum()
        ),
        "the joint table never makes these pairs, that is the point: their weight comes from the marginals": (
            lambda joint: float(joint[joint == 0].sum())
        ),
    },
)


# 3: distillation by counting.


def _counts(parent: ArrayLike, child: ArrayLike, K: int, M: int) -> np.ndarray:
    """(K, M), in how many samples the parent's state is k and the child's is m."""
    table = np.zeros((K, M))
    np.add.at(table, (np.asarray(parent), np.asarray(child)), 1)
    return table


def _marked(parent: ArrayLike, child: ArrayLike, K: int, M: int) -> np.ndarray:
    """(K, M), 1 where the pair occurs at all: what `table[parent, child] += 1` leaves."""
    return (_counts(parent, child, K, M) > 0).astype(float)


_PARENT, _CHILD = np.array([0, 0, 0, 1, 1, 0, 1, 0]), np.array([2, 2, 0, 1, 1, 2, 0, 1])

check_table = Answers(
    name="distilled",
    task="return the K x M table whose entry k, m is the share of samples with child m among those with parent k",
    solution=lambda parent, child, K, M: _counts(parent, child, K, M) / _counts(parent, child, K, M).sum(1)[:, None],
    cases={
        "two states above, three below": (_PARENT, _CHILD, 2, 3),
        "the other way round": (_CHILD, _PARENT, 3, 2),
        "the child repeats its parent": (_PARENT, _PARENT, 2, 2),
    },
    mistakes={
        "a row says what follows given its parent's state: divide each row by its sum, not the table by the total": (
            lambda parent, child, K, M: _counts(parent, child, K, M) / len(parent)
        ),
        "θ is over children given the parent: rows sum to one, not columns": lambda parent, child, K, M: (
            _counts(parent, child, K, M) / _counts(parent, child, K, M).sum(0)
        ),
        "table[parent, child] += 1 counts a repeated pair once: use np.add.at, or a loop": lambda parent, child, K, M: (
            _marked(parent, child, K, M) / _marked(parent, child, K, M).sum(1)[:, None]
        ),
        "counts are not yet shares: divide": _counts,
    },
)


# 4: a matrix product between logarithms.


def _log_matmul(theta: ArrayLike, log_x: ArrayLike, top: ArrayLike | None = None) -> np.ndarray:
    """log(theta @ exp(log_x)), (K, B), with `top` taken out of the columns; their own maximum if None."""
    log_x = np.asarray(log_x, dtype=float)
    top = log_x.max(0) if top is None else np.asarray(top)
    with np.errstate(all="ignore"):
        return np.log(np.asarray(theta) @ np.exp(log_x - top)) + top


_THETA = np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])

_LOG_X = np.log(np.array([[0.1, 0.9], [0.5, 0.3], [0.4, 0.2]]))

check_gemm = Answers(
    name="log_matmul",
    task="return log(θ @ exp(x)) with the maximum of each column of x taken out and added again",
    solution=_log_matmul,
    cases={
        "ordinary numbers": (_THETA, _LOG_X),
        "far below what a float holds": (_THETA, _LOG_X - 3000.0),
        "two samples far apart": (_THETA, _LOG_X - np.array([0.0, 3000.0])),
    },
    mistakes={
        "exp(-3000) is 0 to a computer: take the largest of each column out first": lambda theta, log_x: _log_matmul(
            theta, log_x, 0.0
        ),
        "every sample, a column, has a scale of its own: one maximum for all loses the smaller ones": (
            lambda theta, log_x: _log_matmul(theta, log_x, np.max(log_x))
        ),
        "what was taken out has to be added again": lambda theta, log_x: (
            _log_matmul(theta, log_x) - np.asarray(log_x).max(0)
        ),
        "θ weighs probabilities, not their logarithms: exp before the product, log after it": lambda theta, log_x: (
            np.asarray(theta) @ np.asarray(log_x)
        ),
    },
)


# 5: arithmetic intensity.


def _flops(K: int, M: int, B: int) -> int:
    return 2 * K * M * B


def _bytes(K: int, M: int, B: int) -> int:
    return 4 * (K * M + M * B + K * B)


check_intensity = Answers(
    name="intensity",
    task="return 2 K M B operations divided by the 4 (K M + M B + K B) bytes that are read and written",
    solution=lambda K, M, B: _flops(K, M, B) / _bytes(K, M, B),
    cases={"one sample": (1024, 1024, 1), "a batch": (1024, 1024, 64), "an input layer": (32, 256, 128)},
    mistakes={
        "a term is multiplied and added: two operations": lambda K, M, B: K * M * B / _bytes(K, M, B),
        "the weights travel too, K M numbers, and with few samples they are most of it": lambda K, M, B: (
            _flops(K, M, B) / (4 * (M * B + K * B))
        ),
        "a float32 has 4 bytes": lambda K, M, B: _flops(K, M, B) * 4 / _bytes(K, M, B),
        "operations per byte, not bytes per operation": lambda K, M, B: _bytes(K, M, B) / _flops(K, M, B),
    },
)
