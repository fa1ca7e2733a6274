"""Notebook 1: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from functools import partial

import numpy as np

from tiramisu_edu.course.checks import shares

from ..chance import distribution, normal, simplex
from . import Answers

Task = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

_STRIPS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
_P = np.array([0.4, 0.1, 0.2, 0.3])
_SEEN = {
    "the left pixel is seen": (_STRIPS, _P, np.array([1, 0]), np.array([True, False])),
    "nothing is seen": (_STRIPS, _P, np.array([0, 0]), np.array([False, False])),
}


def _world(rng: np.random.Generator, size: int) -> Task:
    """A list of pictures with up to five pixels of up to three values, and a damaged one that is possible."""
    D, C = size + 1, int(rng.integers(2, 4))
    pictures = np.unique(rng.integers(C, size=(4 * size + 2, D)), axis=0)
    p = simplex(rng, len(pictures))
    return pictures, p, pictures[rng.choice(len(p), p=p)], rng.random(D) < 0.5


def _is_world(pictures: np.ndarray, p: np.ndarray, picture: np.ndarray, known: np.ndarray) -> bool:
    """Pictures that differ, a distribution over them, and a damaged picture that is possible."""
    fits = pictures.ndim == 2 and pictures.shape == (len(p), len(known)) == (len(p), len(picture))
    return (
        fits
        and known.dtype == bool
        and len(np.unique(pictures, axis=0)) == len(p)
        and distribution(p)
        and p[(pictures == picture)[:, known].all(1)].sum() > 0
    )


_TRAITS = {
    "pixels of more than two values": lambda pictures, *_: bool((pictures > 1).any()),
    "a picture of probability 0 that agrees": lambda pictures, p, x, known: bool(
        (p[(pictures == x)[:, known].all(1)] == 0).any()
    ),
    "nothing hidden": lambda pictures, p, x, known: bool(known.all()),
    "nothing known": lambda pictures, p, x, known: not known.any(),
}

# 1: what a repair is.


def _condition(pictures, p, picture, known):
    agrees = (pictures == picture)[:, known].all(axis=1)
    q = np.where(agrees, p, 0)
    return q / q.sum()


def _wrongly(
    pictures: np.ndarray, p: np.ndarray, picture: np.ndarray, known: np.ndarray, fault: str = ""
) -> np.ndarray:
    """The repair with one fault that a student can make."""
    agrees = (pictures == picture)[:, known if fault != "hidden" else slice(None)].all(1)
    if fault == "others":
        agrees = ~agrees | ~known.any()
    q = np.where(agrees, 1.0 if fault == "even" else p, 0.0)
    return q if fault == "sum" else q / max(q.sum(), 1e-9)


check_condition = Answers(
    name="condition",
    task="return the probability of every row of pictures, given the known pixels",
    solution=_condition,
    cases=_SEEN | {"both pixels are seen": (_STRIPS, _P, np.array([0, 1]), np.array([True, True]))},
    random=_world,
    traits=_TRAITS,
    fair=_is_world,
    mistakes={
        "what is left of p no longer adds up to one: divide by its sum": partial(_wrongly, fault="sum"),
        "the pictures that agree are not equally probable: keep their p": partial(_wrongly, fault="even"),
        "hidden pixels may take any value: compare the known ones only": partial(_wrongly, fault="hidden"),
        "this keeps the pictures that disagree": partial(_wrongly, fault="others"),
    },
)


# 2: an exact sampler.

_DRAWS = 2000


def _with_draws(task: Task, seed: int) -> tuple:
    return (*task, _DRAWS, np.random.default_rng(seed))


def _repairs(pictures, p, picture, known, n, rng):
    agrees = (pictures == picture)[:, known].all(axis=1)
    q = np.where(agrees, p, 0)
    return pictures[rng.choice(len(pictures), size=n, p=q / q.sum())]


def _draw(fault: str):
    return lambda pictures, p, x, known, n, rng: pictures[
        rng.choice(len(p), n, p=_wrongly(pictures, p, x, known, fault=fault))
    ]


def _pixelwise(pictures, p, picture, known, n, rng):
    q = _condition(pictures, p, picture, known)
    return np.stack([pictures[rng.choice(len(p), n, p=q), i] for i in range(pictures.shape[1])], 1)


check_draws = Answers(
    name="repairs",
    task="return n repairs, drawn by chance, as an array of n rows",
    solution=_repairs,
    cases={label: _with_draws(task, 0) for label, task in _SEEN.items()},
    random=lambda rng, size: _with_draws(_world(rng, size), int(rng.integers(1000))),
    traits={label: lambda *a, has=has: has(*a[:4]) for label, has in _TRAITS.items()},
    fair=lambda *task: task[4] == _DRAWS and _is_world(*task[:4]),
    view=shares,
    slack=0.08,
    mistakes={
        "each pixel has the right odds and the pixels do not fit together: draw the row as a whole": _pixelwise,
        "possible repairs are not equally probable: draw each as often as p says": _draw("even"),
        "draw from what is left after conditioning: these repairs ignore the known pixels": (
            lambda pictures, p, x, known, n, rng: pictures[rng.choice(len(p), n, p=p)]
        ),
        "pasting the known pixels over a free draw is not conditioning": (
            lambda pictures, p, x, known, n, rng: np.where(known, x, pictures[rng.choice(len(p), n, p=p)])
        ),
    },
)


# 3: which pixel to uncover.


def _open_bits(q: np.ndarray) -> float:
    q = q[q > 0]
    return float(-(q * np.log2(q)).sum())


def _left_open(pictures, p, picture, known):
    agrees = (pictures == picture)[:, known].all(axis=1)
    q = np.where(agrees, p, 0) / p[agrees].sum()
    bits = np.zeros(len(known))
    for i in range(len(known)):
        for v in np.unique(pictures[:, i]):
            part = q[(pictures[:, i] == v) & (q > 0)]
            bits[i] -= (part * np.log2(part / part.sum())).sum()
    return bits


def _left(pictures: np.ndarray, p: np.ndarray, picture: np.ndarray, known: np.ndarray, fault: str) -> np.ndarray:
    q = _condition(pictures, p, picture, known)
    found = []
    for i in range(len(known)):
        parts = [q[pictures[:, i] == v] for v in np.unique(pictures[:, i])]
        parts = [part for part in parts if part.sum()]
        bits = [_open_bits(part / part.sum()) for part in parts]
        chance = [1 / len(parts) if fault == "even" else part.sum() for part in parts]
        gain = _open_bits(np.array([part.sum() for part in parts]))
        found.append({"largest": max(bits), "gain": gain}.get(fault, float(np.dot(chance, bits))))
    return np.array(found)


check_open = Answers(
    name="left_open",
    task="return, for every pixel, the bits that stay open on average when it is uncovered",
    solution=_left_open,
    cases=_SEEN,
    random=_world,
    traits=_TRAITS,
    fair=_is_world,
    mistakes={
        "the values of the uncovered pixel are not equally frequent: weigh the bits by their odds": partial(
            _left, fault="even"
        ),
        "this is the worst case; take the mean over what the pixel may turn out to be": partial(_left, fault="largest"),
        "this is what the pixel tells; the bits that stay open are the others": partial(_left, fault="gain"),
        "these bits are open now; uncovering a pixel closes some of them": lambda pictures, p, x, known: np.full(
            len(known), _open_bits(_condition(pictures, p, x, known))
        ),
    },
)


# 4: the denoiser.


def _denoised(x_t, alpha_bar, pictures, p):
    distance = ((x_t - np.sqrt(alpha_bar) * pictures) ** 2).sum(axis=1)
    w = p * np.exp(-distance / (2 * (1 - alpha_bar)))
    return w @ pictures / w.sum()


def _weights(x_t: np.ndarray, alpha_bar: float, pictures: np.ndarray) -> np.ndarray:
    distance = x_t - np.sqrt(alpha_bar) * pictures
    return np.exp(-(distance**2).sum(1) / (2 * (1 - alpha_bar)))


def _mean(w: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    return w @ pictures / w.sum()


def _noisy_case(rng: np.random.Generator, size: int) -> tuple:
    pictures, p, x, _ = _world(rng, size)
    alpha_bar = round(float(rng.uniform(0.05, 0.9)), 2)
    return (np.sqrt(alpha_bar) * x + normal(rng, len(x)) / 2).round(2), alpha_bar, 1.0 * pictures - 1, p


check_denoised = Answers(
    name="denoised",
    task="return the mean of the clean pictures, given x_t",
    solution=_denoised,
    cases={
        "half signal": (np.array([0.4, -0.3]), 0.5, 2.0 * _STRIPS - 1, _P),
        "mostly noise": (np.array([1.5, 0.7]), 0.05, 2.0 * _STRIPS - 1, _P),
        "mostly signal": (np.array([0.1, -0.9]), 0.9, 2.0 * _STRIPS - 1, _P),
    },
    random=_noisy_case,
    fair=lambda x_t, alpha_bar, pictures, p: (
        0 < alpha_bar < 1 and _is_world(pictures, p, pictures[0], np.zeros(len(x_t), dtype=bool))
    ),
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
    equivalent={"operands swapped: x_t - np.sqrt(alpha_bar) * pictures": "the difference is squared"},
)


# 5: what pasting at the end draws from.


def _pasted(pictures, p, picture, known):
    r = np.zeros(len(pictures))
    for row, weight in zip(pictures, p):
        together = np.where(known, picture, row)
        r[(pictures == together).all(axis=1)] += weight
    return r


def _by_hidden(pictures: np.ndarray, p: np.ndarray, picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    hidden = (pictures[:, None, ~known] == pictures[:, ~known]).all(-1)  # same hidden part
    return hidden @ p


check_pasted = Answers(
    name="pasted",
    task="return how often pasting at the end ends at each picture of the list",
    solution=_pasted,
    cases=_SEEN,
    random=_world,
    traits=_TRAITS,
    fair=_is_world,
    mistakes={
        "this is the exact conditional: pasting does not ask which pictures agree before it draws": _condition,
        "the known pixels are pasted in, so pictures that disagree with them never come out": _by_hidden,
        "what ends at a broken picture, one that is not in the list, is lost: do not divide by the rest": (
            lambda *task: _pasted(*task) / max(_pasted(*task).sum(), 1e-9)
        ),
        "nothing was pasted: these are the free draws": lambda pictures, p, x, known: p,
    },
)
