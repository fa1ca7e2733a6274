"""Weighted means of the network's and the circuit's clean image: by precision, or by weights that were learned."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import FileError
from ..files import load_safetensors, save_safetensors
from .evidence import Moments
from .guide import CircuitGuide, calibrated_variance, observed
from .mixing import ONE_LEVEL

if TYPE_CHECKING:
    from ..diffusion.step import Step

KIND, VERSION = "guide weights", 1


@dataclass
class BlendGuide(CircuitGuide):
    """x_0 = x_DM + w (x_PC - x_DM), pixel by pixel; known pixels are set exactly.

    Args:
        fraction: 1, all steps.
    """

    fraction: float = 1.0

    def steer(self, step: Step) -> Tensor:
        _, moments = self.posterior(observed(step))
        self.circuit_mean = moments.mean
        x_dm = step.prediction.x_0
        blend = x_dm + self.weight(step, moments) * (moments.mean - x_dm)
        return torch.where(step.known, step.image, blend.to(x_dm))

    @abstractmethod
    def weight(self, step: Step, moments: Moments) -> Tensor:
        """w (B, C, H, W) in [0, 1], how far to go from the network's image to the circuit's."""


@dataclass
class PrecisionGuide(BlendGuide):
    """Each side counts by its precision, w = r^2 / (r^2 + s^2): two independent measurements of one pixel, combined.

    r^2 is the denoiser's calibrated Var[x_0 | x_t], s^2 the circuit's exact Var[x_0 | x_t, known]. Beyond the paper,
    whose weight 1 - alpha is the same number for every pixel.
    """

    def weight(self, step: Step, moments: Moments) -> Tensor:
        r2 = max(calibrated_variance(step), ONE_LEVEL)
        return r2 / (r2 + moments.variance.clamp_min(ONE_LEVEL))


@dataclass(frozen=True)
class WeightTable:
    """w as a table over the noise level and the circuit's variance.

    Args:
        log_snr: (L,) rising, log(a / (1 - a)) at which the rows were fitted; a step reads the nearest row.
        edges: (V - 1,) rising, between the V bins of the circuit's variance.
        weights: (L, V) in [0, 1].
    """

    log_snr: Tensor
    edges: Tensor
    weights: Tensor

    def __call__(self, alpha_bar: float, variance: Tensor) -> Tensor:
        """w of each pixel at that signal level, of the shape of `variance`."""
        log_snr = float(torch.logit(torch.tensor(alpha_bar, dtype=torch.float64)))
        row = int((self.log_snr - log_snr).abs().argmin())
        column = torch.bucketize(variance, self.edges.to(variance))
        return self.weights[row].to(variance)[column]

    def save(self, path: str | Path, **facts: object) -> None:
        """Write the table to one safetensors file, atomically."""
        tensors = {"log_snr": self.log_snr, "edges": self.edges, "weights": self.weights}
        save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata={"facts": facts})

    @classmethod
    def load(cls, path: str | Path) -> WeightTable:
        """The table that `save` wrote.

        Raises:
            FileError: when the file is no such table.
        """
        tensors, _ = load_safetensors(path, kind=KIND, version=VERSION)
        try:
            return cls(tensors["log_snr"], tensors["edges"], tensors["weights"])
        except KeyError as error:
            raise FileError(f"{path} holds no guide weights: {error} is missing") from None


@dataclass
class LearnedGuide(BlendGuide):
    """w read from a table fitted on validation images by `fit_weights.fit_weights`. Beyond the paper.

    Args:
        table: w by noise level and circuit variance.
    """

    table: WeightTable = field(kw_only=True)

    def weight(self, step: Step, moments: Moments) -> Tensor:
        return self.table(step.alpha_bar, moments.variance)
