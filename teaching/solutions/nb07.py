"""Notebook 7: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import math

import numpy as np

from . import Answers

# 1: noise.

_X = np.array([-1.0, 0.5, 1.0])

_E = np.array([0.3, -1.2, 0.8])

check_noisy = Answers(
    name="noisy",
    task="return sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε",
    solution=lambda x_0, alpha_bar, epsilon: math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * epsilon,
    cases={"half signal": (_X, 0.5, _E), "mostly noise": (_X, 0.04, _E), "mostly signal": (_X, 0.91, _E)},
    mistakes={
        "ᾱ is the share of the signal's variance: the picture itself is multiplied by its root": lambda x_0, alpha_bar, epsilon: (  # noqa: E501
            alpha_bar * x_0 + (1 - alpha_bar) * epsilon
        ),
        "the noise grows as the picture fades: its factor is sqrt(1 - ᾱ)": lambda x_0, alpha_bar, epsilon: (
            math.sqrt(alpha_bar) * x_0 + epsilon
        ),
        "the variances add up to 1, not the factors: sqrt(1 - ᾱ), not 1 - sqrt(ᾱ)": lambda x_0, alpha_bar, epsilon: (
            math.sqrt(alpha_bar) * x_0 + (1 - math.sqrt(alpha_bar)) * epsilon
        ),
        "picture and noise are swapped: ᾱ near 1 is nearly clean": lambda x_0, alpha_bar, epsilon: (
            math.sqrt(1 - alpha_bar) * x_0 + math.sqrt(alpha_bar) * epsilon
        ),
    },
)


# 2: the clean picture from v.

check_clean = Answers(
    name="clean",
    task="return sqrt(ᾱ) x_t - sqrt(1 - ᾱ) v",
    solution=lambda x_t, v, alpha_bar: math.sqrt(alpha_bar) * x_t - math.sqrt(1 - alpha_bar) * v,
    cases={"half signal": (_X, _E, 0.5), "mostly noise": (2 * _E, _X, 0.1), "mostly signal": (_X, _E, 0.84)},
    mistakes={
        "this is ε, the other half of the answer: for x_0 the roots change places": lambda x_t, v, alpha_bar: (
            math.sqrt(1 - alpha_bar) * x_t + math.sqrt(alpha_bar) * v
        ),
        "v is subtracted: put v = sqrt(ᾱ) ε - sqrt(1 - ᾱ) x_0 in, and the ε cancel": lambda x_t, v, alpha_bar: (
            math.sqrt(alpha_bar) * x_t + math.sqrt(1 - alpha_bar) * v
        ),
        "this would be right if the network predicted ε; it predicts v": lambda x_t, v, alpha_bar: (
            (x_t - math.sqrt(1 - alpha_bar) * v) / math.sqrt(alpha_bar)
        ),
    },
)


# 3: whose error is it?

check_own_share = Answers(
    name="own_share",
    task="return the mean of (f - m)² divided by its sum with the mean of (m - x_0)²",
    solution=lambda f, m, x_0: ((f - m) ** 2).mean() / (((f - m) ** 2).mean() + ((m - x_0) ** 2).mean()),
    cases={
        "a fair network": (np.array([0.5, -0.2, 0.1]), np.array([0.4, -0.4, 0.2]), np.array([1.0, -1.0, -1.0])),
        "a perfect one": (np.array([0.4, -0.4]), np.array([0.4, -0.4]), np.array([1.0, -1.0])),
        "a bad one": (np.array([1.0, 1.0, -1.0]), np.array([-0.5, 0.2, 0.3]), np.array([-1.0, 1.0, 0.0])),
    },
    mistakes={
        "this is the share that no network could avoid; its own share is the rest": lambda f, m, x_0: (
            ((m - x_0) ** 2).mean() / (((f - m) ** 2).mean() + ((m - x_0) ** 2).mean())
        ),
        "compare with the whole error, own and unavoidable, not with the unavoidable one": lambda f, m, x_0: (
            ((f - m) ** 2).mean() / ((m - x_0) ** 2).mean()
        ),
        "squares add up, absolute values do not": lambda f, m, x_0: (
            np.abs(f - m).mean() / (np.abs(f - m).mean() + np.abs(m - x_0).mean())
        ),
        "f - x_0 is not the network's own error: x_0 cannot be known from x_t, m is the best guess": lambda f, m, x_0: (
            ((f - x_0) ** 2).mean() / (((f - x_0) ** 2).mean() + ((m - x_0) ** 2).mean())
        ),
    },
)


# 4: a DDIM step.


def _step(x_t: np.ndarray, x_0: np.ndarray, now: float, after: float) -> np.ndarray:
    epsilon = (x_t - math.sqrt(now) * x_0) / math.sqrt(1 - now)
    return math.sqrt(after) * x_0 + math.sqrt(1 - after) * epsilon


check_ddim = Answers(
    name="ddim_step",
    task="solve for ε, then mix x_0 and ε again at ᾱ_{t-1}",
    solution=_step,
    cases={
        "half way": (np.array([0.5, -1.0]), np.array([1.0, -1.0]), 0.5, 0.7),
        "the first step": (np.array([1.5, 0.2]), np.array([0.1, -0.1]), 0.001, 0.04),
        "the last step": (np.array([0.9, -0.7]), np.array([0.9, -0.8]), 0.96, 1.0),
    },
    mistakes={
        "this jumps to the prediction; only the last step does": lambda x_t, x_0, now, after: x_0,
        "ε is mixed at the new level, sqrt(1 - ᾱ_{t-1}): yours keeps the old noise": lambda x_t, x_0, now, after: (
            math.sqrt(after) * x_0 + x_t - math.sqrt(now) * x_0
        ),
        "what is left of x_t is sqrt(1 - ᾱ_t) ε: divide to get ε": lambda x_t, x_0, now, after: (
            math.sqrt(after) * x_0 + math.sqrt(1 - after) * (x_t - math.sqrt(now) * x_0)
        ),
        "the two levels are swapped: x_t lies at ᾱ_t, the result at ᾱ_{t-1}": lambda x_t, x_0, now, after: (
            math.sqrt(now) * x_0
            + math.sqrt(1 - now) * (x_t - math.sqrt(after) * x_0) / math.sqrt(max(1 - after, 1e-12))
        ),
    },
)
