"""Notebook 13: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..chance import normal, shaped
from . import Answers

Array = np.ndarray


# 1: LPIPS, one layer.


def _layer_lpips(y: Array, other: Array) -> float:
    a = y / np.maximum(np.sqrt((y**2).sum(0)), 1e-10)
    b = other / np.maximum(np.sqrt((other**2).sum(0)), 1e-10)
    return ((a - b) ** 2).sum(0).mean()


def _unit(y: Array) -> Array:
    return y / np.maximum(np.sqrt((y**2).sum(0)), 1e-10)


def _whole(y: Array) -> Array:
    return y / max(float(np.sqrt((y**2).sum())), 1e-10)


def _channelwise(y: Array) -> Array:
    return y / np.maximum(np.sqrt((y**2).sum((1, 2), keepdims=True)), 1e-10)


def _random_layers(rng: np.random.Generator, size: int) -> tuple:
    """Two layers, all channels 0 at a position now and then."""
    shape = tuple(int(rng.integers(1, size + 2)) for _ in range(2))
    y, other = np.abs(normal(rng, 2, size + 1, *shape)) + 0.01
    other[:, rng.random(shape) < 0.15] = 0.0
    return y, other


check_layer_distance = Answers(
    name="layer_lpips",
    task="return the LPIPS of one layer",
    solution=_layer_lpips,
    cases={
        "one position": (np.array([[[3.0]], [[4.0]]]), np.array([[[4.0]], [[3.0]]])),
        "three times brighter": (np.array([[[1.0, 2.0]], [[2.0, 1.0]]]), np.array([[[3.0, 6.0]], [[6.0, 3.0]]])),
    },
    random=_random_layers,
    fair=lambda y, other: shaped("CHW CHW", y, other) and min(y.min(), other.min()) >= 0,
    traits={"a position without any activity": lambda y, other: (other.sum(0) == 0).any()},
    mistakes={
        "scale first: without it a layer that is three times brighter looks far away": lambda y, other: (
            ((y - other) ** 2).sum(0).mean()
        ),
        "each position has its own length: the root of the sum over channels, not over the layer": lambda y, other: (
            ((_whole(y) - _whole(other)) ** 2).sum(0).mean()
        ),
        "the mean is over positions only: add the squares of the channels up": lambda y, other: (
            (_unit(y) - _unit(other)) ** 2
        ).mean(),
        "each position has its own length, over its channels; yours is that of a channel, over its positions": (
            lambda y, other: ((_channelwise(y) - _channelwise(other)) ** 2).sum(0).mean()
        ),
        "squares of the differences are wanted, not their sizes": lambda y, other: (
            np.abs(_unit(y) - _unit(other)).sum(0).mean()
        ),
        "the squared length is wanted: no root": lambda y, other: np.sqrt(
            ((_unit(y) - _unit(other)) ** 2).sum(0)
        ).mean(),
    },
    equivalent={
        "operands swapped: a - b": "a square does not mind",
    },
)


# 2: the energy score.


def _energy_score(draws: Array, truth: Array) -> float:
    S = len(draws)
    error = np.sqrt(((draws - truth) ** 2).sum(1)).mean()
    apart = np.sqrt(((draws[:, None] - draws) ** 2).sum(-1)).sum() / (S * (S - 1))
    return error - apart / 2


def _parts(draws: Array, truth: Array) -> tuple[float, float]:
    """E|X - y| and E|X - X'| over different draws."""
    return _energy_score(draws[:1].repeat(2, 0), truth), 2 * (_mean_error(draws, truth) - _energy_score(draws, truth))


def _mean_error(draws: Array, truth: Array) -> float:
    return float(np.sqrt(((draws - truth) ** 2).sum(1)).mean())


def _squares(draws: Array, truth: Array) -> float:
    S = len(draws)
    apart = ((draws[:, None] - draws) ** 2).sum() / (S * (S - 1))
    return ((draws - truth) ** 2).sum(1).mean() - apart / 2


check_energy = Answers(
    name="energy_score",
    task="return the energy score, without bias",
    solution=_energy_score,
    cases={"two draws of one number": (np.array([[0.0], [1.0]]), np.array([0.5]))},
    random=lambda rng, size: (normal(rng, size + 1, size), normal(rng, size)),
    fair=lambda draws, truth: shaped("SD D", draws, truth) and len(draws) > 1,
    traits={"more than two draws": lambda draws, truth: len(draws) > 2},
    mistakes={
        "a draw paired with itself has distance 0: divide by S (S - 1), not by S²": lambda draws, truth: (
            _mean_error(draws, truth) - _parts(draws, truth)[1] * (len(draws) - 1) / len(draws) / 2
        ),
        "without the spread this rewards whoever gives one safe picture": _mean_error,
        "the mean of the distances, not the distance of the mean of the draws": lambda draws, truth: (
            np.linalg.norm(draws.mean(0) - truth) - _mean_error(draws, truth) + _energy_score(draws, truth)
        ),
        "half of the spread is taken off, not all": lambda draws, truth: (
            _mean_error(draws, truth) - _parts(draws, truth)[1]
        ),
        "lengths, not squares: with squares the blur in the middle is as good as the truth": _squares,
    },
    equivalent={
        "operands swapped: draws - truth": "a length does not mind",
        "operands swapped: draws[:, None] - draws": "a length does not mind",
    },
)


# 3: cases that belong together.


def _clustered(values: Array, clusters: Array, picks: Array) -> tuple[float, float]:
    sums = np.bincount(clusters, values)
    counts = np.bincount(clusters)
    means = sums[picks].sum(1) / counts[picks].sum(1)
    return np.percentile(means, 2.5), np.percentile(means, 97.5)


def _mean_of_means(values: Array, clusters: Array, picks: Array) -> Any:
    means = (np.bincount(clusters, values) / np.bincount(clusters))[picks].mean(1)
    return np.percentile(means, 2.5), np.percentile(means, 97.5)


def _once_each(values: Array, clusters: Array, picks: Array) -> Any:
    means = [values[np.isin(clusters, row)].mean() for row in picks]
    return np.percentile(means, 2.5), np.percentile(means, 97.5)


def _single_values(values: Array, clusters: Array, picks: Array) -> Any:
    means = values[picks % len(values)].mean(1)
    return np.percentile(means, 2.5), np.percentile(means, 97.5)


def _other_ends(values: Array, clusters: Array, picks: Array, low: float, high: float) -> Any:
    means = np.bincount(clusters, values)[picks].sum(1) / np.bincount(clusters)[picks].sum(1)
    return np.percentile(means, low), np.percentile(means, high)


def _bell(means: Array) -> Any:
    return means.mean() - 1.96 * means.std(), means.mean() + 1.96 * means.std()


def _random_clusters(rng: np.random.Generator, size: int) -> tuple:
    G = size + 1
    clusters = rng.permutation(np.concatenate([np.arange(G), rng.integers(G, size=2 * size)]))
    return normal(rng, len(clusters)) + clusters, clusters, rng.integers(G, size=(20, G))


check_clusters = Answers(
    name="clustered",
    task="return both ends of the interval, whole clusters being drawn",
    solution=_clustered,
    cases={
        "two clusters, two resamples": (
            np.array([0.0, 1.0, 5.0]),
            np.array([0, 0, 1]),
            np.array([[0, 0], [0, 1]]),
        )
    },
    random=_random_clusters,
    fair=lambda values, clusters, picks: (
        shaped("N N RG", values, clusters, picks)
        and {*clusters} == {*range(picks.shape[1])}
        and {*picks.ravel()} <= {*clusters}
    ),
    mistakes={
        "clusters have different sizes: a sum of sums over a sum of counts, not a mean of means": _mean_of_means,
        "a cluster that is drawn twice counts twice": _once_each,
        "clusters are drawn, and with each all its values; these are single values": _single_values,
        "a 95 % interval leaves 2.5 % out at either end": partial(_other_ends, low=5, high=95),
        "np.percentile counts in percent: 2.5, not 0.025": partial(_other_ends, low=0.025, high=0.975),
        "percentiles are asked for, not the mean and two deviations": lambda values, clusters, picks: _bell(
            np.bincount(clusters, values)[picks].sum(1) / np.bincount(clusters)[picks].sum(1)
        ),
    },
)


# 4: a study that could fail.


def _chances(n: int, q: float) -> Array:
    return np.array([math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)])


def _votes_needed(share: float, tie: float, power: float, limit: int) -> int:
    noticed = []
    for m in range(limit + 1):
        uneven = np.abs(2 * np.arange(m + 1) - m)
        p = np.array([_chances(m, 0.5)[uneven >= u].sum() for u in uneven])
        noticed.append(_chances(m, share)[p <= 0.05].sum())
        if _chances(m, 1 - tie) @ np.array(noticed) >= power:
            return m
    return 0


def _one_sided(share: float, tie: float, power: float, limit: int) -> int:
    noticed = []
    for m in range(limit + 1):
        p = np.cumsum(_chances(m, 0.5)[::-1])[::-1]
        noticed.append(_chances(m, share)[p <= 0.05].sum())
        if _chances(m, 1 - tie) @ np.array(noticed) >= power:
            return m
    return 0


def _thinned(share: float, tie: float, power: float, limit: int) -> int:
    n = math.ceil(_votes_needed(share, 0.0, power, limit) / (1 - tie))
    return n if n <= limit else 0


def _is_plan(share: float, tie: float, power: float, limit: int) -> bool:
    """Whether it is a plan whose power is not just at the limit that is asked for."""
    fits = 0.5 < share < 1 and 0 <= tie < 1 and 0.1 < power < 0.99 and 0 < limit <= 40
    return fits and _votes_needed(share, tie, power - 1e-6, limit) == _votes_needed(share, tie, power + 1e-6, limit)


_EDGE = {"just within the limit": (0.9, 0.0, 0.8, 12), "just beyond it": (0.9, 0.0, 0.8, 11)}

check_votes = Answers(
    name="votes_needed",
    task="return the smallest number of votes with the power that is asked for, 0 if there is none up to the limit",
    solution=_votes_needed,
    cases={"a clear preference": (0.9, 0.0, 0.8, 30), "none within reach": (0.55, 0.0, 0.8, 20), **_EDGE},
    random=lambda rng, size: (
        float(rng.choice([0.8, 0.85, 0.9, 0.95])),
        float(rng.choice([0.0, 0.2, 0.4])),
        float(rng.choice([0.5, 0.8, 0.9])),
        20 + 5 * size,
    ),
    fair=_is_plan,
    traits={"ties": lambda share, tie, *_: tie > 0, "no ties": lambda share, tie, *_: tie == 0},
    mistakes={
        "the test is two-sided: a split as uneven the other way counts, too": _one_sided,
        "ties cost votes: given n votes, the number without ties is by chance": lambda share, tie, power, limit: (
            _votes_needed(share, 0.0, power, limit)
        ),
        "dividing by 1 - tie takes the mean number of ties for certain; weigh the chances of each number": _thinned,
        "the power is asked for, not its opposite": lambda share, tie, power, limit: _votes_needed(
            share, tie, 1 - power, limit
        ),
    },
    equivalent={
        "operands swapped: _chances(m, 1 - tie) @ np.array(noticed)": "a product of two vectors",
        "operands swapped: 2 * np.arange(m + 1) - m": "its size is taken",
        "at the limit: p <= 0.05": "multiples of a power of 1/2 are never just 0.05",
        "at the limit: _chances(m, 1 - tie) @ np.array(noticed) >= power": "no plan has just that power",
    },
)
