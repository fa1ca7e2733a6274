"""Notebook 5: solutions, and wrong answers seen in class, each under the sentence that would help.

Exercises 3 and 6, on a mixture of classes, are in `loops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tiramisu_edu.circuits.nodes import Input, Node, Product
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course.exercises.nb02 import three_pixels
from tiramisu_edu.course.exercises.nb04 import by_name
from tiramisu_edu.course.skyline import skyline_circuit

from ..chance import CIRCUIT_TRAITS, circuit, distribution, picture, picture_fits, simplex
from . import Answers
from .loops import check_batches as check_batches
from .loops import check_bug as check_bug

# 1: expected counts.


def _expected_counts(theta, fw):
    terms = theta * fw
    return (terms / terms.sum(axis=1, keepdims=True)).sum(axis=0)


def _shares(theta: ArrayLike, fw: ArrayLike) -> np.ndarray:
    """θ_c fw_c / Σ_c θ_c fw_c for each picture, (N, K)."""
    terms = np.asarray(theta) * np.asarray(fw)
    return terms / terms.sum(1)[:, None]


def _values(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return simplex(rng, size + 1, zeros=False), (rng.random((2 * size, size + 1)) + 0.01).round(3)


check_counts = Answers(
    name="expected_counts",
    task="return the expected counts of the children, one number each",
    solution=_expected_counts,
    cases={
        "two strips": (np.array([0.6, 0.4]), np.array([[0.504, 0.006], [0.006, 0.504]])),
        "three children": (np.array([0.2, 0.3, 0.5]), np.array([[0.1, 0.2, 0.1], [0.0, 0.5, 0.5], [0.4, 0.1, 0.0]])),
        "a picture seldom seen": (np.array([0.5, 0.5]), np.array([[0.9, 0.1], [1e-6, 3e-6]])),
    },
    random=_values,
    fair=lambda theta, fw: (
        distribution(theta)
        and fw.ndim == 2
        and fw.shape[1] == len(theta)
        and len(fw) > 0
        and bool(((theta * fw).sum(1) > 0).all() and (fw >= 0).all())
    ),
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
        "the sum over the children belongs to each picture: it is a column (N, 1), see keepdims": lambda theta, fw: (
            theta * fw / (theta * fw).sum(1)
        ).sum(0),
        "this is the mean over the pictures; a count is their sum": lambda theta, fw: _shares(theta, fw).mean(0),
    },
)


# 2: a step for any circuit.


def _em_step(circuit, rows, eta):
    F = {n: 0.0 for n in circuit.nodes if not isinstance(n, Product)}
    for x in rows:
        for n, counts in circuit.expected_counts(circuit.evidence(x))[0].items():
            F[n] = F[n] + counts
    new = {}
    for n in F:
        theta = np.array(n.probabilities if isinstance(n, Input) else n.weights)
        new[n] = theta
        if np.sum(F[n]) > 0:
            new[n] = (1 - eta) * theta + eta * F[n] / np.sum(F[n])
    return new


def _em_with(
    circuit: ReferenceCircuit, rows: Sequence[Sequence[int]], eta: float, fault: str
) -> dict[Node, np.ndarray]:
    """The step with one fault that a student can make."""
    if fault == "eta":
        return _em_step(circuit, rows, 1 - eta)
    if fault == "full":
        return _em_step(circuit, rows, 1.0)
    if fault == "last":
        return _em_step(circuit, rows[-1:], eta)
    if fault == "pictures":
        return _per_picture(circuit, rows, eta)
    if fault == "sums":
        return {n: value for n, value in _em_step(circuit, rows, eta).items() if not isinstance(n, Input)}
    steps = [_em_step(circuit, [x], eta) for x in rows]  # the mean of the shares of single pictures
    return {n: np.mean([step[n] for step in steps], 0) for n in steps[0]}


def _per_picture(circuit: ReferenceCircuit, rows: Sequence[Sequence[int]], eta: float) -> dict[Node, np.ndarray]:
    """The step with counts divided by the number of pictures."""
    new: dict[Node, np.ndarray] = {}
    for n in (n for n in circuit.nodes if not isinstance(n, Product)):
        theta = np.array(n.probabilities if isinstance(n, Input) else n.weights)
        F = sum(circuit.expected_counts(circuit.evidence(x))[0].get(n, 0 * theta) for x in rows)
        new[n] = (1 - eta) * theta + eta * F / len(rows) if np.sum(F) > 0 else theta
    return new


def _data(rng: np.random.Generator, size: int) -> tuple[ReferenceCircuit, list[list[int]], float]:
    made = circuit(rng, size)
    rows = [picture(rng, made, hidden=0.2) for _ in range(2 + size)]
    return made, rows, [1.0, 0.5, 0.1][int(rng.integers(3))]


check_em_step = Answers(
    name="em_step",
    task="return a dictionary from every sum and input to its new parameters",
    solution=_em_step,
    cases={
        "a full step on the strip": (three_pixels(), [[1, 1, 0], [0, 0, 1], [1, -1, 1]], 1.0),
        "a part of a step": (three_pixels(), [[1, 1, 0], [0, 0, 1]], 0.25),
        "nodes that no picture reaches": (skyline_circuit(2, 2), [[1, 1, 1, 1], [1, 1, 1, 0]], 1.0),
    },
    random=_data,
    random_cases=16,
    traits=CIRCUIT_TRAITS | {"a step of less than 1": lambda circuit, rows, eta: eta < 1},
    fair=lambda circuit, rows, eta: 0 < eta <= 1 and bool(rows) and all(picture_fits(circuit, x) for x in rows),
    view=by_name,
    mistakes={
        "η is the part of the new: at η = 0 nothing changes": partial(_em_with, fault="eta"),
        "this goes all the way to the new parameters; η says how far": partial(_em_with, fault="full"),
        "counts of all pictures are added before they are divided": partial(_em_with, fault="each"),
        "few pictures may reach a node: divide its counts by their own sum, not by the number of pictures": partial(
            _em_with, fault="pictures"
        ),
        "this counts one picture only; add the counts of all": partial(_em_with, fault="last"),
        "inputs have parameters, too: their tables count values": partial(_em_with, fault="sums"),
    },
    equivalent={
        "max for sum: np.sum(F[n])": "in the condition: counts have a positive sum where they have a positive maximum",
    },
)


# 4: what a step promises.


def _promised(F, theta):
    total = 0.0
    for counts, old in zip(F, theta):
        shares = counts / counts.sum()
        for k in range(len(old)):
            if counts[k] > 0:
                total += counts[k] * np.log(shares[k] / old[k])
    return total


def _promised_with(F: Sequence[np.ndarray], theta: Sequence[np.ndarray], fault: str) -> float:
    total = 0.0
    for counts, old in zip(F, theta):
        new = counts / counts.sum()
        seen = new > 0
        scale = 1.0 if fault == "shares" else counts.sum()
        front, below = (old, new) if fault == "reversed" else (new, old)
        used = seen | (fault == "reversed")
        with np.errstate(divide="ignore"):
            total += scale * float((front[used] * np.log(front[used] / below[used])).sum())
    return total


def _counts(rng: np.random.Generator, size: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    widths = rng.integers(2, 5, size)
    F = [np.maximum(rng.integers(0, 9, k), np.eye(k)[0]).astype(float) / 2 for k in widths]
    return F, [simplex(rng, int(k), zeros=False) for k in widths]


check_promised = Answers(
    name="promised",
    task="return by how much the lower bound rises, in nats",
    solution=_promised,
    cases={
        "one node": ([np.array([3.0, 1.0])], [np.array([0.5, 0.5])]),
        "nothing to gain": ([np.array([3.0, 1.0])], [np.array([0.75, 0.25])]),
        "a child that no picture takes": ([np.array([2.0, 0.0]), np.array([1.0, 1.0])], [np.array([0.5, 0.5])] * 2),
    },
    random=_counts,
    traits={"a count of 0": lambda F, theta: any((counts == 0).any() for counts in F)},
    fair=lambda F, theta: (
        len(F) == len(theta) > 0
        and all(len(c) == len(t) and min(c) >= 0 < sum(c) and distribution(t, zeros=False) for c, t in zip(F, theta))
    ),
    mistakes={
        "a node that many pictures pass counts more: weigh its divergence by its counts": partial(
            _promised_with, fault="shares"
        ),
        "KL is not symmetric: the new shares stand in front and on top": partial(_promised_with, fault="reversed"),
        "this is the bound after the step; how much of it was there before?": lambda F, theta: sum(
            float((c[c > 0] * np.log(c[c > 0] / c.sum())).sum()) for c in F
        ),
        "before the step the bound is this; how much is it afterwards?": lambda F, theta: sum(
            float((c * np.log(t)).sum()) for c, t in zip(F, theta)
        ),
    },
)


# 5: mutual information.


def _information(pair):
    independent = np.outer(pair.sum(axis=1), pair.sum(axis=0))
    seen = pair > 0
    return (pair[seen] * np.log(pair[seen] / independent[seen])).sum()


def _against(pair: np.ndarray, other: np.ndarray) -> float:
    """The mean logarithm of p(u, v) over something else."""
    with np.errstate(all="ignore"):
        terms = pair * np.log(pair / other)
    return float(terms[pair > 0].sum())


def _without_care(pair: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((pair * np.log(pair / np.outer(pair.sum(1), pair.sum(0)))).sum())


check_information = Answers(
    name="information",
    task="return the mutual information in nats",
    solution=_information,
    cases={
        "two pixels that tend to agree": (np.array([[0.4, 0.1], [0.2, 0.3]]),),
        "independent": (np.outer([0.3, 0.7], [0.6, 0.4]),),
        "always equal": (np.diag([0.2, 0.3, 0.5]),),
    },
    random=lambda rng, size: (simplex(rng, (size + 1) * 3).reshape(size + 1, 3),),
    traits={"an empty cell": lambda pair: bool((pair == 0).any())},
    fair=lambda pair: pair.ndim == 2 and min(pair.shape) > 1 and distribution(pair.ravel()),
    mistakes={
        "0 · log 0 counts as 0, and NumPy makes it NaN: leave the empty cells out": _without_care,
        "this is the entropy of the pair: compare with p(u) p(v), what independence would give": lambda pair: float(
            -(pair[pair > 0] * np.log(pair[pair > 0])).sum()
        ),
        "every cell is weighted by how often it happens: p(u, v) in front of the logarithm": lambda pair: float(
            np.log(pair[pair > 0] / np.outer(pair.sum(1), pair.sum(0))[pair > 0]).sum()
        ),
        "p(u) p(v) is a table, a row for each u and a column for each v: see np.outer": lambda pair: _against(
            pair, pair.sum(1) * pair.sum(0)
        ),
        "the ratio is upside down: information is never negative": lambda pair: -_information(pair),
    },
)
