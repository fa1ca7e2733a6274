"""Weighted means of the network's and the circuit's clean image: by precision, or with learned weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...diffusion.step import Step
from ..beyond.difference import WeightTable
from ..evidence import Moments
from ..guide import CircuitGuide, calibrated_variance, observed
from ..mixture import ONE_LEVEL


@dataclass
class BlendGuide(CircuitGuide):
    """x_0 = x_DM + w (x_PC - x_DM), pixel by pixel; known pixels are set exactly.

    Args:
        fraction: 1, all steps.
    """

    fraction: float = 1.0

    def steer(self, step: Step) -> Tensor:
        seen = observed(step)
        moments = self.codebook.moments(self.posterior(seen), seen)
        self.circuit_mean = moments.mean
        x_dm = step.prediction.x_0
        blend = x_dm + self.weight(step, moments) * (moments.mean - x_dm)
        return torch.where(step.known, step.image, blend.to(x_dm))

    @abstractmethod
    def weight(self, step: Step, moments: Moments) -> Tensor:
        """w, (B, C, H, W) in [0, 1]: 0 is the network's image, 1 the circuit's."""


@dataclass
class PrecisionGuide(BlendGuide):
    """Weights by precision, w = r^2 / (r^2 + s^2), as for two independent measurements of one pixel.

    r^2 is the denoiser's calibrated Var[x_0 | x_t], s^2 the circuit's exact Var[x_0 | x_t, known]. Beyond the paper,
    whose weight 1 - alpha is the same number for every pixel.
    """

    def weight(self, step: Step, moments: Moments) -> Tensor:
        r2 = max(calibrated_variance(step), ONE_LEVEL)
        return r2 / (r2 + moments.variance.clamp_min(ONE_LEVEL))


@dataclass
class LearnedGuide(BlendGuide):
    """w read from a table fitted on validation images by `lab.recipes.guide_weights`. Beyond the paper.

    Args:
        table: w by noise level and circuit variance.
    """

    table: WeightTable = field(kw_only=True)

    def weight(self, step: Step, moments: Moments) -> Tensor:
        return self.table(step.alpha_bar, moments.variance)
