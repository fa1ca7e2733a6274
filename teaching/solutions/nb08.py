"""Notebook 8: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from tiramisu_edu.course.checks import normalised

from . import Answers

# 1: soft evidence.


def _soft_evidence(x_t: float, alpha_bar: float, levels: ArrayLike) -> np.ndarray:
    """w(v) of one hidden pixel: the density N(x_t; sqrt(ᾱ) g_v, 1 − ᾱ) up to a factor, (C,)."""
    distance = x_t - math.sqrt(alpha_bar) * np.asarray(levels)
    return np.exp(-(distance**2) / (2 * (1 - alpha_bar)))


_LEVELS = np.array([-1.0, 0.0, 1.0])

check_weights = Answers(
    name="soft_evidence",
    task="return exp(-(x_t - sqrt(ᾱ) g_v)² / (2 (1 - ᾱ))) for every level g_v",
    solution=_soft_evidence,
    cases={
        "half signal": (0.5, 0.5, _LEVELS),
        "mostly noise": (1.2, 0.1, _LEVELS),
        "mostly signal": (-0.4, 0.8, np.array([-1.0, -0.5, 0.0, 0.5, 1.0])),
    },
    view=normalised,
    mistakes={
        "x_t is a noisy copy of sqrt(ᾱ) g_v, not of g_v: shrink the levels first": lambda x_t, alpha_bar, levels: (
            np.exp(-((x_t - levels) ** 2) / (2 * (1 - alpha_bar)))
        ),
        "the variance of the noise is 1 - ᾱ; ᾱ is the share of the signal": lambda x_t, alpha_bar, levels: np.exp(
            -((x_t - math.sqrt(alpha_bar) * levels) ** 2) / (2 * alpha_bar)
        ),
        "1 - ᾱ is already a variance: do not square it": lambda x_t, alpha_bar, levels: np.exp(
            -((x_t - math.sqrt(alpha_bar) * levels) ** 2) / (2 * (1 - alpha_bar) ** 2)
        ),
        "the square of the distance belongs into the exponent": lambda x_t, alpha_bar, levels: np.exp(
            -np.abs(x_t - math.sqrt(alpha_bar) * levels) / (2 * (1 - alpha_bar))
        ),
    },
)


# 2: the paper's mixture.


def _geometric_mean(a: ArrayLike, b: ArrayLike, alpha: float) -> np.ndarray:
    return normalised(np.asarray(a) ** alpha * np.asarray(b) ** (1 - alpha))


check_mixture = Answers(
    name="mixture",
    task="return a(v)^α b(v)^(1 - α) for every v, divided by its sum",
    solution=_geometric_mean,
    cases={
        "equal weights": (np.array([0.2, 0.8]), np.array([0.5, 0.5]), 0.5),
        "mostly a": (np.array([0.1, 0.2, 0.7]), np.array([0.6, 0.3, 0.1]), 0.8),
        "b excludes a value": (np.array([0.3, 0.3, 0.4]), np.array([0.0, 0.5, 0.5]), 0.25),
    },
    mistakes={
        "divide by the sum over v: a distribution adds up to one": lambda a, b, alpha: a**alpha * b ** (1 - alpha),
        "this is the arithmetic mean, αa + (1 - α)b; the geometric one multiplies powers": lambda a, b, alpha: (
            alpha * a + (1 - alpha) * b
        ),
        "the exponents are swapped: α belongs to a, the diffusion model": lambda a, b, alpha: _geometric_mean(
            a, b, 1 - alpha
        ),
        "a product without the exponents counts both opinions in full": lambda a, b, alpha: normalised(a * b),
    },
)


# 3: Tweedie's formula.

check_score = Answers(
    name="score",
    task="return the gradient of log p(x_t): (sqrt(ᾱ) E[x_0 | x_t] - x_t) / (1 - ᾱ)",
    solution=lambda x_t, mean, alpha_bar: (math.sqrt(alpha_bar) * mean - x_t) / (1 - alpha_bar),
    cases={
        "half signal": (np.array([0.5, -1.0]), np.array([0.8, -0.9]), 0.5),
        "mostly noise": (np.array([1.5, 0.2]), np.array([0.1, 0.0]), 0.05),
        "mostly signal": (np.array([0.9, -0.7]), np.array([1.0, -0.8]), 0.9),
    },
    mistakes={
        "the gradient points from x_t to the shrunken mean: yours has the opposite sign": lambda x_t, mean, alpha_bar: (
            (x_t - math.sqrt(alpha_bar) * mean) / (1 - alpha_bar)
        ),
        "x_t is a noisy copy of sqrt(ᾱ) x_0: shrink the mean by sqrt(ᾱ)": lambda x_t, mean, alpha_bar: (
            (mean - x_t) / (1 - alpha_bar)
        ),
        "divide by the variance of the noise, 1 - ᾱ, not by its root": lambda x_t, mean, alpha_bar: (
            (math.sqrt(alpha_bar) * mean - x_t) / math.sqrt(1 - alpha_bar)
        ),
    },
)


# 4: noise that fits the steered picture.

check_epsilon = Answers(
    name="consistent_epsilon",
    task="solve x_t = sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε for ε",
    solution=lambda x_t, x_0, alpha_bar: (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar),
    cases={
        "half signal": (np.array([0.5, -1.0]), np.array([1.0, -1.0]), 0.5),
        "mostly noise": (np.array([1.5, 0.2]), np.array([0.3, -0.3]), 0.04),
        "mostly signal": (np.array([0.9, -0.7]), np.array([0.9, -0.9]), 0.84),
    },
    mistakes={
        "ε is what is left after x_0, divided by sqrt(1 - ᾱ), a standard deviation; you divided by the variance": (
            lambda x_t, x_0, alpha_bar: (x_t - math.sqrt(alpha_bar) * x_0) / (1 - alpha_bar)
        ),
        "only sqrt(ᾱ) x_0 of the picture is in x_t": lambda x_t, x_0, alpha_bar: (x_t - x_0) / math.sqrt(1 - alpha_bar),
        "x_0 enters with sqrt(ᾱ), not with ᾱ": lambda x_t, x_0, alpha_bar: (
            (x_t - alpha_bar * x_0) / math.sqrt(1 - alpha_bar)
        ),
        "this is still multiplied by sqrt(1 - ᾱ): divide by it": lambda x_t, x_0, alpha_bar: (
            x_t - math.sqrt(alpha_bar) * x_0
        ),
    },
)


# 5: what an interval allows to say.

check_verdict = Answers(
    name="verdict",
    task='return "better", "worse" or "open" from the interval of steered minus plain, where more is better',
    solution=lambda low, high: "better" if low > 0 else "worse" if high < 0 else "open",
    cases={
        "all above 0": (0.02, 0.10),
        "all below 0": (-0.08, -0.01),
        "around 0, leaning up": (-0.01, 0.09),
        "around 0, leaning down": (-0.09, 0.01),
    },
    mistakes={
        "a mean above 0 is not enough: when the interval covers 0, chance explains it": lambda low, high: (
            "better" if low + high > 0 else "worse"
        ),
        "more is better here: an interval above 0 speaks for the steered sampler": lambda low, high: (
            "worse" if low > 0 else "better" if high < 0 else "open"
        ),
        "an interval below 0 is a verdict too: steering did harm": lambda low, high: "better" if low > 0 else "open",
        "one end above 0 is not enough: both ends must lie on the same side": lambda low, high: (
            "better" if high > 0 else "worse"
        ),
    },
)
