"""Notebook 9: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..chance import distribution, normal, shaped, simplex
from . import Answers

Array = np.ndarray


# 1: Tweedie's formula.


def _score(x_t: Array, mean: Array, alpha_bar: float) -> Array:
    return (np.sqrt(alpha_bar) * mean - x_t) / (1 - alpha_bar)


check_score = Answers(
    name="score",
    task="return the gradient of log p(x_t), by Tweedie's formula",
    solution=_score,
    cases={"half signal": (np.array([0.5, -1.0]), np.array([0.8, -0.9]), 0.5)},
    random=lambda rng, size: (normal(rng, size), normal(rng, size), float(rng.integers(1, 20)) / 20),
    fair=lambda x_t, mean, alpha_bar: shaped("D D", x_t, mean) and 0 < alpha_bar < 1,
    mistakes={
        "the gradient points from x_t to the shrunken mean: yours has the opposite sign": lambda *case: -_score(*case),
        "x_t is a noisy copy of sqrt(ᾱ) x_0: shrink the mean by sqrt(ᾱ)": lambda x_t, mean, alpha_bar: (
            (mean - x_t) / (1 - alpha_bar)
        ),
        "this is the noise in x_t; the score points the other way, and is shorter by sqrt(1 - ᾱ)": (
            lambda x_t, mean, alpha_bar: (x_t - np.sqrt(alpha_bar) * mean) / np.sqrt(1 - alpha_bar)
        ),
        "divide by the variance of the noise, 1 - ᾱ, not by its root": lambda x_t, mean, alpha_bar: (
            (np.sqrt(alpha_bar) * mean - x_t) / np.sqrt(1 - alpha_bar)
        ),
    },
)


# 2: the difference guide on a list.


def _steered(f: Array, x_t: Array, a: float, pictures: Array, p: Array, image: Array, known: Array) -> Array:
    def mean(prior: Array) -> Array:
        log_w = np.log(prior[prior > 0]) - ((x_t - np.sqrt(a) * pictures[prior > 0]) ** 2).sum(1) / (2 * (1 - a))
        w = np.exp(log_w - log_w.max())
        return w @ pictures[prior > 0] / w.sum()

    fits = (pictures == image)[:, known].all(1)
    return f + mean(p * fits) - mean(p)


def _means(x_t: Array, a: float, pictures: Array, p: Array, image: Array, known: Array) -> tuple[Array, Array]:
    """With and without the known pixels."""
    return tuple(_steered(np.zeros_like(x_t), x_t, a, pictures, p, image, m) for m in (known, known & False))  # type: ignore[return-value]


def _conditioned_alone(f: Array, x_t: Array, a: float, pictures: Array, p: Array, image: Array, known: Array) -> Array:
    with np.errstate(divide="ignore"):
        log_w = np.log(p * (pictures == image)[:, known].all(1)) - ((x_t - np.sqrt(a) * pictures) ** 2).sum(1) / (
            2 * (1 - a)
        )
    w = np.exp(log_w - log_w.max())
    return w @ pictures / w.sum()


def _prior_alone(f: Array, x_t: Array, a: float, pictures: Array, p: Array, image: Array, known: Array) -> Array:
    fits = p * (pictures == image)[:, known].all(1)
    return f + fits @ pictures / fits.sum() - p @ pictures / p.sum()


def _underflowing(f: Array, x_t: Array, a: float, pictures: Array, p: Array, image: Array, known: Array) -> Array:
    with np.errstate(all="ignore"):
        w = p * np.exp(-((x_t - np.sqrt(a) * pictures) ** 2).sum(1) / (2 * (1 - a)))
        fits = w * (pictures == image)[:, known].all(1)
        return f + fits @ pictures / fits.sum() - w @ pictures / w.sum()


def _random_list(rng: np.random.Generator, size: int) -> tuple:
    """Pictures of three grey levels; in little noise now and then, so that all weights underflow."""
    D, N = size + 1, size + 3
    pictures = rng.choice([-1.0, -0.5, 1.0], (N, D))
    p = simplex(rng, N)
    image, known = pictures[p.argmax()].copy(), rng.random(D) < 0.5
    image[~known] = 0.0
    return normal(rng, D), 3 * normal(rng, D), float(rng.choice([0.2, 0.6, 0.999])), pictures, p, image, known


check_difference = Answers(
    name="steered_prediction",
    task="return the network's prediction, changed by what the known pixels change in the mean over the list",
    solution=_steered,
    cases={
        "two pictures": (
            np.array([0.1, 0.2]),
            np.array([0.5, -0.5]),
            0.5,
            np.array([[1.0, 1.0], [-1.0, -1.0]]),
            np.array([0.5, 0.5]),
            np.array([1.0, 0.0]),
            np.array([True, False]),
        ),
    },
    random=_random_list,
    fair=lambda f, x_t, a, pictures, p, image, known: (
        shaped("D D ND N D D", f, x_t, pictures, p, image, known)
        and 0 < a < 1
        and distribution(p)
        and bool(p[(pictures == image)[:, known].all(1)].any())
    ),
    traits={
        "no known pixel": lambda *case: not case[-1].any(),
        "hardly any noise, where weights underflow": lambda f, x_t, a, *_: a > 0.99,
        "a picture of probability 0": lambda f, x_t, a, pictures, p, *_: (p == 0).any(),
    },
    equivalent={"operands swapped: x_t - np.sqrt(a) * pictures[prior > 0]": "a square does not mind"},
    mistakes={
        "this is the circuit's mean given the known pixels; the guide adds its *change* to f": _conditioned_alone,
        "both means are given x_t, too: weigh each picture by the density of x_t around sqrt(a) x": _prior_alone,
        "a density of e^-2000 is 0 to a computer: keep logarithms, and take the largest out": _underflowing,
        "the sign is turned: with the known pixels minus without them": lambda f, *case: 2 * f - _steered(f, *case),
        "common pictures count more than rare ones: p is missing": lambda f, x_t, a, pictures, p, *seen: _steered(
            f, x_t, a, pictures, (p > 0) / (p > 0).sum(), *seen
        ),
    },
)


# 3: how far a step moves.


def _factors(a: float, b: float) -> tuple[float, float]:
    raw = np.sqrt(b)
    return raw, raw - np.sqrt(1 - b) * np.sqrt(a / (1 - a))


check_factors = Answers(
    name="factors",
    task="return the two multiples of d, with raw and with consistent noise",
    solution=_factors,
    cases={"a long step": (0.1, 0.9)},
    random=lambda rng, size: tuple((np.sort(rng.choice(np.arange(1, 40), 2, replace=False)) / 40).tolist()),
    fair=lambda a, b: 0 < a < b < 1,
    mistakes={
        "consistent noise is what is left of x_t: where x_0 grows, the noise shrinks": lambda a, b: (
            np.sqrt(b),
            np.sqrt(b) + np.sqrt(1 - b) * np.sqrt(a / (1 - a)),
        ),
        "raw noise does not know of d: then only sqrt(b) x_0 moves": lambda a, b: _factors(a, b)[::-1],
        "the consistent factor is the raw one less what the noise loses; yours is that loss alone": lambda a, b: (
            np.sqrt(b),
            np.sqrt(1 - b) * np.sqrt(a / (1 - a)),
        ),
        "the step goes to level b: its factors are sqrt(b) and sqrt(1 - b); those of a are in ε": lambda a, b: (
            np.sqrt(a),
            np.sqrt(a) - np.sqrt(1 - a) * np.sqrt(b / (1 - b)),
        ),
    },
)


# 4: who is honest.

Draws = Mapping[str, Array]


def _honest(draws: Draws, truth: Array) -> str:
    def error(name: str) -> float:
        x = np.asarray(draws[name])
        inside = (x.min(0) < truth) & (truth < x.max(0))
        return abs(inside.mean() - (len(x) - 1) / (len(x) + 1))

    return min(draws, key=error)


def _covered(x: Array, truth: Array) -> float:
    return float(((x.min(0) < truth) & (truth < x.max(0))).mean())


def _random_samplers(rng: np.random.Generator, size: int) -> tuple:
    """One is exact, one too narrow, two too wide, one biased; their order and their numbers of draws vary."""
    N, found = 40 + 10 * size, {}
    centre, names = rng.normal(size=N), rng.permutation(["red", "green", "blue", "grey", "pink"]).tolist()
    for name, (spread, shift) in zip(names, ((1.0, 0.0), (0.3, 0.0), (3.0, 0.0), (40.0, 0.0), (1.0, 2.0))):
        found[name] = (centre + shift + spread * rng.normal(size=(int(rng.integers(3, 5 + size)), N))).round(1)
    return dict(sorted(found.items())), (centre + rng.normal(size=N)).round(1) + 0.05


def _covering(count: int) -> Array:
    """Three draws for each of 20 cases, of which that many contain 0.1."""
    return np.where(np.arange(20) < count, 0.0, 5.0) + np.array([[-1.0], [0.0], [1.0]])


_TWENTY = {"a": _covering(8), "b": _covering(10), "c": _covering(5), "d": _covering(15)}


def _is_clear(draws: Draws, truth: Array) -> bool:
    """Whether one of several samplers is about right and no other nearly so, and no draw is the truth itself."""
    gaps = sorted(abs(_covered(x, truth) - (len(x) - 1) / (len(x) + 1)) for x in draws.values())
    fits = all(x.ndim == 2 and len(x) > 1 and x.shape[1] == len(truth) > 3 for x in draws.values())
    return (
        fits and len(gaps) > 1 and gaps[0] < 0.1 and gaps[1] > 0.2 and all((x != truth).all() for x in draws.values())
    )


check_honest = Answers(
    name="honest",
    task="return the name of the sampler whose ranges contain the truth as often as exact draws would",
    solution=_honest,
    cases={"twenty cases, three draws": (_TWENTY, np.full(20, 0.1))},
    random=_random_samplers,
    fair=_is_clear,
    equivalent={
        "operands swapped: inside.mean() - (len(x) - 1) / (len(x) + 1)": "abs follows",
        **{f"at the limit: {end}": "no draw is the truth" for end in ("x.min(0) < truth", "truth < x.max(0)")},
    },
    mistakes={
        "the largest coverage belongs to the sampler that varies most: exact draws miss the truth, too, now and then": (
            lambda draws, truth: max(draws, key=lambda name: _covered(draws[name], truth))
        ),
        "narrow ranges are not honest: ask how often the truth is inside": (
            lambda draws, truth: min(draws, key=lambda name: np.ptp(draws[name], axis=0).mean())
        ),
        "half is right for three draws only: how often does the range of S exact draws hold one more of their kind?": (
            lambda draws, truth: min(draws, key=lambda name: abs(_covered(draws[name], truth) - 0.5))
        ),
    },
)
