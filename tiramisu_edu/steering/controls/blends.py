"""Weighted means of the network's and the circuit's clean image: by precision, or with learned weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...diffusion.step import Step
from ..beyond.difference import WeightTable
from ..guide import CircuitGuide, calibrated_variance, observed
from ..mixture import ONE_LEVEL


@dataclass
class BlendGuide(CircuitGuide):
    """x_0 = x_DM + w (x_PC - x_DM), pixel by pixel; known pixels are set exactly. Beyond the paper.

        w = r^2 / (r^2 + s^2)    by precision, as for two independent measurements of one pixel

    r^2 is the denoiser's calibrated Var[x_0 | x_t], s^2 the circuit's exact Var[x_0 | x_t, known]. In the paper the
    weight is the same number 1 - alpha for every pixel.

    Args:
        fraction: 1, all steps.
        table: w by noise level and circuit variance, fitted on validation images by `lab.recipes.guide_weights`; None:
            by precision.
    """

    uses_variance = True
    fraction: float = 1.0
    table: WeightTable | None = None

    def steer(self, step: Step) -> Tensor:
        seen, x_dm = observed(step), step.prediction.x_0
        pc = self.codebook.moments(self.posterior(seen), seen)
        self.circuit_mean = pc.mean
        if self.table is None:
            r2 = max(calibrated_variance(step), ONE_LEVEL)
            w = r2 / (r2 + pc.variance.clamp_min(ONE_LEVEL))
        else:
            w = self.table(step.alpha_bar, pc.variance)
        blend = x_dm + w * (pc.mean - x_dm)
        return torch.where(step.known, step.image, blend.to(x_dm))
