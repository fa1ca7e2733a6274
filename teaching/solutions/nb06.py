"""Notebook 6: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tiramisu_edu.course.checks import normalised
from tiramisu_edu.course.exercises.nb06 import from_largest

from ..chance import distribution, normal, simplex
from . import Answers

# 1: several readings.


def _log_weights(y, sigma, levels):
    log_w = np.zeros(len(levels))
    for y_k, sigma_k in zip(y, sigma):
        if not np.isnan(y_k):
            log_w += -((y_k - levels) ** 2) / (2 * sigma_k**2)
    return log_w


def _readings(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y = normal(rng, size)
    y[rng.random(size) < 0.25] = np.nan
    return y, (0.2 + 2 * rng.random(size)).round(2), np.linspace(-1, 1, int(rng.integers(2, 5)))


_TWO = np.array([-1.0, 1.0])
check_weights = Answers(
    name="log_weights",
    task="return the logarithm of the weight of every level, up to a constant",
    solution=_log_weights,
    cases={
        "one reading": (np.array([0.4]), np.array([0.5]), _TWO),
        "two readings": (np.array([0.4, -0.1]), np.array([0.5, 2.0]), _TWO),
        "one of two failed": (np.array([np.nan, -0.1]), np.array([0.5, 2.0]), _TWO),
    },
    random=_readings,
    traits={
        "a reading that failed": lambda y, sigma, levels: bool(np.isnan(y).any()),
        "more than one reading": lambda y, sigma, levels: len(y) > 1,
    },
    fair=lambda y, sigma, levels: (
        len(y) == len(sigma) > 0 and min(sigma) > 0 and len(levels) > 1 and bool((np.diff(levels) > 0).all())
    ),
    view=from_largest,
    mistakes={
        "readings are not equally good: each has its own σ": lambda y, sigma, levels: _log_weights(
            y, np.full(len(y), sigma.mean()), levels
        ),
        "two clear readings say more than one: logarithms of independent readings add up, they are not averaged": (
            lambda y, sigma, levels: _log_weights(y, sigma, levels) / max(np.isfinite(y).sum(), 1)
        ),
        "the variance is σ², not σ": lambda y, sigma, levels: _log_weights(y, np.sqrt(sigma), levels),
        "a reading that failed says nothing: leave it out": lambda y, sigma, levels: _log_weights(
            np.nan_to_num(y), sigma, levels
        ),
    },
    equivalent={
        "operands swapped: y_k - levels": "the difference is squared",
    },
)


# 2: a sensor with a ceiling.


def _clipped(y, levels, sigma):
    w = np.exp(-((y - levels) ** 2) / (2 * sigma**2))
    if y >= 1:
        w = np.array([math.erfc((1 - g) / (sigma * math.sqrt(2))) for g in levels])
    if y <= -1:
        w = np.array([math.erfc((1 + g) / (sigma * math.sqrt(2))) for g in levels])
    return w


def _tail(sign: int, factor: float = 1.0) -> Callable:
    """The weights of a reading at the ceiling, with a fault at both ends."""

    def weights(y: float, levels: np.ndarray, sigma: float) -> np.ndarray:
        if abs(y) < 1:
            return _clipped(y, levels, sigma)
        side = 1 if y >= 1 else -1
        return np.array([math.erfc(sign * (1 - side * g) / (sigma * math.sqrt(2) * factor)) / 2 for g in levels])

    return weights


check_clipped = Answers(
    name="clipped",
    task="return the weight of every level, up to a constant",
    solution=_clipped,
    cases={
        "inside": (0.3, _TWO / 2, 0.5),
        "at the ceiling": (1.0, _TWO / 2, 0.5),
        "at the floor": (-1.0, _TWO / 2, 0.5),
    },
    random=lambda rng, size: (
        float(np.clip(round(rng.normal() * 1.3, 2), -1, 1)),
        np.linspace(-1, 1, size + 1),
        round(float(rng.uniform(0.4, 2)), 2),
    ),
    traits={
        "a reading at the ceiling": lambda y, levels, sigma: y >= 1,
        "a reading at the floor": lambda y, levels, sigma: y <= -1,
    },
    fair=lambda y, levels, sigma: sigma > 0 and abs(y) <= 1 and len(levels) > 1 and bool((np.diff(levels) > 0).all()),
    view=normalised,
    mistakes={
        "a reading of 1 stands for everything at or above 1: the probability of all that, not the density at 1": (
            lambda y, levels, sigma: np.exp(-((y - levels) ** 2) / (2 * sigma**2))
        ),
        "this is the probability that the sensor would not have been at its limit": _tail(-1),
        "erfc asks for the distance in units of σ √2": _tail(1, 1 / math.sqrt(2)),
    },
    equivalent={
        "operands swapped: y - levels": "the difference is squared",
    },
)


# 3: temperature.


def _temper(q, tau):
    w = q ** (1 / tau)
    return w / w.sum()


check_temper = Answers(
    name="temper",
    task="return the opinion at temperature τ, a distribution",
    solution=_temper,
    cases={
        "cooler": (np.array([0.2, 0.3, 0.5]), 0.25),
        "as it is": (np.array([0.2, 0.8]), 1.0),
        "warmer": (np.array([0.05, 0.15, 0.8]), 4.0),
        "a value excluded": (np.array([0.0, 0.4, 0.6]), 2.0),
    },
    random=lambda rng, size: (simplex(rng, size + 1), round(float(rng.uniform(0.2, 4)), 2)),
    fair=lambda q, tau: distribution(q) and tau > 0,
    mistakes={
        "a high temperature forgives: the exponent is 1/τ, not τ": lambda q, tau: _temper(q, 1 / tau),
        "divide by the sum over v": lambda q, tau: q ** (1 / tau),
        "this is a softmax of q/τ; the logarithm of q belongs in there, and exp(log(q)/τ) is q^(1/τ)": lambda q, tau: (
            normalised(np.exp(q / tau))
        ),
        "dividing by τ changes nothing once the sum is divided out: take a power": lambda q, tau: normalised(q / tau),
    },
)


# 4: sums of very small numbers.


def _log_sum(a):
    m = a.max(axis=1)
    m = np.where(np.isfinite(m), m, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(a - m[:, None]).sum(axis=1)) + m


def _log_sum_with(center: Callable[[np.ndarray], np.ndarray], back: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    def log_sum(a: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            m = center(a)[..., None]
            return np.log(np.exp(a - m).sum(-1)) + back * m[..., 0]

    return log_sum


def _tiny(rng: np.random.Generator, size: int) -> tuple[np.ndarray]:
    a = (rng.normal(size=(size, size + 1)) * 3 + rng.choice([0, -3000, 2000], size=(size, 1))).round(2)
    a[rng.random(a.shape) < 0.2] = -np.inf
    return (a,)


check_sum = Answers(
    name="log_sum",
    task="return the logarithm of the sum, one for every row",
    solution=_log_sum,
    cases={
        "ordinary numbers": (np.log([[0.2, 0.3, 0.5], [0.1, 0.1, 0.2]]),),
        "far below what a float holds": (np.array([[-3000.0, -3001.0, -3004.0]]),),
        "far above": (np.array([[1000.0, 999.0]]),),
        "one far below the other": (np.array([[0.0, -3000.0]]),),
        "an excluded value": (np.array([[-np.inf, -2000.0]]),),
        "all excluded": (np.array([[-np.inf, -np.inf], [-1.0, -2.0]]),),
    },
    random=_tiny,
    fair=lambda a: a.ndim == 2 and min(a.shape) > 0,
    traits={
        "an excluded value": lambda a: bool(np.isinf(a).any()),
        "a row that is excluded whole": lambda a: bool(np.isinf(a).all(-1).any()),
        "numbers below −700, whose exponential is 0": lambda a: bool((a[np.isfinite(a)] < -700).any()),
    },
    mistakes={
        "exp(-3000) is 0 to a computer and exp(1000) infinite: take something out of the row first": _log_sum_with(
            lambda a: np.zeros(a.shape[:-1])
        ),
        "what was taken out has to be added again": _log_sum_with(lambda a: a.max(-1), back=0.0),
        "take out the largest, not the mean: beside a value of −3000 the mean leaves an exp that is infinite": (
            _log_sum_with(lambda a: a.mean(-1))
        ),
        "the largest term alone is the maximum of notebook 3; the others add to it": lambda a: a.max(-1),
        "a row of −∞ only gives −∞: there, −∞ − (−∞) is no number": _log_sum_with(lambda a: a.max(-1)),
    },
    equivalent={
        "number off by one: 0": "any number will do where the largest is infinite",
        "option left out: np.errstate(divide='ignore')": "it only keeps a warning away",
    },
)


# 5: marginals of a list, in logarithms.


def _marginals(log_p, pictures, log_w):
    log_q = log_p.copy()
    for i in range(len(log_w)):
        log_q = log_q + log_w[i, pictures[:, i]]
    q = np.exp(log_q - log_q.max())
    found = np.zeros(log_w.shape)
    for i in range(len(found)):
        for v in range(found.shape[1]):
            found[i, v] = q[pictures[:, i] == v].sum() / q.sum()
    return found


def _from(log_q: np.ndarray, pictures: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    with np.errstate(all="ignore"):
        q = np.exp(log_q)
        parts = [[q[pictures[:, i] == v].sum() for v in range(shape[1])] for i in range(shape[0])]
        return np.array(parts) / q.sum()


def _seen(log_w: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    return log_w[np.arange(len(log_w)), pictures].sum(1)


def _shifted(log_q: np.ndarray) -> np.ndarray:
    return log_q - log_q.max()


def _listed(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    D, C = size, int(rng.integers(2, 4))
    pictures = np.unique(rng.integers(C, size=(3 * size + 2, D)), axis=0)
    log_w = (normal(rng, D, C) * 2 + rng.choice([0, -1000], size=(D, 1))).round(2)
    return np.log(simplex(rng, len(pictures), zeros=False)).round(4), pictures, log_w


check_marginals = Answers(
    name="marginals",
    task="return the probability of every value of every pixel, (D, C)",
    solution=_marginals,
    cases={
        "one pixel": (np.log([0.3, 0.7]), np.array([[0], [1]]), np.array([[-1.0, -2.0]])),
        "two pixels that agree": (np.log([0.5, 0.5]), np.array([[0, 0], [1, 1]]), np.array([[0.0, -1.0], [-3.0, 0.0]])),
        "one of two all but excluded": (np.log([0.4, 0.6]), np.array([[0], [1]]), np.array([[0.0, -3000.0]])),
        "weights of e^-3000": (np.log([0.4, 0.6]), np.array([[0, 1], [1, 0]]), np.array([[-3e3, -3002], [-3e3, -3e3]])),
    },
    random=_listed,
    fair=lambda log_p, pictures, log_w: (
        distribution(np.exp(log_p).round(3))
        and pictures.ndim == log_w.ndim == 2
        and pictures.shape == (len(log_p), len(log_w))
        and len(np.unique(pictures, axis=0)) == len(pictures)
        and pictures.min() >= 0
        and pictures.max() < log_w.shape[1]
    ),
    traits={
        "weights whose product is 0 to a computer": lambda log_p, pictures, log_w: bool((log_w < -700).any()),
        "three values": lambda log_p, pictures, log_w: log_w.shape[1] > 2,
    },
    mistakes={
        "the product of these weights is 0 to a computer: stay in logarithms, and take the largest out": (
            lambda log_p, pictures, log_w: _from(log_p + _seen(log_w, pictures), pictures, log_w.shape)
        ),
        "what was probable before looking counts too: p(x) is missing": lambda log_p, pictures, log_w: _from(
            _shifted(_seen(log_w, pictures)), pictures, log_w.shape
        ),
        "this looks at each pixel alone; its neighbours speak as well, through p(x)": lambda log_p, pictures, log_w: (
            np.exp(log_w - log_w.max(1, keepdims=True))
            / np.exp(log_w - log_w.max(1, keepdims=True)).sum(1, keepdims=True)
        ),
        "the evidence is missing: these are the marginals of the prior": lambda log_p, pictures, log_w: _from(
            log_p, pictures, log_w.shape
        ),
    },
)
