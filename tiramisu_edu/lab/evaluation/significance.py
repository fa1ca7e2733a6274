"""Is a difference larger than chance? One bootstrap over images for every interval in the tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ...errors import TiramisuError

RESAMPLES = 10_000
FEWEST = 8  # independent cases; a bootstrap of fewer is far too short
NO_INTERVAL = "[–]"
NOTE = f"{NO_INTERVAL}: fewer than {FEWEST} pictures are too few for a 95 % interval."


class Interval(NamedTuple):
    """A mean and its 95 % interval; f"{interval:+.3f}" prints all three.

    Attributes:
        mean: over all cases; for a list of differences a - b, by how much a is larger. NaN without cases.
        low, high: ends of the interval; NaN where `FEWEST` independent cases were not to be had, and printed as a dash.
            A difference is significant where 0 lies outside.
    """

    mean: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        ends = NO_INTERVAL if math.isnan(self.low) else f"[{self.low:{form}}, {self.high:{form}}]"
        return f"{shown(self.mean, form)} {ends}"


def shown(value: float, form: str) -> str:
    """A number as text; a dash for NaN, the mean of what applies to no picture."""
    return "–" if math.isnan(value) else f"{value:{form}}"


def interval(values: ArrayLike, clusters: ArrayLike | None = None) -> Interval:
    """The mean of values and its 95 % percentile-bootstrap interval, cases of one image being drawn together.

    mean* = sum_{c drawn} sum_{i in c} values_i / sum_{c drawn} |c|, clusters c drawn with replacement; the interval
    runs from the 2.5th to the 97.5th percentile of mean*.

    Several seeds or masks of one image are not independent cases. With the image's number as cluster, whole images are
    drawn; without it the interval would be too short. To compare two methods, give the differences case by case.

    Args:
        values: (N,) one number per case; those that are not finite are left out.
        clusters: (N,) equal for cases that belong together; None: every case stands alone.

    Raises:
        TiramisuError: for shapes that differ. Fewer clusters than `FEWEST` give no interval.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13. With 20 clusters
        or fewer the interval is somewhat too short (about 93 % instead of 95 %).
    """
    values = np.asarray(values, dtype=float)
    labels = np.arange(values.size) if clusters is None else np.asarray(clusters)
    if values.ndim != 1 or labels.shape != values.shape:
        raise TiramisuError(f"values and clusters must be two lists of the same cases: {values.shape}, {labels.shape}")
    applies = np.isfinite(values)
    cluster = np.unique(labels[applies], return_inverse=True)[1]
    sums, counts = np.bincount(cluster, values[applies]), np.bincount(cluster)
    if not len(counts):
        return Interval(math.nan, math.nan, math.nan)
    low, high = resampled(lambda s, n, axis: s.sum(axis) / n.sum(axis), sums, counts)
    return Interval(float(values[applies].mean()), float(low), float(high))


def resampled(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile-bootstrap interval of a statistic, the same cases being drawn from each sample.

    Args:
        statistic: samples (..., N) and `axis` -> their statistic; it may return several numbers.
        samples: (N,) each.

    Returns: NaN for N < `FEWEST`.
    """
    if len(samples[0]) < FEWEST:
        nothing = np.full_like(statistic(*samples, axis=-1), np.nan)
        return nothing, nothing
    options = {"n_resamples": RESAMPLES, "batch": 1_000, "rng": np.random.default_rng(0)}
    found = stats.bootstrap(samples, statistic, paired=True, vectorized=True, method="percentile", **options)
    return found.confidence_interval.low, found.confidence_interval.high
