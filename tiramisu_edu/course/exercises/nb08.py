"""Exercises of notebook 8, Tiramisu: replacement and back, two gradients, several opinions, the whole sampler."""

from __future__ import annotations

import numpy as np

from . import of_notebook

exercise = of_notebook(8)

check_back = exercise("back")
check_dps = exercise("dps_gradient")
check_nearest = exercise("nearest")
check_copaint = exercise("moved")
check_tiramisu = exercise("tiramisu")


def network_of_line(x_t: np.ndarray, a: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each pixel of x_0 given x_t, for a network that takes pixels as independent N(0, 1).

    Args:
        x_t: (D,).
        a: ᾱ, in (0, 1).
    """
    return np.sqrt(a) * x_t, np.full(len(x_t), 1 - a)


def circuit_of_line(x_t: np.ndarray, a: float, image: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same given the known pixels too, for a line of Gaussian pixels with correlation 0.8^|i - j|.

    Args:
        image: (D,), read where `known` (D,) is True. Known pixels have variance 1e-6.
    """
    place = np.arange(len(x_t))
    precision = np.linalg.inv(0.8 ** np.abs(place[:, None] - place)) + a / (1 - a) * np.eye(len(x_t))
    mean, variance = np.where(known, image, 0.0), np.full(len(x_t), 1e-6)
    covariance = np.linalg.inv(precision[~known][:, ~known])
    pull = np.sqrt(a) / (1 - a) * x_t - precision @ mean
    mean[~known], variance[~known] = covariance @ pull[~known], np.diag(covariance)
    return mean, variance
