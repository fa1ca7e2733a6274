"""Notebook 8: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tiramisu_edu.course.exercises.nb08 import circuit_of_line, network_of_line

from ..chance import distribution, levels, normal, rising, shaped, simplex, simplices
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


def _line(rng: np.random.Generator, D: int) -> tuple:
    """x_t, image and known."""
    return normal(rng, D), normal(rng, D), _mask(rng, D)


# 1: replacement, and a jump back.


def _back(x_t: Array, image: Array, known: Array, a: float, b: float, z_known: Array, z: Array) -> Array:
    x = np.where(known, np.sqrt(a) * image + np.sqrt(1 - a) * z_known, x_t)
    return np.sqrt(b / a) * x + np.sqrt(1 - b / a) * z


def _copied(x_t: Array, image: Array, known: Array, a: float, z_known: Array) -> Array:
    return np.where(known, np.sqrt(a) * image + np.sqrt(1 - a) * z_known, x_t)


def _copied_at(level: Callable) -> Callable:
    """With the copy of the known part at another level, before the jump."""
    return lambda *c: _back(_copied(c[0], c[1], c[2], level(c[3], c[4]), c[5]), c[1], c[2] & False, *c[3:])


check_back = Answers(
    name="back",
    task="return x at level b: the known part of x_t overwritten at level a, then one jump to more noise",
    solution=_back,
    cases={"one known pixel, one hidden": (*_PAIR, 0.5, 0.4, np.array([0.3, 0.1]), np.array([-0.2, 0.6]))},
    random=lambda rng, size: (*_line(rng, size + 1), *levels(rng, 2)[::-1], *normal(rng, 2, size + 1)),
    traits={"a known pixel": lambda x_t, image, known, *_: known.any()},
    fair=lambda x, y, known, a, b, *noise: shaped("D D D D D", x, y, known, *noise) and 0 < b < a < 1,
    mistakes={
        "x_t already has noise: scale it by what is still missing, b / a, not by b": (
            lambda *c: np.sqrt(c[4]) * _copied(c[0], c[1], c[2], c[3], c[5]) + np.sqrt(1 - c[4]) * c[6]
        ),
        "x_t is at level a, so its known part is a copy noised to level a; yours is clean": _copied_at(
            lambda a, b: 1.0
        ),
        "x_t is at level a before the jump, and so is its known part; yours is noised to level b": _copied_at(
            lambda a, b: b
        ),
        "the known part is overwritten before the jump, at level a; yours at level b, after it": (
            lambda *c: _copied(_back(c[0], c[1], c[2] & False, *c[3:]), *c[1:3], *c[4:6])
        ),
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


def _dps_by(slope: Callable = lambda h: 1 - h**2, through: bool = True, root: bool = True) -> Callable:
    """The gradient, with another slope at the hidden units, not through the network, or of the square."""

    def gradient(x_t: Array, A: Array, B: Array, image: Array, known: Array) -> Array:
        h = np.tanh(B @ x_t)
        misfit = np.where(known, A @ h - image, 0)
        norm = (np.linalg.norm(misfit) or 1) if root else 0.5
        return (B.T @ (slope(h) * (A.T @ misfit)) if through else misfit) / norm

    return gradient


check_dps = Answers(
    name="dps_gradient",
    task="return the gradient, by x_t, of the norm of the misfit on the known pixels",
    solution=_dps,
    cases={"a perfect fit": (np.zeros(2), np.eye(2), np.eye(2), np.zeros(2), _FIRST), "one unit": _ONE_UNIT},
    random=_network,
    fair=lambda *case: shaped("D DH HD D D", *case),
    traits={"no known pixel, so a perfect fit": lambda x_t, A, B, image, known: not known.any()},
    mistakes={
        "this is the gradient of the square; of its root, the norm stands below the line": _dps_by(root=False),
        "the gradient goes through the network: f'(x_t) is missing": _dps_by(through=False),
        "only known pixels have a misfit: where known is False, put 0": lambda *case: _dps(*_with(case, 4, True)),
        "tanh has a slope, 1 - tanh², at each hidden unit": _dps_by(np.ones_like),
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
    fair=lambda *case: shaped("D DH HD D D", *case[:5]) and 0 < case[5] <= 0.1 and min(case[6:]) > 0,
    traits={"more than one step": lambda *case: case[-1] > 1},
    mistakes={
        "both parts of L are squares: a factor 2 is missing": lambda *case: _moved(*_with(case, 5, case[5] / 2)),
        "the second part holds x near the x_t that it came with, not near the step before": _moved_from_the_last,
        "the gradient changes as x moves: compute it anew at every step": lambda *case: (
            case[0] + case[-1] * (_moved(*_with(case, 7, 1)) - case[0])
        ),
        "downhill: subtract the gradient": lambda *case: _moved(*_with(case, 5, -case[5])),
    },
)


# 3: several opinions.


def _nearest(log_p: Array, alpha: Array) -> Array:
    total = sum(weight * row for weight, row in zip(alpha, log_p) if weight > 0)
    p = np.exp(total - total.max())
    return p / p.sum()


def _normalised(p: Array) -> Array:
    with np.errstate(all="ignore"):
        return p / p.sum()


def _zero_times_infinity(log_p: Array, alpha: Array) -> Array:
    with np.errstate(all="ignore"):
        total = np.asarray(alpha) @ log_p
        return _normalised(np.exp(total - total.max()))


def _random_opinions(rng: np.random.Generator, size: int) -> tuple:
    """Distributions that agree on one possible value, shifted far down now and then."""
    P = simplices(rng, size + 1, size + 1)
    P[:, 0] += 0.05
    with np.errstate(divide="ignore"):
        log_p = np.log(P / P.sum(1, keepdims=True))
    return np.maximum(log_p.round(8), -np.inf) - float(rng.choice([*[0] * 9, 3000])), simplex(rng, size + 1)


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
    fair=lambda log_p, alpha: shaped("RV R", log_p, alpha) and distribution(alpha) and log_p.max() <= 0,
    traits={
        "an opinion of weight 0": lambda log_p, alpha: (alpha == 0).any(),
        "a value that someone excludes": lambda log_p, alpha: np.isinf(log_p).any(),
        "logarithms below -1000": lambda log_p, alpha: log_p.max() < -1000,
    },
    mistakes={
        "this is the arithmetic mean: it minimises the divergences *from* the opinions, and has no veto": (
            lambda log_p, alpha: _normalised(alpha @ np.exp(log_p))
        ),
        "exp(-3000) is 0 to a computer: take the largest sum out first": lambda log_p, alpha: _normalised(
            np.prod([np.exp(row) ** a for a, row in zip(alpha, log_p) if a > 0], 0)
        ),
        "zero times -inf is no number: leave out whoever has weight 0": _zero_times_infinity,
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
    limit: Callable = float, last: bool = False, precision: Callable = np.divide, paste: bool = True, new: bool = False
) -> Callable:
    """The sampler, faulty in the steps that it guides, in what weighs the means, in its end or in its noise."""

    def sampler(x_t: Array, image: Array, known: Array, alpha_bar: Array, alpha: float, fraction: float) -> Array:
        for i, (a, following) in enumerate(zip(alpha_bar, [*alpha_bar[1:], 1.0])):
            x_0, variance = network_of_line(x_t, a)
            noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
            if (len(alpha_bar) - 1 - i if last else i) < limit(fraction * len(alpha_bar)):
                mean, other = circuit_of_line(x_t, a, image, known)
                ours, theirs = precision(alpha, variance), precision(1 - alpha, other)
                x_0 = np.where(known, image, (ours * x_0 + theirs * mean) / (ours + theirs))
            if new:
                noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
            x_t = np.sqrt(following) * x_0 + np.sqrt(1 - following) * noise
        return np.where(known, image, x_t) if paste else x_t

    return sampler


_FRACTIONS = (0.0, 0.2, 0.5, 1.0)

check_tiramisu = Answers(
    name="tiramisu",
    task="return the repaired line: network and circuit mixed in the first steps, DDIM's step, known pixels kept",
    solution=_tiramisu,
    cases={"no guided step": (*_PAIR, np.array([0.1, 0.6]), 0.8, 0.0)},
    random=lambda rng, size: (
        *(*_line(rng, size + 1), levels(rng, size + 1)),
        *(float(rng.choice([0.5, 0.8])), float(rng.choice(_FRACTIONS))),
    ),
    fair=lambda *case: shaped("D D D T", *case[:4]) and rising(case[3]) and 0 < case[4] < 1 and case[5] in _FRACTIONS,
    traits={
        "no known pixel": lambda x_t, image, known, *_: not known.any(),
        "some guided steps and some without": lambda *case: 0 < case[-1] < 1,
        "guided steps": lambda *case: case[-1] > 0,
    },
    equivalent={
        "always the second: np.where(known, image, (ours * x_0 + theirs * mean) / (ours + theirs))": (
            "the circuit is sure of known pixels, so the mixture has them but for a millionth"
        )
    },
    mistakes={
        "guide the first steps, where noise is heavy; these are the last": _faulty(last=True),
        "step i is guided where i < fraction · T, counted from 0; yours guides one more": _faulty(lambda n: int(n) + 1),
        "fraction · T need not be whole: step i is guided where i < fraction · T, without rounding": _faulty(int),
        "the published step keeps the network's own noise; yours is recomputed from the steered x_0": _faulty(new=True),
        "who is surer has more say: α weighs precisions": _faulty(precision=lambda share, variance: share),
        "these are variances; a precision is one over a variance": _faulty(precision=np.multiply),
        "α is the network's weight, 1 - α the circuit's: they are swapped": (
            lambda *case: _tiramisu(*_with(case, 4, 1 - case[4]))
        ),
        "the result has the known pixels exactly as given: paste them at the end": _faulty(paste=False),
    },
)
