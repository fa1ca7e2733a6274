"""The paper's mixture: a weighted geometric mean of two distributions of each pixel, on the grid of grey levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


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


def gaussian_on_grid(mean: Tensor, variance: float | Tensor, levels: Tensor) -> Tensor:
    """log a_i(v), proportional to -(g_v - mean_i)^2 / (2 variance) and normalised over the levels.

    Args:
        mean: (B, D).
        variance: positive; a number or (B, D).
        levels: (C,).

    Returns:
        (B, D, C).
    """
    variance = torch.as_tensor(variance, dtype=mean.dtype, device=mean.device).expand(mean.shape)[..., None]
    return torch.log_softmax(-((levels - mean[..., None]) ** 2) / (2 * variance), -1)


def geometric_mean(log_a: Tensor, log_b: Tensor, alpha: float) -> Tensor:
    """log p(v) = alpha log a(v) + (1 - alpha) log b(v) - log Z, per pixel.

    Values impossible under either factor of positive weight stay impossible; at alpha = 1 or 0 the other factor has no
    say at all.
    """
    if alpha in (0.0, 1.0):
        return torch.log_softmax(log_a if alpha == 1.0 else log_b, -1)
    return torch.log_softmax(alpha * log_a + (1 - alpha) * log_b, -1)
