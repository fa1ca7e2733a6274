"""Notebook 10: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..chance import distribution, normal, shaped, simplex
from . import Answers

Array = np.ndarray
Three = tuple[Array, Array, Array]


# 1: the gradients of a tokenizer's loss.


def _gradients(x: Array, E: Array, D: Array, e: Array, beta: float) -> Three:
    h = E @ x
    z = ((h - e) ** 2).sum(1).argmin()
    error = D @ e[z] - x
    of_h = 2 * D.T @ error + 2 * beta * (h - e[z])
    of_e = np.zeros_like(e)
    of_e[z] = 2 * (e[z] - h)
    return np.outer(of_h, x), np.outer(2 * error, e[z]), of_e


def _nearest(x: Array, E: Array, e: Array) -> tuple[Array, int]:
    h = E @ x
    return h, int(((h - e) ** 2).sum(1).argmin())


def _codes_hear_the_picture(x: Array, E: Array, D: Array, e: Array, beta: float) -> Three:
    of_E, of_D, of_e = _gradients(x, E, D, e, beta)
    _, z = _nearest(x, E, e)
    of_e[z] += 2 * D.T @ (D @ e[z] - x)
    return of_E, of_D, of_e


def _staircase(x: Array, E: Array, D: Array, e: Array, beta: float) -> Three:
    h, z = _nearest(x, E, e)
    return np.outer(2 * beta * (h - e[z]), x), *_gradients(x, E, D, e, beta)[1:]


def _unrounded(x: Array, E: Array, D: Array, e: Array, beta: float) -> Three:
    h, z = _nearest(x, E, e)
    error = D @ h - x
    of_h = 2 * D.T @ error + 2 * beta * (h - e[z])
    return np.outer(of_h, x), np.outer(2 * error, h), _gradients(x, E, D, e, beta)[2]


def _random_tokenizer(rng: np.random.Generator, size: int) -> tuple:
    X, K, C = size + 1, int(rng.integers(1, size + 2)), size + 1
    return normal(rng, X), normal(rng, K, X), normal(rng, X, K), normal(rng, C, K), float(rng.choice([0.25, 2.0]))


check_gradients = Answers(
    name="gradients",
    task="return the gradients of the loss by E, by D and by the codebook",
    solution=_gradients,
    cases={
        "two pixels, two codes": (
            np.array([1.0, -0.5]),
            np.array([[0.5, 0.2]]),
            np.array([[1.0], [0.3]]),
            np.array([[0.5], [-1.0]]),
            0.25,
        ),
        "far in one direction, or half as far in two": (
            np.array([0.0, 1.0]),
            np.array([[0.0, 0.1], [0.0, 0.2]]),
            np.array([[1.0, 0.5], [0.3, 0.2]]),
            np.array([[3.0, 3.0], [0.0, 4.0]]),
            0.25,
        ),
    },
    equivalent={"operands swapped: h - e": "a square does not mind"},
    random=_random_tokenizer,
    fair=lambda x, E, D, e, beta: (
        shaped("X KX XK CK", x, E, D, e)
        and beta > 0
        and bool((np.diff(np.sort(((E @ x - e) ** 2).sum(1))) > 0.01).all())
    ),
    traits={"features of more than one number": lambda x, E, *_: len(E) > 1},
    mistakes={
        "the codebook hears nothing of the reconstruction: sg stands around e_z - h": _codes_hear_the_picture,
        "the derivative of a square has a factor 2, in each of the three": lambda *case: tuple(
            part / 2 for part in _gradients(*case)
        ),
        "straight through: the encoder gets the gradient of the reconstruction as if h had not been rounded": (
            _staircase
        ),
        "the decoder is given e_z: the *value* of h + sg(e_z - h) is rounded": _unrounded,
        "β belongs to the part whose gradient reaches h; the codebook's part has no factor": (
            lambda x, E, D, e, beta: tuple(map(np.multiply, _gradients(x, E, D, e, 1.0), (1, 1, beta)))
        ),
    },
)


# 2: evidence on codes.


def _evidence(h: Array, e: Array, kappa: Array, tau: float, spread: float) -> Array:
    d = np.sqrt(((h[:, None] - e) ** 2).sum(-1) / h.shape[1]) / spread
    log_w = -d / (tau + kappa * (0.01 - tau))[:, None]
    log_w = log_w - log_w.max(1, keepdims=True)
    log_w = log_w - np.log(np.exp(log_w).sum(1, keepdims=True))
    return np.where(kappa[:, None] > 0, log_w, 0.0)


def _softmax(d: Array, kappa: Array, tau: Array | float) -> Array:
    """Evidence from distances and temperatures."""
    log_w = -d / np.asarray(tau + 0 * kappa)[:, None]
    log_w = log_w - log_w.max(1, keepdims=True)
    return np.where(kappa[:, None] > 0, log_w - np.log(np.exp(log_w).sum(1, keepdims=True)), 0.0)


def _lengths(h: Array, e: Array) -> Array:
    return np.sqrt(((h[:, None] - e) ** 2).mean(-1))


def _underflowing(h: Array, e: Array, kappa: Array, tau: float, spread: float) -> Array:
    with np.errstate(all="ignore"):
        w = np.exp(-_lengths(h, e) / spread / (tau + kappa * (0.01 - tau))[:, None])
        return np.where(kappa[:, None] > 0, np.log(w / w.sum(1, keepdims=True)), 0.0)


def _random_patches(rng: np.random.Generator, size: int) -> tuple:
    J, D, C = size + 1, size, size + 1
    kappa = rng.choice([0.0, 0.25, 0.5, 1.0], J)
    h, e = normal(rng, J, D), normal(rng, C, D)
    return h, e, kappa, float(rng.choice([0.5, 1.0, 2.0])), float(rng.choice([0.1, 1.0]))


check_evidence = Answers(
    name="code_evidence",
    task="return the logarithms of the weights of all codes for each patch",
    solution=_evidence,
    cases={
        "half known": (np.array([[1.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([0.5]), 1.0, 0.5),
        "known, and far from all codes": (np.array([[50.0]]), np.array([[0.0], [1.0]]), np.array([1.0]), 1.0, 0.5),
    },
    random=_random_patches,
    fair=lambda h, e, kappa, *scales: (
        shaped("JD CD J", h, e, kappa) and min(*kappa, 0) == 0 and max(*kappa, 1) == 1 and min(scales) > 0
    ),
    equivalent={"operands swapped: h[:, None] - e": "a square does not mind"},
    traits={
        "a patch of which nothing is known": lambda h, e, kappa, *_: (kappa == 0).any(),
        "features of more than one number": lambda h, *_: h.shape[1] > 1,
    },
    mistakes={
        "κ = 1 is wholly known, and gets 0.01: the two ends are swapped": lambda h, e, kappa, tau, spread: _softmax(
            _lengths(h, e) / spread, kappa, 0.01 + kappa * (tau - 0.01)
        ),
        "the known share κ decides the temperature: τ + κ (0.01 - τ), patch by patch": (
            lambda h, e, kappa, tau, spread: _softmax(_lengths(h, e) / spread, kappa, tau)
        ),
        "a distance is a length, not its square": lambda h, e, kappa, tau, spread: _softmax(
            (_lengths(h, e) / spread) ** 2, kappa, tau + kappa * (0.01 - tau)
        ),
        "each row is a distribution: subtract the logarithm of its sum": lambda h, e, kappa, tau, spread: np.where(
            kappa[:, None] > 0, -_lengths(h, e) / spread / (tau + kappa * (0.01 - tau))[:, None], 0.0
        ),
        "a length grows with the number D of features: divide by sqrt(D)": lambda h, e, kappa, tau, spread: _softmax(
            _lengths(h, e) * np.sqrt(h.shape[1]) / spread, kappa, tau + kappa * (0.01 - tau)
        ),
        "of a patch with κ = 0 nothing is known: its row is 0": lambda h, e, kappa, tau, spread: _softmax(
            _lengths(h, e) / spread, kappa + 1e-300, tau + kappa * (0.01 - tau)
        ),
        "exp(-5000) is 0 to a computer: stay with logarithms, and take the largest out": _underflowing,
    },
)


# 3: the temperature, chosen from data.


def _best_temperature(d: Array, codes: Array, prior: Array, taus: Sequence[float]) -> float:
    def bits(tau: float) -> float:
        p = prior * np.exp(-(d - d.min(-1, keepdims=True)) / tau)
        p = p / p.sum(-1, keepdims=True)
        own = np.take_along_axis(p, codes[..., None], -1)
        return -np.log2(np.maximum(own, 1e-12)).mean()

    return min(taus, key=bits)


def _own(d: Array, codes: Array, prior: Array, tau: float, divide: bool = True, shift: bool = True) -> Array:
    """The probability of each true code."""
    with np.errstate(all="ignore"):
        p = prior * np.exp(-(d - d.min(-1, keepdims=True) * shift) / tau)
        p = p / p.sum(-1, keepdims=True) if divide else p
    return np.maximum(np.take_along_axis(p, codes[..., None], -1), 1e-12)


def _chosen(d: Array, codes: Array, prior: Array, taus: Sequence[float], best: Callable = min, **how: bool) -> float:
    """By the bits, or by what is wrong in their place."""
    return best(taus, key=lambda tau: -np.log(_own(d, codes, prior, tau, **how)).mean())


def _most_often_right(d: Array, codes: Array, prior: Array, taus: Sequence[float]) -> float:
    return max(
        taus, key=lambda tau: ((prior * np.exp(-(d - d.min(-1, keepdims=True)) / tau)).argmax(-1) == codes).sum()
    )


def _random_validation(rng: np.random.Generator, size: int) -> tuple:
    """True codes drawn from the posterior at one of the temperatures."""
    N, J, C = [(12, 1, 3), (10, 1, 4), (6, 2, 3), (13, 1, 3)][size - 1]  # no more than a message shows
    d = (rng.gamma(2.0, size=(N, J, C)) + rng.choice([0, 0, 3000])).round(2)
    prior, taus = simplex(rng, C), [0.2, 0.5, 1.0, 2.0, 5.0]
    p = (prior + 0.01) * np.exp((d.min() - d) / rng.choice(taus))
    codes = (p.cumsum(-1) < rng.random((N, J, 1)) * p.sum(-1, keepdims=True)).sum(-1)
    return d, codes, prior, rng.permutation(taus).tolist()


def _is_decided(d: Array, codes: Array, prior: Array, taus: Sequence[float]) -> bool:
    """Whether the arguments fit, and no two temperatures cost nearly as much."""
    fits = shaped("NJC NJ C", d, codes, prior) and min(*taus, 1) > 0 and distribution(prior) and d.min() >= 0
    if not fits or codes.min() < 0 or codes.max() >= len(prior):
        return False
    return bool((np.diff(sorted(-np.log2(_own(d, codes, prior, tau)).mean() for tau in taus)) > 0.01).all())


check_temperature = Answers(
    name="best_temperature",
    task="return the temperature under whose posterior the true codes cost the fewest bits",
    solution=_best_temperature,
    cases={
        "one patch of two pictures": (
            np.array([[[0.0, 1.0]], [[0.0, 1.0]]]),
            np.array([[0], [1]]),
            np.array([0.6, 0.4]),
            [0.1, 1.0, 10.0],
        ),
        "distances in the thousands": (
            np.array([[[2000.0, 3000.0]], [[2000.0, 3000.0]], [[3000.0, 2000.0]]]),
            np.array([[0], [1], [1]]),
            np.array([0.6, 0.4]),
            [0.1, 1.0, 1000.0, 1e6],
        ),
    },
    equivalent={"sum for mean: np.log2(np.maximum(own, 1e-12)).mean()": "the same number of codes for each τ"},
    random=_random_validation,
    fair=_is_decided,
    traits={"a code that never occurs in the prior": lambda d, codes, prior, taus: (prior == 0).any()},
    mistakes={
        "how often the favourite is right says nothing of how sure to be: score the probability of the truth": (
            _most_often_right
        ),
        "the posterior has to add up to 1, or a hot one always looks better": partial(_chosen, divide=False),
        "return the τ itself, not its place in the list": lambda *case: case[3].index(_best_temperature(*case)),
        "the fewest bits are asked for; yours are the most": partial(_chosen, best=max),
        "exp(-20000) is 0 to a computer, and 0 / 0 no number: take each patch's least distance out first": partial(
            _chosen, shift=False
        ),
        "the posterior has the prior in it": lambda d, codes, prior, taus: _chosen(d, codes, prior * 0 + 1, taus),
        "bits are the mean of -log p, not the -log of a mean: one truth held impossible must count": (
            lambda d, codes, prior, taus: max(taus, key=lambda tau: _own(d, codes, prior, tau).mean())
        ),
    },
)


# 4: what independent draws make up.


def _made_up(joint: Array) -> float:
    apart = np.outer(joint.sum(1), joint.sum(0))
    return apart[joint == 0].sum()


check_made_up = Answers(
    name="made_up",
    task="return the probability, under independent draws, of all pairs that the joint table never makes",
    solution=_made_up,
    cases={"two codes, always equal": (np.array([[0.5, 0.0], [0.0, 0.5]]),)},
    random=lambda rng, size: (simplex(rng, (size + 1) * (size + 2)).reshape(size + 1, size + 2),),
    fair=lambda joint: shaped("AB", joint) and distribution(joint.ravel()),
    traits={"no pair that is excluded": lambda joint: (joint > 0).all()},
    mistakes={
        "cells are not equally likely: weigh each by the product of its two marginals": lambda joint: float(
            (joint == 0).mean()
        ),
        "only the pairs that the joint table never makes; yours is how far the two tables are apart": (
            lambda joint: np.abs(np.outer(joint.sum(1), joint.sum(0)) - joint).sum() / 2
        ),
        "this is how often independent draws make a pair that is possible; the rest is asked for": lambda joint: (
            1 - _made_up(joint)
        ),
        "the joint table never makes these pairs, that is the point: their weight comes from the marginals": (
            lambda joint: float(joint[joint == 0].sum())
        ),
    },
)
