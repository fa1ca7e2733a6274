"""Notebook 12: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import numpy as np

from ..chance import distribution, shaped, simplex, simplices
from . import Answers

Array = np.ndarray


# 1: evidence of several references.


def _fused(q: Array, kappa: Array) -> Array:
    w = 1 - kappa[..., None] + kappa[..., None] * q.shape[-1] * q
    with np.errstate(divide="ignore"):
        return np.log(w).sum(0)


def _logged(w: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(w)


def _random_beliefs(rng: np.random.Generator, size: int) -> tuple:
    R, J, V = size, size + 1, size + 1
    return np.array([simplices(rng, J, V) for _ in range(R)]), rng.choice([0.0, 0.25, 0.5, 1.0], (R, J))


check_fused = Answers(
    name="fused_evidence",
    task="return the logarithms of the joint weights of all references",
    solution=_fused,
    cases={"one reference, half a patch": (np.array([[[0.75, 0.25]]]), np.array([[0.5]]))},
    random=_random_beliefs,
    fair=lambda q, kappa: shaped("RJV RJ", q, kappa) and distribution(q) and kappa.min() >= 0 and kappa.max() <= 1,
    equivalent={"option left out: np.errstate(divide='ignore')": "a warning more, the same numbers"},
    traits={
        "several references": lambda q, kappa: len(q) > 1,
        "a patch ruled in part": lambda q, kappa: ((kappa > 0) & (kappa < 1)).any(),
    },
    mistakes={
        "the part that is not ruled asks nothing: with κ = 0 every weight is 1": lambda q, kappa: _logged(
            kappa[..., None] * q.shape[-1] * q
        ).sum(0),
        "an even belief asks nothing either: V q is 1 then, q is 1 / V": lambda q, kappa: _logged(
            1 - kappa[..., None] + kappa[..., None] * q
        ).sum(0),
        "a share is a mean of weights, not a power: 1 - κ + κ V q": lambda q, kappa: _logged(
            (q.shape[-1] * q) ** kappa[..., None]
        ).sum(0),
        "each reference has its own weights, 1 - κ + κ V q, and they multiply; yours share the patch out": (
            lambda q, kappa: _logged(np.maximum(0, 1 + (kappa[..., None] * (q.shape[-1] * q - 1)).sum(0)))
        ),
        "weights need not add up to 1: where nothing is asked each of them is 1": lambda q, kappa: (
            _fused(q, kappa) - np.log(np.exp(_fused(q, kappa)).sum(1, keepdims=True))
        ),
        "demands at once multiply: add their logarithms, not their weights": lambda q, kappa: _logged(
            (1 - kappa[..., None] + kappa[..., None] * q.shape[-1] * q).mean(0)
        ),
    },
)


# 2: how far two demands contradict each other.


def _contradiction(p: Array, a: Array, b: Array) -> float:
    return np.log(p @ a) + np.log(p @ b) - np.log(p @ (a * b))


def _random_demands(rng: np.random.Generator, size: int) -> tuple:
    N = size + 1
    return simplex(rng, N, zeros=False), *((rng.random((2, N)) + 0.1).round(2))


check_contradiction = Answers(
    name="contradiction",
    task="return the contradiction of the two demands in nats",
    solution=_contradiction,
    cases={
        "rarely together": (np.array([0.45, 0.45, 0.1]), np.array([2.0, 0.0, 1.0]), np.array([0.0, 2.0, 1.0])),
        "one asks nothing": (np.array([0.2, 0.8]), np.array([1.9, 0.1]), np.array([1.0, 1.0])),
    },
    random=_random_demands,
    fair=lambda p, a, b: (
        shaped("N N N", p, a, b) and distribution(p) and min(a.min(), b.min()) >= 0 and p @ (a * b) > 0
    ),
    equivalent={f"operands swapped: p @ {w}": "a product of two vectors does not mind" for w in ("a", "b", "(a * b)")},
    mistakes={
        "the sign is turned: demands that rarely go together have a small Z, and their contradiction is above 0": (
            lambda p, a, b: -_contradiction(p, a, b)
        ),
        "the contradiction is counted in nats: take the logarithm of this quotient": lambda p, a, b: (
            (p @ a) * (p @ b) / (p @ (a * b))
        ),
        "Z is an average under the circuit: weigh each picture by p(x), not evenly": lambda p, a, b: _contradiction(
            np.full(len(p), 1 / len(p)), a, b
        ),
        "both demands together are a product of weights, not a sum": lambda p, a, b: (
            np.log(p @ a) + np.log(p @ b) - np.log(p @ (a + b))
        ),
    },
)


# 3: the power that leaves a stated freedom.


def _power(q: Array, coherence: float) -> float:
    def entropy(power: float) -> float:
        log_p = power * np.log(q)
        log_p = log_p - log_p.max(1, keepdims=True)
        p = np.exp(log_p) / np.exp(log_p).sum(1, keepdims=True)
        return -(p * np.log(np.maximum(p, 1e-300))).sum(1).mean()

    low, high = 1e-6, 1e4
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if entropy(middle) > (1 - coherence**2) * np.log(q.shape[1]) else (low, middle)
    return middle


def _random_rows(rng: np.random.Generator, size: int) -> tuple:
    """Beliefs without ties, now and then of very different sharpness."""
    J, V = size, size + 1
    q = np.exp(np.array([rng.permutation(V) for _ in range(J)]) * rng.choice([0.2, 1.0, 4.0], (J, 1)))
    return (q / q.sum(1, keepdims=True)).round(6) + 1e-6, float(rng.choice([0.2, 0.5, 0.8, 0.95]))


check_power = Answers(
    name="power_for",
    task="return the power that leaves the stated mean entropy",
    solution=_power,
    cases={
        "one patch": (np.array([[0.6, 0.4]]), 0.5),
        "a sure patch beside an unsure one": (np.array([[0.999999, 0.000001], [0.505, 0.495]]), 0.9),
    },
    random=_random_rows,
    fair=lambda q, coherence: (
        shaped("JV", q)
        and len(q[0]) > 1
        and bool((np.diff(np.sort(q)) > 0.001).all())
        and bool((abs(q.sum(1) - 1) < 1e-4).all())
        and 0.1 < coherence < 0.96
    ),
    traits={"several patches": lambda q, coherence: len(q) > 1},
    tolerance=1e-3,
    mistakes={
        "one power for all patches: the *mean* entropy is stated, not that of the first": lambda q, coherence: _power(
            q[:1], coherence
        ),
        "the paper's temperature is 1 / power; the power is asked for": lambda q, coherence: 1 / _power(q, coherence),
        "the share of freedom that is taken is c squared": lambda q, coherence: _power(q, np.sqrt(coherence)),
        "entropy and log V in the same units, nats": lambda q, coherence: _power(
            q, np.sqrt(max(0.0, 1 - (1 - coherence**2) / np.log(2)))
        ),
        "coherence is what is taken, 1 - c² is what is left": lambda q, coherence: _power(q, np.sqrt(1 - coherence**2)),
    },
    equivalent={
        "at the limit: entropy(middle) > (1 - coherence ** 2) * np.log(q.shape[1])": "no entropy is just that",
        "number off by one: 60": "sixty halvings or sixty-one",
        "number off by one: 10000.0": "the interval only has to hold the power",
        "another operator: log_p - log_p.max(1, keepdims=True)": "what is added in a row is divided out",
        "right operand dropped: log_p - log_p.max(1, keepdims=True)": "powers here are too small to underflow",
    },
)


# 4: what cannot be.

Quadruples = list[tuple[int, ...]]


def _impossible(pictures: Array, p: Array) -> Quadruples:
    able = [tuple(map(int, x)) for x in pictures[p > 0]]
    single = {(i, v) for x in able for i, v in enumerate(x)}
    pairs = {(*a, *b) for x in able for a in enumerate(x) for b in enumerate(x)}
    return sorted((*a, *b) for a in single for b in single if a[0] < b[0] and (*a, *b) not in pairs)


def _of_values(pictures: Array, p: Array) -> Quadruples:
    """All pairs of values that do not occur together, possible alone or not."""
    able, V = pictures[p > 0], int(pictures.max()) + 1
    D = range(pictures.shape[1])
    return [
        (i, u, j, v)
        for i in D
        for u in range(V)
        for j in D
        if i < j
        for v in range(V)
        if not ((able[:, i] == u) & (able[:, j] == v)).any()
    ]


def _random_pictures(rng: np.random.Generator, size: int) -> tuple:
    pictures = rng.integers(3, size=(size + 2, size + 1))
    return pictures, simplex(rng, size + 2)


check_impossible = Answers(
    name="impossible",
    task="return all pairs of demands that are possible one by one and impossible together",
    solution=_impossible,
    cases={"two pictures": (np.array([[0, 0], [1, 1]]), np.array([0.5, 0.5]))},
    random=_random_pictures,
    fair=lambda pictures, p: shaped("ND N", pictures, p) and distribution(p) and pictures.min() >= 0,
    traits={"a picture of probability 0": lambda pictures, p: (p == 0).any()},
    mistakes={
        "a picture of probability 0 makes nothing possible: leave it out": lambda pictures, p: _impossible(
            pictures, p + 1
        ),
        "each demand must be possible alone: values that never occur are no contradiction": _of_values,
        "each pair once, with i < j": lambda pictures, p: sorted(
            quadruple for i, u, j, v in _impossible(pictures, p) for quadruple in ((i, u, j, v), (j, v, i, u))
        ),
    },
)
