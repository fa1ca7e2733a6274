"""Notebook 14: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..chance import normal, shaped
from . import Answers

Array = np.ndarray


# 1: test pictures that are fresh.


def _fresh(photographs: Array, split: Array) -> Array:
    return ~np.isin(photographs, photographs[split != 2])


def _random_split(rng: np.random.Generator, size: int) -> tuple:
    """Several pictures of most photographs, in splits by chance; the photographs have any numbers."""
    N = 4 * size + 2
    return rng.integers(1, 3 * size + 3, N) * 7, rng.choice([0, 0, 1, 2, 2], N)


check_fresh = Answers(
    name="fresh",
    task="return which pictures may be judged, as N truth values",
    solution=_fresh,
    cases={"a photograph in two splits": (np.array([1, 1, 2, 2, 3]), np.array([0, 2, 2, 2, 1]))},
    random=_random_split,
    fair=lambda photographs, split: shaped("N N", photographs, split) and {*split} <= {0, 1, 2},
    traits={"a validation picture of a tested photograph": lambda p, s: bool(np.isin(p[s == 2], p[s == 1]).any())},
    mistakes={
        "a test picture whose sister was trained on is not fresh": lambda photographs, split: split == 2,
        "choices are made on validation pictures, too: their sisters are known as well": lambda photographs, split: (
            (split == 2) & ~np.isin(photographs, photographs[split == 0])
        ),
        "keep the test pictures without a sister outside; yours are those that have one": lambda photographs, split: (
            (split == 2) & np.isin(photographs, photographs[split != 2])
        ),
        "two test pictures of one photograph may both be judged": lambda photographs, split: (
            (split == 2) & np.array([(photographs == p).sum() == 1 for p in photographs])
        ),
    },
)


# 2: a guide from a Gaussian of one's own.


def _guided(
    x_0: Array, x_t: Array, alpha_bar: float, image: Array, known: Array, mean: Array, covariance: Array
) -> Array:
    one = np.eye(len(mean))

    def expected(H: Array, y: Array, variances: Array) -> Array:
        gain = covariance @ H.T @ np.linalg.inv(H @ covariance @ H.T + np.diag(variances))
        return mean + gain @ (y - H @ mean)

    noise, exact = np.full(len(mean), 1 - alpha_bar), np.zeros(known.sum())
    noisy = np.sqrt(alpha_bar) * one
    untold = expected(noisy, x_t, noise)
    both = np.concatenate([noisy, one[known]]), np.concatenate([x_t, image[known]]), np.concatenate([noise, exact])
    return x_0 + expected(*both) - untold


def _told(_: Array, *rest: Any) -> Array:
    """The Gaussian's mean given both, alone."""
    x_t, a, _, _, mean, covariance = rest
    gain = np.sqrt(a) * covariance @ np.linalg.inv(a * covariance + (1 - a) * np.eye(len(mean)))
    return _guided(mean + gain @ (x_t - np.sqrt(a) * mean), *rest)


def _without_copies(x_0: Array, x_t: Array, a: float, image: Array, known: Array, mean: Array, cov: Array) -> Array:
    """As if the noise were so strong that the copy says nothing."""
    return _guided(x_0, x_t, 1e-12, image, known, mean, cov)


def _unshrunken(x_0: Array, x_t: Array, a: float, image: Array, known: Array, mean: Array, cov: Array) -> Array:
    """The copy taken for x_0 plus noise of variance 1 - ᾱ, which is a copy at signal level b once it is shrunken."""
    b = 1 / (2 - a)
    return _guided(x_0, np.sqrt(b) * x_t, b, image, known, mean, cov)


def _noisy_pixels(x_0: Array, x_t: Array, a: float, image: Array, known: Array, mean: Array, cov: Array) -> Array:
    """The known pixels told with the variance 1 - ᾱ of x_t."""
    precision = np.linalg.inv(cov) + a / (1 - a) * np.eye(len(mean))
    seen = known / (1 - a)
    untold = np.linalg.solve(precision, np.sqrt(a) / (1 - a) * x_t + np.linalg.solve(cov, mean))
    return x_0 + np.linalg.solve(precision + np.diag(seen), seen * (image - untold))


def _variances_alone(x_0: Array, x_t: Array, a: float, image: Array, known: Array, mean: Array, cov: Array) -> Array:
    return _guided(x_0, x_t, a, image, known, mean, np.diag(np.diag(cov)))


def _random_guide(rng: np.random.Generator, size: int) -> tuple:
    D = size + 1
    root = normal(rng, D, D)
    covariance = (root @ root.T + 0.5 * np.eye(D)).round(4)
    image, known = normal(rng, D), rng.random(D) < 0.5
    image[~known] = 0.0
    a = float(rng.choice([0.1, 0.5, 0.9]))
    return normal(rng, D), normal(rng, D), a, image, known, normal(rng, D), covariance


check_guide = Answers(
    name="guided",
    task="return the network's prediction, changed by what the known pixels change in your Gaussian's mean",
    solution=_guided,
    cases={
        "two pixels, the first known": (
            np.zeros(2),
            np.array([0.5, -0.5]),
            0.5,
            np.array([1.0, 0.0]),
            np.array([True, False]),
            np.zeros(2),
            np.array([[1.0, 0.8], [0.8, 1.0]]),
        )
    },
    random=_random_guide,
    fair=lambda x_0, x_t, alpha_bar, image, known, mean, covariance: (
        shaped("D D D D D DD", x_0, x_t, image, known, mean, covariance)
        and 0 < alpha_bar < 1
        and np.array_equal(covariance, covariance.T)
        and np.linalg.eigvalsh(covariance)[0] > 0.05
    ),
    traits={
        "no known pixel": lambda *case: not case[4].any(),
        "every pixel known": lambda *case: bool(case[4].all()),
        "little noise": lambda *case: case[2] == 0.9,
    },
    equivalent={"left operand dropped: mean + gain @ (y - H @ mean)": "the mean cancels in the difference"},
    mistakes={
        "this is the Gaussian's mean itself; a difference guide adds its *change* to the network's prediction": _told,
        "both means are given x_t: a noisy copy of every pixel": _without_copies,
        "the mean without the known pixels is given x_t, too: it is not μ": lambda x_0, x_t, a, y, known, mean, cov: (
            _guided(x_0 - mean + _told(x_0, x_t, a, y, known & False, mean, cov), x_t, a, y, known, mean, cov)
        ),
        "the known pixels are exact; only x_t is noisy": _noisy_pixels,
        "the copy is of sqrt(ᾱ) x_0: its matrix is sqrt(ᾱ) I": _unshrunken,
        "the sign is turned: with the known pixels minus without them": lambda x_0, *rest: (
            2 * x_0 - _guided(x_0, *rest)
        ),
        "variances alone carry nothing from pixel to pixel: take the whole covariance": _variances_alone,
    },
)


# 3: which guide.

Errors = Mapping[str, Array]


def _choose(errors: Errors, picks: Array) -> str:
    able = {"none": errors["none"].mean()}
    for name, error in errors.items():
        gains = (errors["none"] - error)[picks].mean(1)
        if np.percentile(gains, 2.5) > 0:
            able[name] = error.mean()
    return min(able, key=lambda name: able[name])


def _apart(errors: Errors, picks: Array) -> str:
    """Of those whose own interval lies wholly below that of no guide."""
    ends = {name: np.percentile(e[picks].mean(1), [2.5, 97.5]) for name, e in errors.items()}
    able = [name for name in errors if name == "none" or ends[name][1] < ends["none"][0]]
    return min(able, key=lambda name: errors[name].mean())


def _surest(errors: Errors, picks: Array) -> str:
    """The largest lower end of a gain in its own spread: t value."""
    gains = {name: (errors["none"] - e)[picks].mean(1) for name, e in errors.items()}
    return max(errors, key=lambda name: gains[name].mean() / (gains[name].std() + 1e-9))


def _random_errors(rng: np.random.Generator, size: int) -> tuple:
    """Pictures of very different difficulty; gains that are sure and small, large, open, or none."""
    N = 6 + 4 * size
    none = (rng.gamma(1.5, size=N) * 4 + 1).round(2)
    made = {"none": none}
    names = rng.permutation(["circuit", "field", "smooth", "mine"]).tolist()
    for name, (gain, spread) in zip(names, ((0.1, 0.05), (0.3, 0.15), (0.6, 3.0), (-0.2, 0.2))):
        made[name] = (none - gain * rng.choice([0.0, 1.0, 1.0, 2.0]) - spread * rng.normal(size=N)).round(2)
    return made, rng.integers(N, size=(40, N))


def _is_decided(errors: Errors, picks: Array) -> bool:
    """Whether the arguments fit, no interval ends near 0, and no two guides are nearly as good."""
    N = picks.shape[1]
    if "none" not in errors or any(e.shape != (N,) for e in errors.values()) or not {*picks.ravel()} <= {*range(N)}:
        return False
    gains = [(errors["none"] - error)[picks].mean(1) for name, error in errors.items() if name != "none"]
    means = sorted(error.mean() for error in errors.values())
    sure = all((gain.min() > 0) == (np.percentile(gain, 2.5) > 0) and abs(gain).min() > 0.005 for gain in gains)
    return N > 1 and len(picks) > 1 and sure and bool((np.diff(means) > 0.01).all())


check_choice = Answers(
    name="choose",
    task="return the name of the guide to use",
    solution=_choose,
    cases={
        "a large gain that is open": (
            {
                "none": np.array([1.0, 2.0, 3.0, 4.0]),
                "wild": np.array([3.0, 4.0, -4.0, 4.5]),
                "sure": np.array([0.9, 1.9, 2.8, 3.9]),
            },
            np.array([[0, 1, 2, 3], [0, 0, 1, 3], [1, 1, 2, 3], [0, 2, 2, 3], [0, 1, 3, 3]]),
        ),
        "an interval that begins at 0": (
            {"none": np.array([1.0, 2.0]), "half": np.array([1.0, 1.0])},
            np.array([[0, 0], [0, 0], [0, 1], [1, 1]]),
        ),
    },
    random=_random_errors,
    fair=_is_decided,
    traits={"nothing is sure": lambda errors, picks: _choose(errors, picks) == "none"},
    equivalent={
        "sum for mean: errors['none'].mean()": "a guide whose gain is surely positive has a lower mean than none",
        "sum for mean: (errors['none'] - error)[picks].mean(1)": "only the sign of the percentile counts",
    },
    mistakes={
        "the lowest mean may be luck: ask first whose interval of the gain excludes 0": lambda errors, picks: min(
            errors, key=lambda name: errors[name].mean()
        ),
        "the same pictures were repaired: take the interval of the *difference*, picture by picture": _apart,
        "among the sure ones the lowest error decides, not the surest gain": _surest,
    },
)


# 4: the share of the error that is saved.


def _saved(base: Array, steered: Array, photographs: Array, picks: Array) -> tuple[float, float, float]:
    b = np.bincount(photographs, base.mean(0))
    s = np.bincount(photographs, steered.mean(0))
    shares = 1 - s[picks].sum(1) / b[picks].sum(1)
    return 1 - s.sum() / b.sum(), np.percentile(shares, 2.5), np.percentile(shares, 97.5)


def _mean_of_shares(base: Array, steered: Array, photographs: Array, picks: Array) -> tuple[float, float, float]:
    share = np.bincount(photographs, 1 - steered.mean(0) / base.mean(0)) / np.bincount(photographs)
    return share.mean(), *np.percentile(share[picks].mean(1), [2.5, 97.5])


def _of_means(base: Array, steered: Array, photographs: Array, picks: Array) -> tuple[float, float, float]:
    counts = np.bincount(photographs)
    b, s = (np.bincount(photographs, e.mean(0)) / counts for e in (base, steered))
    return 1 - s.sum() / b.sum(), *np.percentile(1 - s[picks].sum(1) / b[picks].sum(1), [2.5, 97.5])


def _fixed_base(base: Array, steered: Array, photographs: Array, picks: Array) -> tuple[float, float, float]:
    b, s = (np.bincount(photographs, e.mean(0)) for e in (base, steered))
    return 1 - s.sum() / b.sum(), *np.percentile(1 - s[picks].sum(1) / b.sum(), [2.5, 97.5])


def _random_report(rng: np.random.Generator, size: int) -> tuple:
    G, S = size + 2, size
    photographs = np.concatenate([np.arange(G), rng.integers(G, size=2 * size)])
    base = (rng.gamma(2, size=(S, len(photographs))) + 0.2).round(2)
    steered = (base * rng.uniform(0.4, 1.2, base.shape)).round(2)
    return base, steered, photographs, rng.integers(G, size=(30, G))


check_saved = Answers(
    name="saved",
    task="return (share saved, low, high)",
    solution=_saved,
    cases={
        "two photographs, one seed": (
            np.array([[1.0, 1.0, 4.0]]),
            np.array([[0.5, 1.0, 1.0]]),
            np.array([0, 0, 1]),
            np.array([[0, 0], [0, 1], [1, 1], [1, 0]]),
        )
    },
    random=_random_report,
    fair=lambda base, steered, photographs, picks: (
        shaped("SN SN N RG", base, steered, photographs, picks)
        and {*photographs} == {*range(picks.shape[1])}
        and {*picks.ravel()} <= {*photographs}
        and min(base.min(), steered.min()) > 0
    ),
    traits={"several seeds": lambda base, *_: len(base) > 1},
    mistakes={
        "a share of sums, not a mean of shares: an easy picture would count as much as a hard one": _mean_of_shares,
        "each photograph counts with all its pictures: sums, not means": _of_means,
        "a resample draws base and steered together: both sums change": _fixed_base,
        "these are shares of the steered error: the base stands below": lambda b, s, *more: _saved(s, b, *more),
        "the share that is saved is 1 minus the share that is left": lambda *case: tuple(1 - x for x in _saved(*case)),
    },
)
