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


check_weights = Answers(
    solution=_soft_evidence,
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
    solution=_geometric_mean,
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
    solution=lambda x_t, mean, alpha_bar: (math.sqrt(alpha_bar) * mean - x_t) / (1 - alpha_bar),
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
    solution=lambda x_t, x_0, alpha_bar: (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar),
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
    solution=lambda low, high: "better" if low > 0 else "worse" if high < 0 else "open",
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
