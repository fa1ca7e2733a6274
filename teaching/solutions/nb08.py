"""Notebook 8: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiramisu_edu.course.exercises.nb08 import circuit_of_line, network_of_line

from ..chance import normal, simplex, simplices
from . import Answers

Array = np.ndarray

_FIRST = np.array([True, False])  # known
_PAIR = np.array([0.5, -0.2]), np.array([1.0, 0.0]), _FIRST  # x_t, image, known
_ONE_UNIT = _PAIR[0], np.array([[1.0], [0.5]]), np.array([[1.0, -1.0]]), np.array([0.0, 1.0]), _FIRST


def _with(case: Any, place: int, value: Any) -> Any:
    """The case with another argument at that place."""
    return (*case[:place], value, *case[place + 1 :])


def _mask(rng: np.random.Generator, D: int) -> Array:
    """Known pixels, not all of them."""
    known = rng.random(D) < 0.5
    known[rng.integers(D)] = False
    return known


def _levels(rng: np.random.Generator, T: int) -> Array:
    """ᾱ of T steps, rising."""
    return np.sort(rng.choice(np.arange(1, 20), T, replace=False)) / 20


# 1: replacement, and a jump back.


def _back(x_t: Array, image: Array, known: Array, a: float, b: float, z_known: Array, z: Array) -> Array:
    x = np.where(known, np.sqrt(a) * image + np.sqrt(1 - a) * z_known, x_t)
    return np.sqrt(b / a) * x + np.sqrt(1 - b / a) * z


def _jumped_as_if_clean(x_t: Array, image: Array, known: Array, a: float, b: float, z_known: Array, z: Array) -> Array:
    x = np.where(known, np.sqrt(a) * image + np.sqrt(1 - a) * z_known, x_t)
    return np.sqrt(b) * x + np.sqrt(1 - b) * z


def _copied_after(x_t: Array, image: Array, known: Array, a: float, b: float, z_known: Array, z: Array) -> Array:
    return np.where(known, np.sqrt(b) * image + np.sqrt(1 - b) * z_known, np.sqrt(b / a) * x_t + np.sqrt(1 - b / a) * z)


def _random_back(rng: np.random.Generator, size: int) -> tuple:
    D, (b, a) = size + 1, _levels(rng, 2)
    return normal(rng, D), normal(rng, D), _mask(rng, D), a, b, normal(rng, D), normal(rng, D)


check_back = Answers(
    name="back",
    task="return x at level b: the known part of x_t overwritten at level a, then one jump to more noise",
    solution=_back,
    cases={"one known pixel, one hidden": (*_PAIR, 0.5, 0.4, np.array([0.3, 0.1]), np.array([-0.2, 0.6]))},
    random=_random_back,
    traits={"a known pixel": lambda x_t, image, known, *_: known.any()},
    mistakes={
        "x_t already has noise: scale it by what is still missing, b / a, not by b": _jumped_as_if_clean,
        "x_t is at level a, so its known part is a copy noised to level a; yours is clean": (
            lambda *case: _back(*_with(_with(case, 0, np.where(case[2], case[1], case[0])), 2, False))
        ),
        "the known part is overwritten before the jump, at level a; yours at level b, after it": _copied_after,
        "count the variance: before the jump the noise has 1 - a, of which b / a is left": (
            lambda *case: _back(*_with(case, 6, np.sqrt((case[3] - case[4]) / (1 - case[4] / case[3])) * case[6]))
        ),
    },
)


# 2 and 4: gradients through the network f(x) = A tanh(B x).


def _network(rng: np.random.Generator, size: int) -> tuple:
    """x_t, A, B, image and known, of D pixels and H hidden units."""
    D, H = size + 1, int(rng.integers(1, size + 2))
    return normal(rng, D), normal(rng, D, H), normal(rng, H, D), normal(rng, D), _mask(rng, D)


def _dps(x_t: Array, A: Array, B: Array, image: Array, known: Array) -> Array:
    h = np.tanh(B @ x_t)
    misfit = np.where(known, A @ h - image, 0)
    norm = np.sqrt((misfit**2).sum())
    return B.T @ ((1 - h**2) * (A.T @ misfit)) / (norm if norm > 0 else 1)


def _dps_of_square(x_t: Array, A: Array, B: Array, image: Array, known: Array) -> Array:
    h = np.tanh(B @ x_t)
    return 2 * B.T @ ((1 - h**2) * (A.T @ np.where(known, A @ h - image, 0)))


def _dps_beside_the_network(x_t: Array, A: Array, B: Array, image: Array, known: Array) -> Array:
    misfit = np.where(known, A @ np.tanh(B @ x_t) - image, 0)
    return misfit / (np.linalg.norm(misfit) or 1)


def _dps_without_slope(x_t: Array, A: Array, B: Array, image: Array, known: Array) -> Array:
    misfit = np.where(known, A @ np.tanh(B @ x_t) - image, 0)
    return B.T @ (A.T @ misfit) / (np.linalg.norm(misfit) or 1)


check_dps = Answers(
    name="dps_gradient",
    task="return the gradient, by x_t, of the norm of the misfit on the known pixels",
    solution=_dps,
    cases={
        "a perfect fit": (np.zeros(2), np.eye(2), np.eye(2), np.zeros(2), _FIRST),
        "one unit": _ONE_UNIT,
    },
    random=_network,
    traits={"no known pixel, so a perfect fit": lambda x_t, A, B, image, known: not known.any()},
    mistakes={
        "this is the gradient of the square; of its root, the norm stands below the line": _dps_of_square,
        "the gradient goes through the network: f'(x_t) is missing": _dps_beside_the_network,
        "only known pixels have a misfit: where known is False, put 0": lambda *case: _dps(*_with(case, 4, True)),
        "tanh has a slope, 1 - tanh², at each hidden unit": _dps_without_slope,
        "return the gradient itself, uphill; the sampler subtracts it": lambda *case: -_dps(*case),
    },
    equivalent={"number off by one: 1": "where the norm is 0 the gradient is 0, whatever divides it"},
)


def _moved(x_t: Array, A: Array, B: Array, image: Array, known: Array, rate: float, weight: float, G: int) -> Array:
    x = x_t
    for _ in range(G):
        h = np.tanh(B @ x)
        misfit = np.where(known, A @ h - image, 0)
        x = x - rate * 2 * (B.T @ ((1 - h**2) * (A.T @ misfit)) + weight * (x - x_t))
    return x


def _moved_at_once(x_t: Array, *case: Any) -> Array:
    return x_t + case[-1] * (_moved(*_with((x_t, *case), 7, 1)) - x_t)


def _moved_from_the_last(x_t: Array, *case: Any) -> Array:
    for _ in range(case[-1]):
        x_t = _moved(*_with((x_t, *case), 7, 1))
    return x_t


check_copaint = Answers(
    name="moved",
    task="return x after G gradient steps on L",
    solution=_moved,
    cases={"one step of one unit": (*_ONE_UNIT, 0.1, 0.5, 1)},
    random=lambda rng, size: (*_network(rng, size), 0.05, float(rng.choice([0.1, 1.0, 4.0])), int(rng.integers(1, 5))),
    traits={"more than one step": lambda *case: case[-1] > 1},
    mistakes={
        "both parts of L are squares: a factor 2 is missing": lambda *case: _moved(*_with(case, 5, case[5] / 2)),
        "the second part holds x near the x_t that it came with, not near the step before": _moved_from_the_last,
        "the gradient changes as x moves: compute it anew at every step": _moved_at_once,
        "downhill: subtract the gradient": lambda *case: _moved(*_with(case, 5, -case[5])),
    },
)


# 3: several opinions.


def _nearest(log_p: Array, alpha: Array) -> Array:
    total = sum(weight * row for weight, row in zip(alpha, log_p) if weight > 0)
    p = np.exp(total - total.max())
    return p / p.sum()


def _arithmetic(log_p: Array, alpha: Array) -> Array:
    with np.errstate(all="ignore"):
        p = np.asarray(alpha) @ np.exp(log_p)
        return p / p.sum()


def _unshifted(log_p: Array, alpha: Array) -> Array:
    with np.errstate(all="ignore"):
        p = np.prod([np.exp(row) ** weight for weight, row in zip(alpha, log_p) if weight > 0], 0)
        return p / p.sum()


def _zero_times_infinity(log_p: Array, alpha: Array) -> Array:
    with np.errstate(all="ignore"):
        total = np.asarray(alpha) @ log_p
        p = np.exp(total - total.max())
        return p / p.sum()


def _random_opinions(rng: np.random.Generator, size: int) -> tuple:
    """Distributions that agree on one possible value, shifted far down now and then."""
    P = simplices(rng, size + 1, size + 1)
    P[:, 0] += 0.05
    with np.errstate(divide="ignore"):
        log_p = np.log(P / P.sum(1, keepdims=True))
    return np.maximum(log_p.round(3), -np.inf) - float(rng.choice([0, 3000])), simplex(rng, size + 1)


check_nearest = Answers(
    name="nearest",
    task="return the distribution that minimises the weighted sum of the divergences to all rows",
    solution=_nearest,
    cases={
        "two": (np.log(np.array([[0.2, 0.8], [0.5, 0.5]])), np.array([0.5, 0.5])),
        "one without weight": (np.array([[0.0, -np.inf], [-1.0, -0.5]]), np.array([0.0, 1.0])),
        "far below what a float holds": (np.log(np.array([[0.2, 0.8], [0.5, 0.5]])) - 3000.0, np.array([0.4, 0.6])),
    },
    random=_random_opinions,
    traits={
        "an opinion of weight 0": lambda log_p, alpha: (alpha == 0).any(),
        "a value that someone excludes": lambda log_p, alpha: np.isinf(log_p).any(),
        "logarithms below -1000": lambda log_p, alpha: log_p.max() < -1000,
    },
    mistakes={
        "this is the arithmetic mean: it minimises the divergences *from* the opinions, and has no veto": _arithmetic,
        "exp(-3000) is 0 to a computer: take the largest sum out first": _unshifted,
        "0 times -inf is no number: leave out whoever has weight 0": _zero_times_infinity,
        "the weights are exponents; without them every opinion counts in full": lambda log_p, alpha: _nearest(
            log_p, (alpha > 0) * 1.0
        ),
    },
)


# 5: the whole sampler.


def _tiramisu(x_t: Array, image: Array, known: Array, alpha_bar: Array, alpha: float, fraction: float) -> Array:
    for i, a in enumerate(alpha_bar):
        x_0, variance = network_of_line(x_t, a)
        noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        if i < fraction * len(alpha_bar):
            mean, other = circuit_of_line(x_t, a, image, known)
            ours, theirs = alpha / variance, (1 - alpha) / other
            x_0 = np.where(known, image, (ours * x_0 + theirs * mean) / (ours + theirs))
        following = alpha_bar[i + 1] if i + 1 < len(alpha_bar) else 1.0
        x_t = np.sqrt(following) * x_0 + np.sqrt(1 - following) * noise
    return np.where(known, image, x_t)


def _faulty(
    x_t: Array, image: Array, known: Array, alpha_bar: Array, alpha: float, fraction: float, *, fault: str
) -> Array:
    """The sampler with one fault."""
    T = len(alpha_bar)
    for i, a in enumerate(alpha_bar):
        x_0, variance = network_of_line(x_t, a)
        noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        if (T - 1 - i if fault == "late" else i) < fraction * T:
            mean, other = circuit_of_line(x_t, a, image, known)
            if fault == "weights":
                variance, other = np.ones_like(x_t), np.ones_like(x_t)
            ours, theirs = alpha / variance, (1 - alpha) / other
            x_0 = np.where(known, image, (ours * x_0 + theirs * mean) / (ours + theirs))
            if fault == "consistent":
                noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        following = alpha_bar[i + 1] if i + 1 < T else 1.0
        x_t = np.sqrt(following) * x_0 + np.sqrt(1 - following) * noise
    return x_t if fault == "unpasted" else np.where(known, image, x_t)


def _random_run(rng: np.random.Generator, size: int) -> tuple:
    D, T = size + 1, size + 1
    models = normal(rng, D), normal(rng, D), _mask(rng, D), _levels(rng, T)
    return *models, float(rng.choice([0.5, 0.8])), float(rng.choice([0.0, 0.2, 0.5, 1.0]))


check_tiramisu = Answers(
    name="tiramisu",
    task="return the repaired line: network and circuit mixed in the first steps, DDIM's step, known pixels kept",
    solution=_tiramisu,
    cases={"no guided step": (*_PAIR, np.array([0.1, 0.6]), 0.8, 0.0)},
    random=_random_run,
    traits={
        "no known pixel": lambda x_t, image, known, *_: not known.any(),
        "some guided steps and some without": lambda *case: 0 < case[-1] < 1,
        "guided steps": lambda *case: case[-1] > 0,
    },
    mistakes={
        "guide the first steps, where noise is heavy; these are the last": lambda *case: _faulty(*case, fault="late"),
        "the published step keeps the network's own noise; yours is recomputed from the steered x_0": (
            lambda *case: _faulty(*case, fault="consistent")
        ),
        "who is surer has more say: α weighs precisions": lambda *case: _faulty(*case, fault="weights"),
        "α is the network's weight, 1 - α the circuit's: they are swapped": (
            lambda *case: _tiramisu(*_with(case, 4, 1 - case[4]))
        ),
        "the result has the known pixels exactly as given: paste them at the end": (
            lambda *case: _faulty(*case, fault="unpasted")
        ),
    },
)
