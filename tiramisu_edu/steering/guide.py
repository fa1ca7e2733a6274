"""What every guide is: a function from a sampler's `Step` to the clean prediction x_0 to step with.

A guide does not depend on the sampler that calls it. It acts at the noisiest steps and counts what it costs.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import number
from ..circuits.circuit import Circuit
from ..diffusion.noise import Generators
from ..diffusion.step import Step
from ..errors import ImageError, TiramisuError
from .evidence import Codebook, Observation

_COUNTING = threading.Lock()


class Guide(ABC):
    """Changes the clean prediction at the noisiest `fraction` of the steps, and returns it unchanged at the others.

    Attributes:
        uses_variance: whether it reads the denoiser's calibrated Var[x_0 | x_t].
        fraction: of the steps, in [0, 1].
        consistent_noise: how a sampler steps from the new x_0. False keeps the network's epsilon, as published; True
            takes the epsilon that x_0 and x_t imply, (x_t - sqrt(a) x_0) / sqrt(1 - a), as the derivation requires.
        circuit_mean: (B, C, H, W) the circuit's E[x_0 | x_t, known] at this thread's last step (an estimate where the
            guide samples), None where the guide was inactive.
        cost: how often since the guide was made, counted once for a whole batch: "steps", "circuit passes",
            "encodes", "decodes".
    """

    uses_variance: ClassVar[bool] = False
    fraction: float
    consistent_noise: bool
    cost: Counter[str]

    def __post_init__(self) -> None:
        number("the guided fraction", self.fraction, 0, 1)
        self.cost = Counter()
        self._of_thread = threading.local()  # what one step leaves for later: another thread has steps of its own

    @property
    def circuit_mean(self) -> Tensor | None:
        return getattr(self._of_thread, "circuit_mean", None)

    @circuit_mean.setter
    def circuit_mean(self, mean: Tensor | None) -> None:
        self._of_thread.circuit_mean = mean

    def count(self, what: str, times: int = 1) -> None:
        """Adds to `cost`."""
        with _COUNTING:
            self.cost[what] += times

    def is_active(self, step: Step) -> bool:
        """Whether this is one of the first ceil(fraction T) steps."""
        return step.num_steps - 1 - step.index < math.ceil(self.fraction * step.num_steps)

    def __call__(self, step: Step) -> Tensor:
        """The clean prediction (B, C, H, W) after guidance; the same object as before where inactive."""
        self.circuit_mean = None
        if not self.is_active(step):
            return step.prediction.x_0
        self.count("steps")
        return self.steer(step)

    @abstractmethod
    def steer(self, step: Step) -> Tensor:
        """The clean prediction after guidance; sets `circuit_mean`."""


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

    def posterior(self, seen: Observation) -> Tensor:
        """Exact marginals p_PC(X_i = v | seen), (B, D, C)."""
        self.count("circuit passes")
        return self.circuit.posterior_marginals(self.codebook.log_noisy(seen) + self.log_known(seen))

    def log_known(self, seen: Observation) -> Tensor:
        """The codebook's `log_known`, each row scaled to a maximum of 0; computed once for a batch of pictures.

        In double precision, since log densities of known pixels reach 1e5 and differ by less than 1.
        """
        image, known, log_w = getattr(self._of_thread, "known", (None, None, None))
        if image is not seen.image or known is not seen.known or log_w is None:
            log_w = self.codebook.log_known(seen._replace(image=seen.image.double()))
            check_size(seen.image, log_w, self.circuit)
            log_w = (log_w - log_w.amax(-1, keepdim=True)).to(seen.x_t)
            self._of_thread.known = seen.image, seen.known, log_w
        return log_w


def check_size(image: Tensor, log_weights: Tensor, circuit: Circuit) -> None:
    """Whether the evidence of images is about the circuit's variables."""
    found, expected = tuple(log_weights.shape[1:]), (circuit.num_variables, circuit.num_categories)
    if found != expected:
        raise ImageError(
            f"image {tuple(image.shape[1:])} is evidence on {found}, the guide's circuit is about {expected}"
        )


def observed(step: Step) -> Observation:
    """The observation of a step: the noisy copy and the known pixels."""
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
