"""Guides: what a circuit tells a sampler about the clean image, at each of the early steps.

A guide is called with a sampler's `Step` and returns the clean prediction to step with. It never asks which sampler
called it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import TiramisuError
from .evidence import Moments, Observation, PixelCodebook
from .mixing import AlphaSchedule, gaussian_on_grid, geometric_mean

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..diffusion.samplers.step import Step
    from ..zoo import World


@dataclass
class Guide(ABC):
    """A circuit, a codebook, and the share of the steps, from the noisiest on, at which they are asked.

    Args:
        circuit: p_PC over the codebook's variables.
        codebook: pixels to evidence and back.
        fraction: of the steps, in [0, 1]; at the others the prediction is handed back untouched.
    """

    circuit: Circuit
    codebook: PixelCodebook
    fraction: float
    circuit_mean: Tensor | None = field(default=None, init=False)
    """(B, C, H, W): the circuit's own E[x_0 | x_t, known] at the last step, None where it was not asked."""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise TiramisuError(f"the guided fraction must lie in [0, 1], not {self.fraction}")

    def is_active(self, step: Step) -> bool:
        """Whether this is one of the first ceil(fraction T) steps."""
        return step.num_steps - 1 - step.index < math.ceil(self.fraction * step.num_steps)

    def __call__(self, step: Step) -> Tensor:
        """The clean prediction (B, C, H, W) after guidance; the same object as before where inactive."""
        self.circuit_mean = None
        return self.steer(step) if self.is_active(step) else step.prediction.x_0

    @abstractmethod
    def steer(self, step: Step) -> Tensor:
        """The clean prediction after guidance, and `circuit_mean` noted on the way."""

    def posterior(self, seen: Observation) -> tuple[Tensor, Moments]:
        """Exact marginals p_PC(X_i = v | seen), (B, D, C), and the pixel moments they imply."""
        marginals = self.circuit.posterior_marginals(self.codebook.log_weights(seen))
        return marginals, self.codebook.moments(marginals, seen)


@dataclass
class MixtureGuide(Guide):
    """The paper's guide: x_0 drawn from the geometric mean of p_DM and p_PC, pixel by pixel (sections 3 and 4).

        p(x_0) proportional to p_DM(x_0 | x_t)^alpha(t) p_PC(x_0 | x_t, known)^(1 - alpha(t))

    p_DM is a Gaussian around the denoiser's prediction with the calibrated variance Var[x_0 | x_t] (the published code
    uses the much smaller variance of one step instead). Known pixels are set exactly.

    Args:
        fraction: 0.2, as in the paper.
        alpha: weight of the denoiser over the steps.
        draw: sample x_0, as published; otherwise take the mean of the mixture.
        generator: for the draw; None is torch's default generator.
    """

    fraction: float = 0.2
    alpha: AlphaSchedule = field(default_factory=AlphaSchedule)
    draw: bool = True
    generator: torch.Generator | None = None

    def steer(self, step: Step) -> Tensor:
        if not math.isfinite(step.variance):
            raise TiramisuError("the mixture needs Var[x_0 | x_t]: calibrate the denoiser's schedule first")
        seen = Observation(step.x_t, step.alpha_bar, step.image, step.known)
        marginals, moments = self.posterior(seen)
        self.circuit_mean = moments.mean
        levels = self.codebook.levels.to(step.x_t)
        log_dm = gaussian_on_grid(step.prediction.x_0.flatten(1), step.variance, levels)
        alpha = self.alpha(step.index, step.num_steps)
        mixed = geometric_mean(log_dm, marginals.log(), alpha).exp()
        if self.draw:
            chosen = torch.multinomial(mixed.flatten(0, 1), 1, generator=self.generator).view(mixed.shape[:2])
            x_0 = self.codebook.image(chosen, step.image.shape)
        else:
            x_0 = self.codebook.moments(mixed, seen).mean
        return torch.where(step.known, step.image, x_0.to(step.x_t))


@dataclass
class DifferenceGuide(Guide):
    """What conditioning changes, and nothing else, is taken from the circuit.

        x_0 = f(x_t) + strength (E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t])

    The score of p(x_t | known) is the score of p(x_t) plus grad log p(known | x_t). The denoiser gives the first; the
    circuit gives the second exactly, since by Tweedie's formula it is sqrt(a) / (1 - a) times the difference of these
    two posterior means. Errors that the circuit makes in both means cancel. Beyond the paper.

    Args:
        fraction: 1, all steps.
        strength: 1 is the derivation's value.
    """

    fraction: float = 1.0
    strength: float = 1.0

    def steer(self, step: Step) -> Tensor:
        seen = Observation(step.x_t, step.alpha_bar, step.image, step.known)
        both = Observation(
            torch.cat([step.x_t, step.x_t]),
            step.alpha_bar,
            torch.cat([step.image, step.image]),
            torch.cat([step.known, seen.without_known().known]),
        )
        with_known, without = self.posterior(both)[1].mean.chunk(2)
        self.circuit_mean = with_known
        return (step.prediction.x_0 + self.strength * (with_known - without)).clamp(-1, 1)


GUIDES = {"mixture": MixtureGuide, "difference": DifferenceGuide}


def make_guide(
    name: str | None, world: World, *, fraction: float | None = None, generator: torch.Generator | None = None
) -> Guide | None:
    """The named guide for a world, or None for "none".

    Args:
        name: "none", "mixture" or "difference".
        fraction: guided share of the steps; the guide's own default if None.
        generator: for guides that draw.

    Raises:
        TiramisuError: for an unknown name or a fraction outside [0, 1].
    """
    if name is None or check_guide_name(name) == "none":
        return None
    guide = GUIDES[name](world.circuit, world.codebook, *(() if fraction is None else (fraction,)))
    if isinstance(guide, MixtureGuide):
        guide.generator = generator
    return guide


def check_guide_name(name: str) -> str:
    """The name itself, if there is such a guide.

    Raises:
        TiramisuError: there is none.
    """
    if name != "none" and name not in GUIDES:
        raise TiramisuError(f"unknown guide {name!r}: choose one of none, {', '.join(GUIDES)}")
    return name
