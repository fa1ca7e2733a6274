"""Notebook 8: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from functools import partial

import numpy as np

from tiramisu_edu.course.exercises.nb08 import circuit_of_line, network_of_line

from . import Answers

_rng = np.random.default_rng(8)


def _numbers(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape).round(2)


# 1: replacement, and a jump back.


def _back(x_t, image, known, a, b, z_known, z):  # type: ignore[no-untyped-def]
    x = np.where(known, np.sqrt(a) * image + np.sqrt(1 - a) * z_known, x_t)
    return np.sqrt(b / a) * x + np.sqrt(1 - b / a) * z


def _jumped(x, b, z):  # type: ignore[no-untyped-def]
    return np.sqrt(b) * x + np.sqrt(1 - b) * z


_HALF, _OUTER = np.array([True, True, False, False]), np.array([True, False, True])

check_back = Answers(
    name="back",
    task="return x at level b: the known part of x_t overwritten at level a, then one jump to more noise",
    solution=_back,
    cases={
        "a short jump": (_numbers(3), _numbers(3), _OUTER, 0.5, 0.4, _numbers(3), _numbers(3)),
        "a long jump": (_numbers(4), _numbers(4), _HALF, 0.9, 0.1, _numbers(4), _numbers(4)),
        "nothing is known": (_numbers(3), _numbers(3), np.zeros(3, dtype=bool), 0.7, 0.3, _numbers(3), _numbers(3)),
    },
    mistakes={
        "x_t already has noise: scale it by what is still missing, b / a, not by b": (
            lambda x_t, image, known, a, b, z_known, z: _jumped(
                np.where(known, np.sqrt(a) * image + np.sqrt(1 - a) * z_known, x_t), b, z
            )
        ),
        "x_t is at level a, so its known part is a copy noised to level a; yours is clean": (
            lambda x_t, image, known, a, b, z_known, z: _back(np.where(known, image, x_t), image, False, a, b, 0, z)
        ),
        "the known part is overwritten before the jump, at level a; yours is overwritten at level b after it": (
            lambda x_t, image, known, a, b, z_known, z: np.where(
                known, _jumped(image, b, z_known), np.sqrt(b / a) * x_t + np.sqrt(1 - b / a) * z
            )
        ),
        "the noise that is added has variance 1 - b / a: signal and noise of a standard x add up to 1": (
            lambda x_t, image, known, a, b, z_known, z: (
                _back(x_t, image, known, a, b, z_known, 0 * z) + np.sqrt(a - b) * z
            )
        ),
    },
)


# 2 and 4: gradients through the network f(x) = A tanh(B x).


def _misfit(x, A, B, image, known):  # type: ignore[no-untyped-def]
    """m (f(x) - y), and the hidden layer."""
    h = np.tanh(B @ x)
    return np.where(known, A @ h - image, 0.0), h


def _dps(x_t, A, B, image, known, power=1):  # type: ignore[no-untyped-def]
    """Gradient of the norm to that power, halved for the square."""
    misfit, h = _misfit(x_t, A, B, image, known)
    norm = np.sqrt((misfit**2).sum())
    return B.T @ ((1 - h**2) * (A.T @ misfit)) / (norm if norm > 0 and power == 1 else 1)


def _network(D: int, H: int) -> tuple:
    """x_t, A, B and image, of D pixels and H hidden units."""
    return _numbers(D), _numbers(D, H), _numbers(H, D), _numbers(D)


def _fitting() -> tuple:
    x_t, A, B, _ = _network(3, 2)
    return x_t, A, B, A @ np.tanh(B @ x_t), _OUTER


check_dps = Answers(
    name="dps_gradient",
    task="return the gradient, by x_t, of the norm of the misfit on the known pixels",
    solution=_dps,
    cases={
        "two of three known": (*_network(3, 2), _OUTER),
        "half of four known": (*_network(4, 3), _HALF),
        "a perfect fit": _fitting(),
    },
    mistakes={
        "this is the gradient of half the square; the norm's has the norm in the denominator": partial(_dps, power=2),
        "the gradient goes through the network: f'(x_t) is missing": (
            lambda x_t, A, B, image, known: (
                _misfit(x_t, A, B, image, known)[0] / (np.linalg.norm(_misfit(x_t, A, B, image, known)[0]) or 1)
            )
        ),
        "only known pixels have a misfit: where known is False, put 0": (
            lambda x_t, A, B, image, known: _dps(x_t, A, B, image, np.ones_like(known))
        ),
        "DPS steps against the gradient; return the gradient itself, uphill": (
            lambda x_t, A, B, image, known: -_dps(x_t, A, B, image, known)
        ),
        "tanh has a slope, 1 - tanh², at each hidden unit": (
            lambda x_t, A, B, image, known: (
                B.T
                @ (A.T @ _misfit(x_t, A, B, image, known)[0])
                / (np.linalg.norm(_misfit(x_t, A, B, image, known)[0]) or 1)
            )
        ),
    },
)


def _moved(x_t, A, B, image, known, rate, weight, G):  # type: ignore[no-untyped-def]
    x = x_t
    for _ in range(G):
        misfit, h = _misfit(x, A, B, image, known)
        slope = B.T @ ((1 - h**2) * (A.T @ misfit)) + weight * (x - x_t)
        x = x - rate * 2 * slope
    return x


def _moved_at_once(x_t, A, B, image, known, rate, weight, G):  # type: ignore[no-untyped-def]
    return x_t + G * (_moved(x_t, A, B, image, known, rate, weight, 1) - x_t)


def _moved_from_itself(x_t, A, B, image, known, rate, weight, G):  # type: ignore[no-untyped-def]
    for _ in range(G):
        x_t = _moved(x_t, A, B, image, known, rate, weight, 1)
    return x_t


check_copaint = Answers(
    name="moved",
    task="return x after G gradient steps on L",
    solution=_moved,
    cases={
        "one step": (*_network(3, 2), _OUTER, 0.1, 0.5, 1),
        "three steps": (*_network(4, 3), _HALF, 0.1, 0.5, 3),
        "five steps, held back strongly": (*_network(3, 3), _OUTER, 0.05, 4.0, 5),
    },
    mistakes={
        "both parts of L are squares: their gradients have a factor 2": (
            lambda x_t, A, B, image, known, rate, weight, G: _moved(x_t, A, B, image, known, rate / 2, weight, G)
        ),
        "the second part holds x near the x_t that it came with, not near the step before": _moved_from_itself,
        "the gradient changes as x moves: compute it anew at every step": _moved_at_once,
        "downhill: subtract the gradient": (
            lambda x_t, A, B, image, known, rate, weight, G: _moved(x_t, A, B, image, known, -rate, weight, G)
        ),
    },
)


# 3: several opinions.


def _nearest(log_p, alpha):  # type: ignore[no-untyped-def]
    total = sum(weight * row for weight, row in zip(alpha, log_p) if weight > 0)
    p = np.exp(total - total.max())
    return p / p.sum()


def _arithmetic(log_p, alpha):  # type: ignore[no-untyped-def]
    with np.errstate(all="ignore"):
        p = np.asarray(alpha) @ np.exp(log_p)
        return p / p.sum()


def _unshifted(log_p, alpha):  # type: ignore[no-untyped-def]
    with np.errstate(all="ignore"):
        p = np.exp(sum(weight * row for weight, row in zip(alpha, log_p) if weight > 0))
        return p / p.sum()


def _zero_times_infinity(log_p, alpha):  # type: ignore[no-untyped-def]
    with np.errstate(all="ignore"):
        total = np.asarray(alpha) @ log_p
        p = np.exp(total - total.max())
        return p / p.sum()


with np.errstate(divide="ignore"):
    _TWO = np.log(np.array([[0.2, 0.8], [0.5, 0.5]]))
    _THREE = np.log(np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.25, 0.5, 0.25]]))
    _VETO = np.log(np.array([[0.3, 0.3, 0.4], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]))

check_nearest = Answers(
    name="nearest",
    task="return the distribution that minimises the weighted sum of the divergences to all rows",
    solution=_nearest,
    cases={
        "two": (_TWO, np.array([0.5, 0.5])),
        "three": (_THREE, np.array([0.5, 0.3, 0.2])),
        "a veto, and one without weight": (_VETO, np.array([0.25, 0.75, 0.0])),
        "far below what a float holds": (_THREE - 3000.0, np.array([0.2, 0.2, 0.6])),
    },
    mistakes={
        "this is the arithmetic mean: it minimises the divergences *from* the opinions to p, and has no veto": _arithmetic,
        "exp(-3000) is 0 to a computer: take the largest sum out first": _unshifted,
        "0 times -inf is no number: leave out whoever has weight 0": _zero_times_infinity,
        "the weights are exponents; without them every opinion counts in full": (
            lambda log_p, alpha: _nearest(log_p, (np.asarray(alpha) > 0) * 1.0)
        ),
    },
)


# 5: the whole sampler.


def _tiramisu(x_t, image, known, alpha_bar, alpha, fraction, late=False, consistent=False, mean_of="precision"):  # type: ignore[no-untyped-def]
    for i, a in enumerate(alpha_bar):
        x_0, variance = network_of_line(x_t, a)
        noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        turn = len(alpha_bar) - 1 - i if late else i
        if turn < fraction * len(alpha_bar):
            mean, other = circuit_of_line(x_t, a, image, known)
            ours, theirs = (alpha, 1 - alpha) if mean_of == "weights" else (alpha / variance, (1 - alpha) / other)
            x_0 = np.where(known, image, (ours * x_0 + theirs * mean) / (ours + theirs))
        if consistent:
            noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
        following = alpha_bar[i + 1] if i + 1 < len(alpha_bar) else 1.0
        x_t = np.sqrt(following) * x_0 + np.sqrt(1 - following) * noise
    return np.where(known, image, x_t)


def _unpasted(x_t, image, known, alpha_bar, alpha, fraction):  # type: ignore[no-untyped-def]
    """Without the known pixels at the end: they are those of the network's last step."""
    everywhere = _tiramisu(x_t, image, known, alpha_bar, alpha, fraction)
    for i, a in enumerate(alpha_bar):
        x_t = _tiramisu_step(x_t, image, known, alpha_bar, i, alpha, fraction)
    return np.where(known, x_t, everywhere)


def _tiramisu_step(x_t, image, known, alpha_bar, i, alpha, fraction):  # type: ignore[no-untyped-def]
    a = alpha_bar[i]
    x_0, variance = network_of_line(x_t, a)
    noise = (x_t - np.sqrt(a) * x_0) / np.sqrt(1 - a)
    if i < fraction * len(alpha_bar):
        mean, other = circuit_of_line(x_t, a, image, known)
        ours, theirs = alpha / variance, (1 - alpha) / other
        x_0 = np.where(known, image, (ours * x_0 + theirs * mean) / (ours + theirs))
    following = alpha_bar[i + 1] if i + 1 < len(alpha_bar) else 1.0
    return np.sqrt(following) * x_0 + np.sqrt(1 - following) * noise


check_tiramisu = Answers(
    name="tiramisu",
    task="return the repaired line: network and circuit mixed in the first steps, DDIM's step, known pixels kept",
    solution=_tiramisu,
    cases={
        "one guided step of two": (_numbers(3), _numbers(3), _OUTER, np.array([0.1, 0.6]), 0.8, 0.5),
        "a fifth of six": (_numbers(4), _numbers(4), _HALF, np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9]), 0.8, 0.2),
        "every step": (_numbers(4), _numbers(4), _HALF, np.array([0.05, 0.3, 0.6, 0.9]), 0.5, 1.0),
        "no step": (_numbers(3), _numbers(3), _OUTER, np.array([0.05, 0.4, 0.8]), 0.8, 0.0),
    },
    mistakes={
        "guide the first steps, where noise is heavy; these are the last": partial(_tiramisu, late=True),
        "the published step keeps the network's own noise; yours is recomputed from the steered x_0": partial(
            _tiramisu, consistent=True
        ),
        "who is surer has more say: weigh means by α and 1 - α over the variances": partial(
            _tiramisu, mean_of="weights"
        ),
        "α is the network's weight, 1 - α the circuit's: they are swapped": (
            lambda x_t, image, known, alpha_bar, alpha, fraction: _tiramisu(
                x_t, image, known, alpha_bar, 1 - alpha, fraction
            )
        ),
        "the result has the known pixels exactly as given: paste them at the end": _unpasted,
    },
)
