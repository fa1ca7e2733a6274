"""Loops that learn: exercises 3 and 6 of notebook 5, a mixture and its batches, and exercise 4 of notebook 7."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..chance import distribution, normal, simplex
from . import Answers

# Notebook 5, 3: a planted bug.


def _mixture_step(theta, f, rows):
    joint = theta * np.prod(np.where(rows[:, None, :] == 1, f, 1 - f), axis=2)
    r = joint / joint.sum(axis=1, keepdims=True)
    return r.mean(axis=0), r.T @ rows / r.sum(axis=0)[:, None]


def _planted(theta, f, rows):
    joint = theta * np.prod(np.where(rows[:, None, :] == 1, f, 1 - f), axis=2)
    r = joint / joint.sum(axis=0, keepdims=True)
    theta = r.sum(axis=0) / r.sum()
    return theta, r.T @ rows / r.sum(axis=0)[:, None]


def _hard(theta, f, rows):
    joint = theta * np.prod(np.where(rows[:, None, :] == 1, f, 1 - f), axis=2)
    r = np.eye(len(theta))[joint.argmax(1)]
    return r.mean(axis=0), r.T @ rows / np.maximum(r.sum(axis=0), 1e-9)[:, None]


def _whole(theta, f, rows):
    joint = theta * np.prod(np.where(rows[:, None, :] == 1, f, 1 - f), axis=2)
    r = joint / joint.sum(axis=1, keepdims=True)
    return r.mean(axis=0), r.T @ rows / len(rows)


def _mixture(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    K, D = int(rng.integers(2, 2 + size)), size + 1
    f = (0.1 + 0.8 * rng.random((K, D))).round(2)
    return simplex(rng, K, zeros=False), f, rng.integers(2, size=(3 + size, D))


_TWO_CLASSES = (np.array([0.6, 0.4]), np.array([[0.9, 0.8], [0.2, 0.1]]), np.array([[1, 1], [0, 0], [1, 0]]))


def _is_mixture(theta: np.ndarray, f: np.ndarray, rows: np.ndarray) -> bool:
    fits = f.ndim == rows.ndim == 2 and f.shape == (len(theta), rows.shape[1]) and rows.size > 0
    return fits and distribution(theta, zeros=False) and bool(((f > 0) & (f < 1)).all() and np.isin(rows, (0, 1)).all())


_SIGNS = {"operands swapped: 1 - f": "every class gets the same sign for a photograph, and it cancels in the quotient"}

check_bug = Answers(
    name="mixture_step",
    task="return the new weights and the new table of p(bright), after one step of EM",
    solution=_mixture_step,
    cases={"two classes": _TWO_CLASSES},
    random=_mixture,
    fair=_is_mixture,
    mistakes={
        "this is the planted step: whose shares add up to one, those of a class or those of a photograph?": _planted,
        "this gives each photograph to one class; EM shares it out": _hard,
        "p(bright) of a class is a share among its own photographs: divide by their expected number": _whole,
    },
    equivalent=_SIGNS,
)


# Notebook 5, 6: small batches.


def _in_batches(theta, f, rows, size, etas):
    batches = [rows[k : k + size] for k in range(0, len(rows), size)]
    for k, eta in enumerate(etas):
        batch = batches[k % len(batches)]
        joint = theta * np.prod(np.where(batch[:, None, :] == 1, f, 1 - f), axis=2)
        r = joint / joint.sum(axis=1, keepdims=True)
        F = r.sum(axis=0)
        theta, f = (1 - eta) * theta + eta * F / F.sum(), (1 - eta) * f + eta * (r.T @ batch) / F[:, None]
    return theta, f


def _batches_with(
    theta: np.ndarray, f: np.ndarray, rows: np.ndarray, size: int, etas: np.ndarray, fault: str
) -> tuple[np.ndarray, np.ndarray]:
    """The loop with one fault that a student can make."""
    batches = [rows[k : k + size] for k in range(0, len(rows), size)]
    if fault == "whole":
        batches = [rows]
    if fault == "dropped":
        batches = [batch for batch in batches if len(batch) == size] or batches
    for k, eta in enumerate(etas[: len(batches)] if fault == "once" else etas):
        with np.errstate(all="ignore"):  # a full step on few rows makes some of them impossible
            new = _mixture_step(theta, f, batches[0 if fault == "first" else k % len(batches)])
        share = {"full": 1.0, "old": 1 - eta}.get(fault, eta)
        theta, f = (1 - share) * theta + share * new[0], (1 - share) * f + share * new[1]
    return theta, f


def _stream(rng: np.random.Generator, size: int) -> tuple:
    theta, f, rows = _mixture(rng, size)
    batch = int(rng.integers(1, len(rows) + 1))
    return theta, f, rows, batch, rng.choice([0.5, 0.25, 0.1], int(rng.integers(1, 3 + 2 * size)))


check_batches = Answers(
    name="in_batches",
    task="return the weights and the table of p(bright) after the last batch",
    solution=_in_batches,
    cases={
        "one batch of all": (*_TWO_CLASSES, 3, np.array([1.0])),
        "two batches, two passes": (*_TWO_CLASSES, 2, np.array([0.5, 0.5, 0.25, 0.25])),
    },
    random=_stream,
    traits={
        "several batches": lambda theta, f, rows, size, etas: size < len(rows),
        "more than one pass": lambda theta, f, rows, size, etas: len(etas) * size > len(rows),
    },
    fair=lambda theta, f, rows, size, etas: (
        _is_mixture(theta, f, rows)
        and 1 <= size <= len(rows)
        and len(etas) > 0
        and bool(((etas > 0) & (etas <= (0.9 if len(etas) > 1 else 1))).all())
    ),
    mistakes={
        "every step sees one batch, not all rows": partial(_batches_with, fault="whole"),
        "the batches follow each other, and after the last comes the first again": partial(
            _batches_with, fault="first"
        ),
        "the last batch of a pass may be smaller; it counts as well": partial(_batches_with, fault="dropped"),
        "one step for each η, over as many passes as there are": partial(_batches_with, fault="once"),
        "go the part η of the way, not all of it": partial(_batches_with, fault="full"),
        "η is the part of the new parameters, 1 − η that of the old ones": partial(_batches_with, fault="old"),
    },
    equivalent=_SIGNS,
)


# Notebook 7, 4: a training loop.


def _train(W, x_0, t, epsilon, alpha_bar, rate):
    losses = []
    for x, times, noise in zip(x_0, t, epsilon):
        signal, spread = np.sqrt(alpha_bar[times])[:, None], np.sqrt(1 - alpha_bar[times])[:, None]
        x_t = signal * x + spread * noise
        v = signal * noise - spread * x
        error = x_t @ W.T - v
        losses.append((error**2).mean())
        W = W - rate * 2 * error.T @ x_t / error.size
    return W, losses


def _train_with(
    W: np.ndarray, x_0: np.ndarray, t: np.ndarray, epsilon: np.ndarray, alpha_bar: np.ndarray, rate: float, fault: str
) -> tuple[np.ndarray, list[float]]:
    """The loop with one fault that a student can make."""
    losses = []
    first = W
    for x, times, noise in zip(x_0, t, epsilon):
        a = alpha_bar[times][:, None]
        x_t = np.sqrt(a) * x + np.sqrt(1 - a) * noise
        v = {"picture": x, "noise": noise}.get(fault, np.sqrt(a) * noise - np.sqrt(1 - a) * x)
        seen = x if fault == "clean" else x_t
        error = seen @ (first if fault == "still" else W).T - v
        slope = (2 if fault != "half" else 1) * error.T @ seen / (len(x) if fault == "pixels" else error.size)
        new = W + rate * slope if fault == "uphill" else W - rate * slope
        losses.append(float(((seen @ new.T - v if fault == "after" else error) ** 2).mean()))
        W = new
    return W, losses


def _lessons(rng: np.random.Generator, size: int) -> tuple:
    steps, shape = size, (size, size + 1, size)
    alpha_bar = np.sort(rng.uniform(0.05, 0.95, size + 2)).round(2)[::-1].copy()
    t = rng.integers(size + 2, size=(steps, size + 1))
    return normal(rng, size, size), normal(rng, *shape), t, normal(rng, *shape), alpha_bar, [0.1, 0.5][size % 2]


def _are_lessons(
    W: np.ndarray, x_0: np.ndarray, t: np.ndarray, epsilon: np.ndarray, alpha_bar: np.ndarray, rate: float
) -> bool:
    fits = x_0.ndim == 3 and x_0.shape == epsilon.shape == (*t.shape, len(W)) and W.shape == (len(W), len(W))
    levels = bool(((alpha_bar > 0) & (alpha_bar < 1)).all() and (np.diff(alpha_bar) < 0).all())
    return fits and x_0.size > 0 and levels and t.min() >= 0 and t.max() < len(alpha_bar) and 0 < rate <= 1


check_training = Answers(
    name="train",
    task="return W after the last step, and the loss before each step",
    solution=_train,
    cases={
        "one step": (
            np.array([[0.5]]),
            np.array([[[1.0], [-1.0]]]),
            np.array([[0, 1]]),
            np.array([[[0.5], [0.0]]]),
            np.array([0.8, 0.2]),
            0.5,
        ),
    },
    random=_lessons,
    traits={
        "more than one step": lambda W, x_0, *rest: len(x_0) > 1,
        "more than one pixel": lambda W, *rest: len(W) > 1,
    },
    fair=_are_lessons,
    mistakes={
        "the network predicts v, a mixture of noise and picture, not the picture": partial(
            _train_with, fault="picture"
        ),
        "the network predicts v, a mixture of noise and picture, not the noise": partial(_train_with, fault="noise"),
        "the network sees x_t: jump into the noise before you ask it": partial(_train_with, fault="clean"),
        "each step begins with the W that the last one left": partial(_train_with, fault="still"),
        "downhill: the slope is subtracted": partial(_train_with, fault="uphill"),
        "the slope of a square has a factor 2": partial(_train_with, fault="half"),
        "the loss is a mean over pictures and pixels, and so is its slope": partial(_train_with, fault="pixels"),
        "these are the losses after each step; record them before": partial(_train_with, fault="after"),
    },
)
