"""Notebook 6: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tiramisu_edu.course.checks import normalised

from . import Answers

# 1: weights.

_SENSOR = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])  # row v: how often value v is reported as dark, unclear, bright

check_weights = Answers(
    name="weights",
    task="return p(report | v) for every value v, a column of the table",
    solution=lambda table, report: table[:, report],
    cases={
        "reported bright": (_SENSOR, 2),
        "reported unclear": (_SENSOR, 1),
        "three values": (np.array([[0.9, 0.1, 0.0], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]]), 2),
    },
    view=normalised,
    mistakes={
        "a row says what one value is reported as; weights compare the values: take a column": lambda table, report: (
            table[report % len(table)]
        ),
        "the report is not the truth: a sensor that errs leaves every value some weight": lambda table, report: (
            table[:, report] >= table[:, report].max()
        ),
        "weights are no distribution over reports: the column alone, not divided by what else it might have said": (
            lambda table, report: table[:, report] / (1 - table[:, report])
        ),
    },
)


# 2: a posterior from a list.


def _products(pictures: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Π_i w_i(x_i) for each picture."""
    return w[np.arange(pictures.shape[1]), pictures].prod(1)


_PAIRS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])

check_posterior = Answers(
    name="posterior",
    task="return p(x) Π_i w_i(x_i) / Z for every picture x of the list",
    solution=lambda pictures, p, w: normalised(p * _products(pictures, w)),
    cases={
        "two pixels that agree": (_PAIRS, np.array([0.5, 0.0, 0.0, 0.5]), np.array([[0.3, 0.7], [0.6, 0.4]])),
        "one pixel known": (_PAIRS, np.array([0.4, 0.1, 0.2, 0.3]), np.array([[0.0, 1.0], [0.9, 0.6]])),
        "weights that do not add up to 1": (
            _PAIRS,
            np.array([0.4, 0.1, 0.2, 0.3]),
            np.array([[2.0, 5.0], [0.1, 0.3]]),
        ),
    },
    mistakes={
        "divide by Z, the sum over the list": lambda pictures, p, w: p * _products(pictures, w),
        "the pixels are seen one by one: multiply their weights, do not add them": lambda pictures, p, w: normalised(
            p * w[np.arange(pictures.shape[1]), pictures].sum(1)
        ),
        "what was probable before looking counts too: p(x) is missing": lambda pictures, p, w: normalised(
            _products(pictures, w)
        ),
        "x_i = 0 has a weight as well: take w_i(x_i), not w_i(1) where the pixel is bright": lambda pictures, p, w: (
            normalised(p * np.where(pictures == 1, w[:, 1], 1).prod(1))
        ),
    },
)


# 3: temperature.

check_temper = Answers(
    name="temper",
    task="return q(v)^(1/τ) for every v, divided by its sum",
    solution=lambda q, tau: normalised(q ** (1 / tau)),
    cases={
        "cooler": (np.array([0.2, 0.3, 0.5]), 0.25),
        "as it is": (np.array([0.2, 0.8]), 1.0),
        "warmer": (np.array([0.05, 0.15, 0.8]), 4.0),
        "a value excluded": (np.array([0.0, 0.4, 0.6]), 2.0),
    },
    mistakes={
        "a high temperature forgives: the exponent is 1/τ, not τ": lambda q, tau: normalised(q**tau),
        "divide by the sum over v": lambda q, tau: q ** (1 / tau),
        "this is a softmax of q/τ; the logarithm of q belongs in there, and exp(log(q)/τ) is q^(1/τ)": lambda q, tau: (
            normalised(np.exp(q / tau))
        ),
        "dividing by τ changes nothing once the sum is divided out: take a power": lambda q, tau: normalised(q / tau),
    },
)


# 4: a sum of very small numbers.


def _log_sum(a: ArrayLike) -> float:
    a = np.asarray(a, dtype=float)
    return float(a.max() + np.log(np.exp(a - a.max()).sum()))


def _quietly(function, a):
    with np.errstate(all="ignore"):
        return float(function(np.asarray(a, dtype=float)))


check_log_sum = Answers(
    name="log_sum",
    task="return log Σ exp(a_k), computed with the largest a_k taken out",
    solution=_log_sum,
    cases={
        "ordinary numbers": (np.log([0.2, 0.3, 0.5]),),
        "far below what a float holds": (np.array([-1000.0, -1001.0, -1004.0]),),
        "far above": (np.array([1000.0, 999.0]),),
        "an excluded value": (np.array([-np.inf, -2000.0]),),
    },
    mistakes={
        "exp(-1000) is 0 to a computer and exp(1000) infinite: take the largest a_k out first": lambda a: _quietly(
            lambda a: np.log(np.exp(a).sum()), a
        ),
        "what was taken out has to be added again": lambda a: _log_sum(a) - float(np.max(a)),
        "take out the largest, not the mean: one a_k of -inf spoils a mean": lambda a: _quietly(
            lambda a: a.mean() + np.log(np.exp(a - a.mean()).sum()), a
        ),
        "the largest term alone is the maximum of notebook 3; the others add to it": lambda a: float(np.max(a)),
    },
)
