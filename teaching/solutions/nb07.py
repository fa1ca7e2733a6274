"""Notebook 7: solutions, and wrong answers seen in class, each under the sentence that would help.

Exercise 4, a training loop, is in `loops`.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from ..chance import distribution, normal, simplex
from . import Answers
from .loops import check_training as check_training

# 1: a schedule.


def _schedule(T, high, low):
    log_snr = np.linspace(high, low, T)
    alpha_bar = 1 / (1 + np.exp(-log_snr))
    before = np.concatenate([np.ones(1), alpha_bar[:-1]])
    return alpha_bar, 1 - alpha_bar / before


def _schedule_with(T: int, high: float, low: float, fault: str) -> tuple[np.ndarray, np.ndarray]:
    log_snr = np.linspace(low, high, T) if fault == "order" else np.linspace(high, low, T)
    if fault == "short":
        log_snr = high + (low - high) * np.arange(T) / T
    a = np.exp(log_snr) if fault == "ratio" else 1 / (1 + (10 if fault == "ten" else np.e) ** -log_snr)
    if fault == "signal":
        a = a**2
    before = np.concatenate([[1.0], a[:-1]])
    return a, {"gap": before - a, "kept": a / before}.get(fault, 1 - a / before)


check_schedule = Answers(
    name="schedule",
    task="return the arrays of ᾱ_t and of β_t",
    solution=_schedule,
    cases={"one step": (1, 2.0, -2.0), "three steps": (3, 4.0, -4.0), "equal ratio": (2, 0.0, 0.0)},
    random=lambda rng, size: (int(size + 2), round(float(rng.uniform(1, 6)), 2), round(float(rng.uniform(-6, 0)), 2)),
    fair=lambda T, high, low: T > 0 and high > low,
    mistakes={
        "the steps go from little noise to much: the ratio falls": partial(_schedule_with, fault="order"),
        "this is the ratio itself; solve ᾱ / (1 − ᾱ) = ratio for ᾱ": partial(_schedule_with, fault="ratio"),
        "the factors 1 − β_t multiply to ᾱ_t: β_t comes from a quotient, not from a difference": partial(
            _schedule_with, fault="gap"
        ),
        "the logarithm is the natural one: its inverse is exp": partial(_schedule_with, fault="ten"),
        "the last level has the ratio `low` itself: between T levels there are T − 1 steps": partial(
            _schedule_with, fault="short"
        ),
        "the quotient of neighbouring ᾱ is 1 − β_t, not β_t": partial(_schedule_with, fault="kept"),
        "ᾱ is a share of the variance: it is not squared": partial(_schedule_with, fault="signal"),
    },
)


# 2: the training loss.


def _loss(W, beta, x_0, t, epsilon):
    alpha_bar = np.cumprod(1 - beta)
    now, before = alpha_bar[t], alpha_bar[t - 1]
    weight = (before / (1 - before) - now / (1 - now)) / 2
    x_t = np.sqrt(now)[:, None] * x_0 + np.sqrt(1 - now)[:, None] * epsilon
    return (weight * ((x_0 - x_t @ W.T) ** 2).sum(axis=1)).mean()


def _loss_with(
    W: np.ndarray, beta: np.ndarray, x_0: np.ndarray, t: np.ndarray, epsilon: np.ndarray, fault: str
) -> float:
    alpha_bar = np.cumprod(1 - beta)
    now, before = alpha_bar[t], alpha_bar[t - 1]
    variance = beta[t] * (1 - before) / (1 - now)
    factor = np.sqrt(before) * beta[t] / (1 - now)
    weight = np.ones(len(t)) if fault == "simple" else factor**2 / (2 * variance)
    if fault == "root":
        weight = factor / (2 * variance)
    if fault == "beta":
        weight = factor**2 / (2 * beta[t])
    x_t = np.sqrt(now)[:, None] * x_0 + np.sqrt(1 - now)[:, None] * epsilon
    error = ((epsilon if fault == "noise" else x_0) - (x_0 if fault == "clean" else x_t) @ W.T) ** 2
    return float((weight * (error.mean(1) if fault == "pixels" else error.sum(1))).mean())


def _batch(rng: np.random.Generator, size: int) -> tuple:
    beta = rng.uniform(0.05, 0.5, size + 2).round(2)
    t = rng.integers(1, size + 2, size=size + 1)
    return normal(rng, size, size), beta, normal(rng, size + 1, size), t, normal(rng, size + 1, size)


def _is_batch(W: np.ndarray, beta: np.ndarray, x_0: np.ndarray, t: np.ndarray, epsilon: np.ndarray) -> bool:
    D, inside = len(W), bool(((beta > 0) & (beta < 1)).all())
    shapes = W.shape == (D, D) and x_0.shape == epsilon.shape == (len(t), D) and x_0.size > 0
    return shapes and inside and min(t) >= 1 and max(t) < len(beta)


check_loss = Answers(
    name="denoising_loss",
    task="return the loss, one number",
    solution=_loss,
    cases={
        "one pixel": (
            np.array([[0.5]]),
            np.array([0.2, 0.5]),
            np.array([[1.0]]),
            np.array([1]),
            np.array([[0.5]]),
        ),
        "two pictures": (
            np.array([[0.5, 0.1], [0.0, 0.8]]),
            np.array([0.1, 0.2, 0.4]),
            np.array([[1.0, -1.0], [-1.0, -1.0]]),
            np.array([2, 1]),
            np.array([[0.3, -0.5], [1.2, 0.1]]),
        ),
    },
    random=_batch,
    traits={"more than one pixel": lambda W, *rest: len(W) > 1},
    fair=_is_batch,
    mistakes={
        "this is the simple loss: the bound gives each step a weight of its own": partial(_loss_with, fault="simple"),
        "the distance of the means is squared, and so is its factor": partial(_loss_with, fault="root"),
        "the step back has the variance β̃_t, which is smaller than β_t": partial(_loss_with, fault="beta"),
        "the network here predicts the picture, not the noise": partial(_loss_with, fault="noise"),
        "the network sees x_t: jump into the noise before you ask it": partial(_loss_with, fault="clean"),
        "a squared distance is the sum over the pixels, not their mean": partial(_loss_with, fault="pixels"),
    },
    equivalent={"operands swapped: x_0 - x_t @ W.T": "the difference is squared"},
)


# 3: the clean picture from v.


def _clean(x_t, v, alpha_bar):
    return np.sqrt(alpha_bar) * x_t - np.sqrt(1 - alpha_bar) * v


_X, _E = np.array([-1.0, 0.5, 1.0]), np.array([0.3, -1.2, 0.8])
check_clean = Answers(
    name="clean",
    task="return the clean picture",
    solution=_clean,
    cases={"half signal": (_X, _E, 0.5), "mostly noise": (2 * _E, _X, 0.1), "mostly signal": (_X, _E, 0.84)},
    random=lambda rng, size: (normal(rng, size, 2), normal(rng, size, 2), round(float(rng.uniform(0.05, 0.95)), 2)),
    fair=lambda x_t, v, alpha_bar: len(x_t) == len(v) > 0 and 0 < alpha_bar < 1,
    mistakes={
        "this is ε, the other half of the answer: for x_0 the roots change places": lambda x_t, v, alpha_bar: (
            np.sqrt(1 - alpha_bar) * x_t + np.sqrt(alpha_bar) * v
        ),
        "v is subtracted: put v = sqrt(ᾱ) ε - sqrt(1 - ᾱ) x_0 in, and the ε cancel": lambda x_t, v, alpha_bar: (
            np.sqrt(alpha_bar) * x_t + np.sqrt(1 - alpha_bar) * v
        ),
        "x_t holds sqrt(ᾱ) x_0 and sqrt(1 − ᾱ) ε: the factors are roots": lambda x_t, v, alpha_bar: (
            alpha_bar * x_t - (1 - alpha_bar) * v
        ),
        "this would be right if the network predicted ε; it predicts v": lambda x_t, v, alpha_bar: (
            (x_t - np.sqrt(1 - alpha_bar) * v) / np.sqrt(alpha_bar)
        ),
    },
)


# 5: the best linear denoiser.


def _best_linear(covariance, alpha_bar):
    noisy_covariance = alpha_bar * covariance + (1 - alpha_bar) * np.eye(len(covariance))
    return np.sqrt(alpha_bar) * covariance @ np.linalg.inv(noisy_covariance)


def _spread(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    root = normal(rng, size, size)
    return (root @ root.T).round(4), round(float(rng.uniform(0.05, 0.95)), 2)


check_linear = Answers(
    name="best_linear",
    task="return the matrix of the best linear denoiser",
    solution=_best_linear,
    cases={
        "one pixel": (np.array([[2.0]]), 0.5),
        "two pixels that agree": (np.array([[1.0, 0.9], [0.9, 1.0]]), 0.3),
    },
    random=_spread,
    traits={"more than one pixel": lambda covariance, alpha_bar: len(covariance) > 1},
    fair=lambda covariance, alpha_bar: (
        0 < alpha_bar < 1
        and covariance.ndim == 2
        and np.allclose(covariance, covariance.T)
        and float(np.linalg.eigvalsh(covariance).min(initial=np.inf)) > -1e-9
        and len(covariance) > 0
    ),
    mistakes={
        "x_t holds sqrt(ᾱ) x_0: the covariance of x_0 and x_t has that factor, the inverse does not take it away": (
            lambda covariance, alpha_bar: _best_linear(covariance, alpha_bar) / np.sqrt(alpha_bar)
        ),
        "the noise is missing: this only undoes the factor": lambda covariance, alpha_bar: (
            np.eye(len(covariance)) / np.sqrt(alpha_bar)
        ),
        "pixels help each other: off the diagonal the covariance counts as well": lambda covariance, alpha_bar: (
            _best_linear(np.diag(np.diag(covariance)), alpha_bar)
        ),
        "noise of different pixels is independent: 1 − ᾱ stands on the diagonal only": lambda covariance, alpha_bar: (
            np.sqrt(alpha_bar) * covariance @ np.linalg.inv(alpha_bar * covariance + (1 - alpha_bar))
        ),
        "the noise of variance 1 − ᾱ stands beside ᾱ Σ, not beside Σ": lambda covariance, alpha_bar: (
            np.sqrt(alpha_bar) * covariance @ np.linalg.inv(covariance + (1 - alpha_bar) * np.eye(len(covariance)))
        ),
    },
    equivalent={
        "operands swapped: np.sqrt(alpha_bar) * covariance @ np.linalg.inv(noisy_covariance)": "they commute",
    },
)


# 6: a sampler.


def _sampler(x, levels, pictures, p):
    for now, after in pairwise(levels):
        distance = ((x - np.sqrt(now) * pictures) ** 2).sum(axis=1)
        w = p * np.exp(-(distance - distance.min()) / (2 * (1 - now)))
        x_0 = w @ pictures / w.sum()
        epsilon = (x - np.sqrt(now) * x_0) / np.sqrt(1 - now)
        x = np.sqrt(after) * x_0 + np.sqrt(1 - after) * epsilon
    return x


def _sampler_with(x: np.ndarray, levels: np.ndarray, pictures: np.ndarray, p: np.ndarray, fault: str) -> np.ndarray:
    for now, after in pairwise(levels):
        distance = ((x - (1 if fault == "clean" else np.sqrt(now)) * pictures) ** 2).sum(1)
        nearest = 0 if fault == "underflow" else distance.min()
        w = (1 if fault == "even" else p) * np.exp(-(distance - nearest) / ((1 if fault == "half" else 2) * (1 - now)))
        with np.errstate(invalid="ignore"):  # 0 / 0 where all weights underflow
            x_0 = w @ pictures / w.sum()
        if fault == "mode":
            x_0 = pictures[np.argmax(w)]
        left = x - np.sqrt(now) * x_0
        epsilon = left if fault == "undivided" else left / np.sqrt(1 - now)
        x = x_0 if fault == "jump" else np.sqrt(after) * x_0 + np.sqrt(1 - after) * epsilon
    return x


def _start(rng: np.random.Generator, size: int) -> tuple:
    pictures = 2.0 * np.unique(rng.integers(2, size=(2 * size + 1, size + 1)), axis=0) - 1
    levels = np.concatenate([np.sort(rng.uniform(0.02, 0.95, size + 1)).round(2), [1.0]])
    return normal(rng, size + 1), np.unique(levels), pictures, simplex(rng, len(pictures), zeros=False)


_PICTURES = np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
check_sampler = Answers(
    name="sampler",
    task="return the picture at the end of the walk",
    solution=_sampler,
    cases={
        "one step": (np.array([0.4, 0.1]), np.array([0.1, 1.0]), _PICTURES, np.array([0.5, 0.3, 0.2])),
        "two steps": (np.array([0.4, 0.1]), np.array([0.1, 0.6, 1.0]), _PICTURES, np.array([0.5, 0.3, 0.2])),
        "far from every picture": (np.array([19.0, 4.0]), np.array([0.96, 1.0]), _PICTURES, np.array([0.5, 0.3, 0.2])),
    },
    random=_start,
    traits={"more than one step": lambda x, levels, pictures, p: len(levels) > 2},
    fair=lambda x, levels, pictures, p: (
        len(levels) > 1
        and bool((np.diff(levels) > 0).all())
        and levels[0] > 0
        and levels[-1] == 1
        and pictures.shape == (len(p), len(x))
        and len(np.unique(pictures, axis=0)) == len(p)
        and bool((abs(pictures) == 1).all())
        and distribution(p, zeros=False)
    ),
    mistakes={
        "this jumps to the prediction at every step; only the last step does": partial(_sampler_with, fault="jump"),
        "what is left of x_t is sqrt(1 - ᾱ_t) ε: divide to get ε": partial(_sampler_with, fault="undivided"),
        "common pictures count more than rare ones: p is missing": partial(_sampler_with, fault="even"),
        "the exponent of a bell curve is the squared distance over twice the variance": partial(
            _sampler_with, fault="half"
        ),
        "x_t is a noisy copy of sqrt(ᾱ) x, not of x: shrink the pictures first": partial(_sampler_with, fault="clean"),
        "far from every picture all weights are 0 to a computer: take the smallest distance out first": partial(
            _sampler_with, fault="underflow"
        ),
        "the prediction is the mean of the pictures, not the most probable one": partial(_sampler_with, fault="mode"),
    },
    equivalent={
        "operands swapped: x - np.sqrt(now) * pictures": "the difference is squared",
        "another operator: np.sqrt(now) * pictures": "the pixels of the pictures are −1 and 1: dividing is multiplying",
    },
)
