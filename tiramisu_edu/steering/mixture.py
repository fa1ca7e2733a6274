"""The paper's guide in pixel space: a weighted geometric mean of p_DM and p_PC of each pixel (sections 3 and 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..diffusion.noise import Generators, categorical, standard_normal
from ..diffusion.step import Step
from .evidence import Moments, PixelCodebook
from .guide import CircuitGuide, calibrated_variance, observed

ONE_LEVEL = (1 / 127.5) ** 2
"""Variance floor: the squared distance of two of 256 grey levels."""


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


@dataclass
class MixtureGuide(CircuitGuide):
    """The paper's guide: x_0 drawn from the geometric mean of p_DM and p_PC, pixel by pixel.

        p(x_0) proportional to p_DM(x_0 | x_t)^alpha(t) p_PC(x_0 | x_t, known)^(1 - alpha(t))

    p_DM is a Gaussian around the denoiser's prediction with the calibrated variance Var[x_0 | x_t] (the published code
    uses the much smaller variance of one step instead). On grey levels both factors are tables; for continuous pixels
    p_PC is the Gaussian with the circuit's exact moments. Known pixels are set exactly.

    Args:
        fraction: 0.2, as in the paper.
        alpha: weight of the denoiser over the steps. Where it is 1 and nothing is drawn, x_0 is not changed.
        draw: sample x_0, as published; otherwise take the mean of the mixture.
        generator: for the draw, one or one per image; None is torch's default generator.
    """

    uses_variance = True
    fraction: float = 0.2
    alpha: AlphaSchedule = field(default_factory=AlphaSchedule)
    draw: bool = True
    generator: Generators | None = None

    def steer(self, step: Step) -> Tensor:
        alpha = self.alpha(step.index, step.num_steps)
        seen, x_dm = observed(step), step.prediction.x_0
        marginals = self.posterior(seen)
        pc = self.codebook.moments(marginals, seen)
        self.circuit_mean = pc.mean
        if alpha == 1 and not self.draw:
            return x_dm
        if isinstance(self.codebook, PixelCodebook):
            levels = self.codebook.levels.to(step.x_t)
            log_dm = gaussian_on_grid(x_dm.flatten(1), calibrated_variance(step), levels)
            mixed = geometric_mean(log_dm, marginals.log(), alpha)
            x_0 = level_of(mixed, levels, self.draw, self.generator).view_as(x_dm)
        else:
            x_0 = gaussian_mixture(step, pc, alpha, self.draw, self.generator)
        return torch.where(step.known, step.image, x_0.to(step.x_t))


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

    A value that is impossible under a factor of positive weight stays impossible. At alpha = 1 or 0 the factor of
    weight 0 is ignored.
    """
    if alpha in (0.0, 1.0):
        return torch.log_softmax(log_a if alpha == 1.0 else log_b, -1)
    return torch.log_softmax(alpha * log_a + (1 - alpha) * log_b, -1)


def gaussian_geometric_mean(a: Moments, b: Moments, alpha: float) -> Moments:
    """Moments of N_a^alpha N_b^(1 - alpha), normalised: precisions add with their weights.

        1 / variance = alpha / var_a + (1 - alpha) / var_b,   mean = variance (alpha mean_a / var_a + ...)

    Variances below `ONE_LEVEL` are raised to it.
    """
    of_a, of_b = alpha / a.variance.clamp_min(ONE_LEVEL), (1 - alpha) / b.variance.clamp_min(ONE_LEVEL)
    variance = 1 / (of_a + of_b)
    return Moments(variance * (of_a * a.mean + of_b * b.mean), variance)


def gaussian_mixture(
    step: Step, pc: Moments, alpha: float, draw: bool, generator: Generators | None, limit: float = 1.0
) -> Tensor:
    """x_0 from p_DM^alpha p_PC^(1 - alpha), both Gaussians: a draw of each pixel, or its mean; in [-limit, limit].

    p_DM is the denoiser's prediction with its calibrated variance.
    """
    x_dm = step.prediction.x_0
    dm = Moments(x_dm, torch.full_like(x_dm, calibrated_variance(step)))
    mean, variance = gaussian_geometric_mean(dm, pc, alpha)
    return (mean + variance.sqrt() * standard_normal(mean, generator) if draw else mean).clamp(-limit, limit)


def level_of(log_p: Tensor, levels: Tensor, draw: bool, generator: Generators | None) -> Tensor:
    """A draw of each pixel from log probabilities (B, D, C) of the levels (C,), or its mean: (B, D)."""
    p = log_p.exp()
    return levels[categorical(p, generator)] if draw else p @ levels.to(p)
