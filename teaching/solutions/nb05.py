"""Notebook 5: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import Answers

# 1: expected counts.


def _shares(theta: ArrayLike, fw: ArrayLike) -> np.ndarray:
    """θ_c fw_c / Σ_c θ_c fw_c for each picture, (N, K)."""
    terms = np.asarray(theta) * np.asarray(fw)
    return terms / terms.sum(1, keepdims=True)


check_counts = Answers(
    name="expected_counts",
    task="return Σ over the pictures of θ_c fw_c / fw_n, one number per child",
    solution=lambda theta, fw: _shares(theta, fw).sum(0),
    cases={
        "two strips": (np.array([0.6, 0.4]), np.array([[0.504, 0.006], [0.006, 0.504]])),
        "three children": (np.array([0.2, 0.3, 0.5]), np.array([[0.1, 0.2, 0.1], [0.0, 0.5, 0.5], [0.4, 0.1, 0.0]])),
        "a picture seldom seen": (np.array([0.5, 0.5]), np.array([[0.9, 0.1], [1e-6, 3e-6]])),
    },
    mistakes={
        "every picture counts as one, also an improbable one: divide by its own fw_n before adding": lambda theta, fw: (
            (theta * fw).sum(0) / (theta * fw).sum() * len(fw)
        ),
        "a count is shared among the children, not given to the most probable one": lambda theta, fw: np.eye(
            len(theta)
        )[(theta * fw).argmax(1)].sum(0),
        "a child that is chosen more often explains more: θ_c is missing": lambda theta, fw: _shares(
            np.ones_like(theta), fw
        ).sum(0),
        "this is the mean over the pictures; a count is their sum": lambda theta, fw: _shares(theta, fw).mean(0),
    },
)


# 2: the M-step.

check_weights = Answers(
    name="new_weights",
    task="return (F_c + λ/K) / (Σ_c F_c + λ) in every row",
    solution=lambda F, lam: (F + lam / F.shape[1]) / (F.sum(1, keepdims=True) + lam),
    cases={
        "a sum, nothing added": (np.array([[30.0, 10.0]]), 0.0),
        "three nodes": (np.array([[3.0, 1.0, 0.0], [0.5, 0.5, 1.0], [7.0, 0.0, 0.0]]), 0.6),
        "more added than seen": (np.array([[2.0, 0.0]]), 8.0),
    },
    mistakes={
        "λ is missing: a value never seen gets probability 0, and pictures with it become impossible": lambda F, lam: (
            F / F.sum(1, keepdims=True)
        ),
        "λ is shared among the K children of a node: add λ/K to each": lambda F, lam: (
            (F + lam) / (F + lam).sum(1, keepdims=True)
        ),
        "the λ/K added to each child add up to λ: the denominator grows by it": lambda F, lam: (
            (F + lam / F.shape[1]) / F.sum(1, keepdims=True)
        ),
        "each node, each row, is a distribution of its own": lambda F, lam: (F + lam / F.shape[1]) / (F.sum() + lam),
    },
)


# 3: mutual information.


def _information(pair: np.ndarray) -> float:
    independent = np.outer(pair.sum(1), pair.sum(0))
    seen = pair > 0
    return float((pair[seen] * np.log(pair[seen] / independent[seen])).sum())


def _entropy(pair: np.ndarray) -> float:
    return float(-(pair[pair > 0] * np.log(pair[pair > 0])).sum())


def _without_care(pair: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((pair * np.log(pair / np.outer(pair.sum(1), pair.sum(0)))).sum())


check_information = Answers(
    name="information",
    task="return Σ p(u, v) log(p(u, v) / (p(u) p(v))) over the cells with p(u, v) > 0",
    solution=_information,
    cases={
        "two pixels that tend to agree": (np.array([[0.4, 0.1], [0.2, 0.3]]),),
        "independent": (np.outer([0.3, 0.7], [0.6, 0.4]),),
        "always equal": (np.diag([0.2, 0.3, 0.5]),),
    },
    mistakes={
        "0 · log 0 counts as 0, and NumPy makes it NaN: leave the empty cells out": _without_care,
        "this is the entropy of the pair: compare with p(u) p(v), what independence would give": _entropy,
        "every cell is weighted by how often it happens: p(u, v) in front of the logarithm": lambda pair: float(
            np.log(pair[pair > 0] / np.outer(pair.sum(1), pair.sum(0))[pair > 0]).sum()
        ),
        "the ratio is upside down: information is never negative": lambda pair: -_information(pair),
    },
)


# 4: a step of mini-batch EM.

check_step = Answers(
    name="step",
    task="return (1 - η) θ + η F / Σ F",
    solution=lambda theta, F, eta: (1 - eta) * theta + eta * F / F.sum(),
    cases={
        "a small step": (np.array([0.6, 0.4]), np.array([10.0, 30.0]), 0.1),
        "the whole step": (np.array([0.6, 0.4]), np.array([10.0, 30.0]), 1.0),
        "a value that this batch lacks": (np.array([0.2, 0.3, 0.5]), np.array([6.0, 0.0, 2.0]), 0.3),
    },
    mistakes={
        "η belongs to the new batch: at η = 0 nothing may change": lambda theta, F, eta: (
            eta * theta + (1 - eta) * F / F.sum()
        ),
        "F holds counts: divide by their sum first, or a larger batch takes a larger step": lambda theta, F, eta: (
            (1 - eta) * theta + eta * F
        ),
        "this is full-batch EM, which forgets all earlier batches": lambda theta, F, eta: F / F.sum(),
        "θ has to shrink by 1 - η before something is added": lambda theta, F, eta: theta + eta * F / F.sum(),
    },
)
