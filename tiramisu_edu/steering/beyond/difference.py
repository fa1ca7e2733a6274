"""The exact guide: what conditioning changes in the circuit's posterior mean, added to the network's prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...diffusion.step import Step
from ...errors import TiramisuError
from ...files import loaded, save_safetensors
from ..evidence import Observation
from ..guide import CircuitGuide, observed

KIND, VERSION = "guide weights", 1


@dataclass(frozen=True)
class WeightTable:
    """w as a table over the noise level and the circuit's variance.

    Args:
        log_snr: (L,) rising, log(a / (1 - a)) at which the rows were fitted; a step reads the nearest row.
        edges: (V - 1,) rising, between the V bins of the circuit's variance.
        weights: (L, V) in [0, 1].
        facts: what is known of their making; `save` takes its own.
    """

    log_snr: Tensor
    edges: Tensor
    weights: Tensor
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name, axis in (("log_snr", self.log_snr), ("edges", self.edges)):
            rises = axis.is_floating_point() and bool(axis.isfinite().all() & (axis.diff() > 0).all())
            if axis.ndim != 1 or not rises:
                raise TiramisuError(f"{name} must be rising numbers, one row")
        expected = len(self.log_snr), len(self.edges) + 1
        inside = self.weights.is_floating_point() and bool(((self.weights >= 0) & (self.weights <= 1)).all())
        if tuple(self.weights.shape) != expected or not inside:
            raise TiramisuError(f"weights must be numbers in [0, 1] of shape {expected}")

    def row(self, alpha_bar: float) -> Tensor:
        """w of each bin of the circuit's variance at that signal level, (V,)."""
        log_snr = float(torch.logit(torch.tensor(alpha_bar, dtype=torch.float64)))
        return self.weights[int((self.log_snr - log_snr).abs().argmin())]

    def __call__(self, alpha_bar: float, variance: Tensor) -> Tensor:
        """w of each pixel at that signal level, of the shape of `variance`."""
        return self.row(alpha_bar).to(variance)[torch.bucketize(variance, self.edges.to(variance))]

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
        with loaded(path, kind=KIND, version=VERSION) as (tensors, metadata):
            return cls(tensors["log_snr"], tensors["edges"], tensors["weights"], metadata.get("facts", {}))


@dataclass
class DifferenceGuide(CircuitGuide):
    """Adds to the denoiser's prediction the change of the circuit's posterior mean caused by conditioning.

        x_0 = f(x_t) + w (E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t])

    The score of p(x_t | known) is the score of p(x_t) plus grad log p(known | x_t). The denoiser gives the first; the
    circuit gives the second exactly, since by Tweedie's formula it is sqrt(a) / (1 - a) times the difference of these
    two posterior means. Errors that the circuit makes in both means cancel. Beyond the paper.

    w multiplies grad log p(known | x_t), so it means the same for any number of steps, if the noise is consistent: with
    d the difference, a step to the level a' < 1 then moves x_{t-1}, beside the unguided step, by

        DDIM:       ( sqrt(a') - sqrt(1 - a') sqrt(a / (1 - a)) ) w d
        ancestral:  beta sqrt(a') / (1 - a) w d,   beta = 1 - a / a'

    Both factors vanish as a' -> a, at the rate of the step, so more steps add up to the same path. With raw noise the
    factor is sqrt(a'), which does not vanish: each step adds the whole correction anew. At t / T = 1/2 of the cosine
    schedule this is 2, 4, 30 and 65 times as much at 6, 12, 100 and 250 steps.

    Args:
        fraction: 1, all steps.
        consistent_noise: True, as the derivation requires.
        strength: w. 1 is the derivation's value, right for a circuit that is right. Calibrated, a table by noise
            level (the mean over its bins), fitted by least squares on noised validation images
            (`lab.recipes.guide_weights`): 1 in pure noise, and less where little noise is left. There the network's
            prediction already contains nearly all that the known pixels could add, and most of the difference is the
            circuit's error.
        demand: (D, C) or (B, D, C) log weights that count as known beside the known pixels: of `steering.fusion`.
    """

    fraction: float = 1.0
    strength: float | WeightTable = 1.0
    demand: Tensor | None = field(default=None, kw_only=True)
    consistent_noise: bool = field(default=True, kw_only=True)

    def steer(self, step: Step) -> Tensor:
        conditioned, plain = self.means(observed(step))
        self.circuit_mean = conditioned
        strength = self.strength
        w = strength if isinstance(strength, (int, float)) else float(strength.row(step.alpha_bar).mean())
        return (step.prediction.x_0 + w * (conditioned - plain)).clamp(-1, 1)

    def means(self, seen: Observation) -> tuple[Tensor, Tensor]:
        """E[x_0 | x_t, known and demand], and E[x_0 | x_t]."""
        self.count("circuit passes", 2)  # in one call
        both = seen.with_and_without_known()
        log_weights = self.codebook.log_noisy(both)
        log_weights[: len(seen.x_t)] += self.log_known(seen)
        if self.demand is not None:
            log_weights[: len(seen.x_t)] += self.demand.to(log_weights)
        conditioned, plain = self.codebook.mean(self.circuit.posterior_marginals(log_weights), both).chunk(2)
        return conditioned, plain
