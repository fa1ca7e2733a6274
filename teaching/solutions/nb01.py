"""Notebook 1: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from tiramisu_edu.course import skyline

from . import Answers

# 1: what a repair is.


def _wrongly(
    pictures: np.ndarray, p: np.ndarray, picture: np.ndarray, known: np.ndarray, fault: str = ""
) -> np.ndarray:
    """The repair with one fault that a student can make."""
    agrees = (pictures == picture)[:, known if fault != "hidden" else slice(None)].all(1)
    if fault == "others":
        agrees = ~agrees | ~known.any()
    q = np.where(agrees, 1.0 if fault == "even" else p, 0.0)
    return q if fault == "sum" else q / q.sum()


_STRIPS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
_P = np.array([0.4, 0.1, 0.2, 0.3])

check_condition = Answers(
    name="condition",
    task="return p(x | known) for every row of pictures",
    solution=skyline.conditional,
    cases={
        "the left pixel is seen": (_STRIPS, _P, np.array([1, 0]), np.array([True, False])),
        "both pixels are seen": (_STRIPS, _P, np.array([0, 1]), np.array([True, True])),
        "nothing is seen": (_STRIPS, _P, np.array([0, 0]), np.array([False, False])),
    },
    mistakes={
        "what is left of p no longer adds up to one: divide by its sum": partial(_wrongly, fault="sum"),
        "the pictures that agree are not equally probable: keep their p": partial(_wrongly, fault="even"),
        "hidden pixels may take any value: compare the known ones only": partial(_wrongly, fault="hidden"),
        "this keeps the pictures that disagree": partial(_wrongly, fault="others"),
    },
)


# 2: how much is open.


def _entropy(q: np.ndarray) -> float:
    q = q[q > 0]
    return float(-(q * np.log2(q)).sum())


def _with_nan(q: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(-(q * np.log2(q)).sum())


check_entropy = Answers(
    name="entropy",
    task="return -Σ q log2 q, in bits",
    solution=_entropy,
    cases={
        "a fair coin": (np.array([0.5, 0.5]),),
        "unequal odds": (np.array([0.7, 0.2, 0.1]),),
        "two of four are possible": (np.array([0.0, 0.25, 0.75, 0.0]),),
        "nothing is open": (np.array([0.0, 1.0]),),
    },
    mistakes={
        "0 log 0 counts as 0, but Python gives nan: drop what is impossible first": _with_nan,
        "these are nats; for bits take the logarithm to base 2": lambda q: _entropy(q) * math.log(2),
        "log q is negative: the sum needs a minus sign in front": lambda q: -_entropy(q),
        "this counts what is possible, as if all were equally probable": lambda q: math.log2((q > 0).sum()),
    },
)


# 3: the denoiser.


def _weights(x_t: np.ndarray, alpha_bar: float, pictures: np.ndarray) -> np.ndarray:
    distance = x_t - math.sqrt(alpha_bar) * pictures
    return np.exp(-(distance**2).sum(1) / (2 * (1 - alpha_bar)))


def _mean(w: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    return w @ pictures / w.sum()


check_predict = Answers(
    name="predict",
    task="return E[x_0 | x_t], the mean of the pictures weighted by p(x) w(x)",
    solution=lambda x_t, alpha_bar, pictures, p: _mean(p * _weights(x_t, alpha_bar, pictures), pictures),
    cases={
        "half signal": (np.array([0.4, -0.3]), 0.5, 2.0 * _STRIPS - 1, _P),
        "mostly noise": (np.array([1.5, 0.7]), 0.05, 2.0 * _STRIPS - 1, _P),
        "mostly signal": (np.array([0.1, -0.9]), 0.9, 2.0 * _STRIPS - 1, _P),
    },
    mistakes={
        "x_t is a noisy copy of sqrt(ᾱ) x, not of x: shrink the pictures first": lambda x_t, alpha_bar, pictures, p: (
            _mean(p * np.exp(-((x_t - pictures) ** 2).sum(1) / (2 * (1 - alpha_bar))), pictures)
        ),
        "common pictures count more than rare ones: p(x) is missing": lambda x_t, alpha_bar, pictures, p: _mean(
            _weights(x_t, alpha_bar, pictures), pictures
        ),
        "a weighted mean divides by the sum of its weights": lambda x_t, alpha_bar, pictures, p: (
            (p * _weights(x_t, alpha_bar, pictures)) @ pictures
        ),
        "this is the most probable picture; a prediction is the mean of all": lambda x_t, alpha_bar, pictures, p: (
            pictures[np.argmax(p * _weights(x_t, alpha_bar, pictures))]
        ),
    },
)


# 4: pasting.

_DRAWN, _SEEN = np.array([0.3, -0.8, 0.6, -0.1]), np.array([1.0, -1.0, -1.0, 1.0])

check_paste = Answers(
    name="paste",
    task="return the known pixels of the picture and the drawn pixels elsewhere",
    solution=lambda drawn, picture, known: np.where(known, picture, drawn),
    cases={
        "the left half is known": (_DRAWN, _SEEN, np.array([True, True, False, False])),
        "nothing is known": (_DRAWN, _SEEN, np.zeros(4, dtype=bool)),
        "everything is known": (_DRAWN, _SEEN, np.ones(4, dtype=bool)),
    },
    mistakes={
        "the other way round: what is known comes from the picture": lambda drawn, picture, known: np.where(
            known, drawn, picture
        ),
        "a known pixel is exact: replace it, do not blend it": lambda drawn, picture, known: np.where(
            known, (picture + drawn) / 2, drawn
        ),
        "the drawn pixels of the hole are missing: they are 0 here": lambda drawn, picture, known: np.where(
            known, picture, 0.0
        ),
    },
)


# 5: how far off.

check_gap = Answers(
    name="total_variation",
    task="return half the sum of |a - b|",
    solution=lambda a, b: np.abs(a - b).sum() / 2,
    cases={
        "the same": (np.array([0.25, 0.75]), np.array([0.25, 0.75])),
        "a little apart": (np.array([0.5, 0.3, 0.1, 0.1]), np.array([0.3, 0.1, 0.3, 0.3])),
        "nothing in common": (np.array([0.4, 0.6, 0.0]), np.array([0.0, 0.0, 1.0])),
    },
    mistakes={
        "every excess is somewhere else a lack: halve the sum, so that it ends at 1": lambda a, b: np.abs(a - b).sum(),
        "without absolute values the gaps cancel": lambda a, b: (a - b).sum() / 2,
        "this is the largest gap; all gaps count": lambda a, b: np.abs(a - b).max(),
        "these are squared gaps; take absolute ones": lambda a, b: ((a - b) ** 2).sum() / 2,
    },
)
