"""The paper's mixture: a weighted geometric mean of two distributions of each pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .evidence import Moments

ONE_LEVEL = (1 / 127.5) ** 2
"""Variance floor: the distance of two of 256 grey levels, squared. Less would claim more than an image can hold."""


@dataclass(frozen=True)
class AlphaSchedule:
    """Weight of the diffusion model, alpha(t) = a + (b - a) exp(-decay t / T).

    As published for inpainting (Liu et al. 2024, appendix): a = 0.8, b = 1, decay = 2, so alpha rises from 0.83 at
    the noisiest step towards 1 at the cleanest.
    """

    a: float = 0.8
    b: float = 1.0
    decay: float = 2.0

    def __call__(self, index: int, num_steps: int) -> float:
        return self.a + (self.b - self.a) * math.exp(-self.decay * index / num_steps)


def gaussian_on_grid(mean: Tensor, variance: float | Tensor, levels: Tensor, *, truncation: float = math.inf) -> Tensor:
    """log a_i(v), proportional to -(g_v - mean_i)^2 / (2 variance) and normalised over the levels.

    Args:
        mean: (B, D).
        variance: positive; a number or (B, D).
        levels: (C,).
        truncation: levels further than so many standard deviations from the mean have probability 0, the nearest
            level excepted.

    Returns:
        (B, D, C).
    """
    variance = torch.as_tensor(variance, dtype=mean.dtype, device=mean.device).expand(mean.shape)[..., None]
    square = (levels - mean[..., None]) ** 2 / variance
    out = square > square.amin(-1, keepdim=True).clamp_min(truncation**2)
    return torch.log_softmax((-square / 2).masked_fill(out, -torch.inf), -1)


def geometric_mean(log_a: Tensor, log_b: Tensor, alpha: float) -> Tensor:
    """log p(v) = alpha log a(v) + (1 - alpha) log b(v) - log Z, per pixel.

    Values impossible under either factor of positive weight stay impossible; at alpha = 1 or 0 the other factor has no
    say at all.
    """
    if alpha in (0.0, 1.0):
        return torch.log_softmax(log_a if alpha == 1.0 else log_b, -1)
    return torch.log_softmax(alpha * log_a + (1 - alpha) * log_b, -1)


def gaussian_geometric_mean(a: Moments, b: Moments, alpha: float) -> Moments:
    """Moments of N_a^alpha N_b^(1 - alpha), normalised: precisions add with their weights.

        1 / variance = alpha / var_a + (1 - alpha) / var_b,   mean = variance (alpha mean_a / var_a + ...)

    Variances below `ONE_LEVEL` count as that.
    """
    of_a, of_b = alpha / a.variance.clamp_min(ONE_LEVEL), (1 - alpha) / b.variance.clamp_min(ONE_LEVEL)
    variance = 1 / (of_a + of_b)
    return Moments(variance * (of_a * a.mean + of_b * b.mean), variance)
