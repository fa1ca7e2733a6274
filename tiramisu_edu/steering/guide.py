"""What every guide is: asked at the first steps for a clean prediction, and counting what it costs.

A guide is called with a sampler's `Step` and returns the clean prediction to step with. It never asks which sampler
called it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..errors import TiramisuError
from .evidence import Moments, Observation

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..diffusion.noise import Generators
    from ..diffusion.step import Step


class Codebook(Protocol):
    """Pixels to evidence and back: `PixelCodebook` or `PatchCodebook`."""

    def log_weights(self, seen: Observation) -> Tensor: ...

    def log_scale(self, seen: Observation) -> Tensor: ...

    def log_likelihoods(self, image: Tensor, region: Tensor) -> Tensor: ...

    def moments(self, marginals: Tensor, seen: Observation) -> Moments: ...


class Guide(ABC):
    """Changes the clean prediction at the noisiest `fraction` of the steps, and hands it back untouched at the others.

    Attributes:
        fraction: of the steps, in [0, 1].
        consistent_noise: how a sampler steps from the new x_0. False keeps the network's raw ε, as published; True
            takes the ε that x_0 and x_t imply, (x_t - sqrt(a) x_0) / sqrt(1 - a), as the derivation wants.
        circuit_mean: (B, C, H, W) the circuit's own E[x_0 | x_t, known] at the last step (an estimate where the guide
            samples), None where it was not asked.
        cost: what the guide has done since it was made, counted once for a whole batch: "steps", "circuit passes",
            "kernel passes", "encodes", "decodes".
    """

    fraction: float
    consistent_noise: bool
    circuit_mean: Tensor | None
    cost: Counter[str]

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise TiramisuError(f"the guided fraction must lie in [0, 1], not {self.fraction}")
        self.circuit_mean, self.cost = None, Counter()

    def is_active(self, step: Step) -> bool:
        """Whether this is one of the first ceil(fraction T) steps."""
        return step.num_steps - 1 - step.index < math.ceil(self.fraction * step.num_steps)

    def __call__(self, step: Step) -> Tensor:
        """The clean prediction (B, C, H, W) after guidance; the same object as before where inactive."""
        self.circuit_mean = None
        if not self.is_active(step):
            return step.prediction.x_0
        self.cost["steps"] += 1
        return self.steer(step)

    @abstractmethod
    def steer(self, step: Step) -> Tensor:
        """The clean prediction after guidance, and `circuit_mean` noted on the way."""


@dataclass
class CircuitGuide(Guide):
    """A guide whose circuit is exact about the pixels themselves.

    Args:
        circuit: p_PC over the codebook's variables.
        codebook: pixels to evidence and back.
        fraction, consistent_noise: see `Guide`.
    """

    circuit: Circuit
    codebook: Codebook
    fraction: float
    consistent_noise: bool = field(default=False, kw_only=True)

    def posterior(self, seen: Observation) -> tuple[Tensor, Moments]:
        """Exact marginals p_PC(X_i = v | seen), (B, D, C), and the pixel moments they imply."""
        self.cost["circuit passes"] += 1
        marginals = self.circuit.posterior_marginals(self.codebook.log_weights(seen))
        return marginals, self.codebook.moments(marginals, seen)


def observed(step: Step) -> Observation:
    """What a step shows of the clean image: its noisy copy and the known pixels."""
    return Observation(step.x_t, step.alpha_bar, step.image, step.known)


def calibrated_variance(step: Step) -> float:
    """Var[x_0 | x_t] of the denoiser at this step.

    Raises:
        TiramisuError: when the schedule is not calibrated.
    """
    if not math.isfinite(step.variance):
        raise TiramisuError("the guide needs Var[x_0 | x_t]: calibrate the denoiser's schedule first")
    return step.variance


def own_generator(generator: Generators) -> Generators:
    """Generators for a guide's draws, made from a sampler's: the guide does not change the sampler's noise."""
    if isinstance(generator, Sequence):
        return [torch.Generator(g.device).manual_seed(g.initial_seed() ^ 0x5EED) for g in generator]
    return torch.Generator(generator.device).manual_seed(generator.initial_seed() ^ 0x5EED)


def draw_categories(probabilities: Tensor, generator: Generators | None) -> Tensor:
    """One category for each row of probabilities (B, D, C), independently: (B, D) long.

    Args:
        generator: one for the batch, or one per image (of an equal share of the rows); None is torch's default.
    """
    if isinstance(generator, Sequence):
        shares = probabilities.chunk(len(generator))
        return torch.cat([draw_categories(p, g) for p, g in zip(shares, generator)])
    if generator is not None:
        probabilities = probabilities.to(generator.device)
    return torch.multinomial(probabilities.flatten(0, 1), 1, generator=generator).view(probabilities.shape[:2])


def draw_noise(like: Tensor, generator: Generators | None) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of `like`; generators as in `draw_categories`."""
    from ..diffusion.noise import standard_normal

    return torch.randn_like(like) if generator is None else standard_normal(like, generator)
