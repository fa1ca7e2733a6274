"""The paper's guide in pixel space: a geometric mean of what the network and the circuit believe of each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .evidence import Moments, PixelCodebook
from .guide import CircuitGuide, calibrated_variance, draw_categories, draw_noise, observed
from .mixing import AlphaSchedule, gaussian_geometric_mean, gaussian_on_grid, geometric_mean

if TYPE_CHECKING:
    from ..diffusion.noise import Generators
    from ..diffusion.step import Step


@dataclass
class MixtureGuide(CircuitGuide):
    """The paper's guide: x_0 drawn from the geometric mean of p_DM and p_PC, pixel by pixel (sections 3 and 4).

        p(x_0) proportional to p_DM(x_0 | x_t)^alpha(t) p_PC(x_0 | x_t, known)^(1 - alpha(t))

    p_DM is a Gaussian around the denoiser's prediction with the calibrated variance Var[x_0 | x_t] (the published code
    uses the much smaller variance of one step instead). On grey levels both factors are tables; for continuous pixels
    p_PC is the Gaussian with the circuit's exact moments. Known pixels are set exactly.

    Args:
        fraction: 0.2, as in the paper.
        alpha: weight of the denoiser over the steps. Where it is 1 and nothing is drawn, the step is left alone.
        draw: sample x_0, as published; otherwise take the mean of the mixture.
        generator: for the draw, one or one per image; None is torch's default generator.
    """

    fraction: float = 0.2
    alpha: AlphaSchedule = field(default_factory=AlphaSchedule)
    draw: bool = True
    generator: Generators | None = None

    def steer(self, step: Step) -> Tensor:
        alpha = self.alpha(step.index, step.num_steps)
        seen = observed(step)
        marginals, moments = self.posterior(seen)
        self.circuit_mean = moments.mean
        if alpha == 1 and not self.draw:
            return step.prediction.x_0
        variance = calibrated_variance(step)
        if isinstance(self.codebook, PixelCodebook):
            levels = self.codebook.levels.to(step.x_t)
            log_dm = gaussian_on_grid(step.prediction.x_0.flatten(1), variance, levels)
            mixed = geometric_mean(log_dm, marginals.log(), alpha).exp()
            if self.draw:
                x_0 = self.codebook.image(draw_categories(mixed, self.generator), step.image.shape)
            else:
                x_0 = self.codebook.moments(mixed, seen).mean
        else:
            dm = Moments(step.prediction.x_0, torch.full_like(moments.variance, variance))
            mean, spread = gaussian_geometric_mean(dm, moments, alpha)
            noise = spread.sqrt() * draw_noise(mean, self.generator) if self.draw else 0
            x_0 = (mean + noise).clamp(-1, 1)
        return torch.where(step.known, step.image, x_0.to(step.x_t))
