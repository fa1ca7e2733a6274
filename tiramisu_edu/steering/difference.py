"""The exact guide: what conditioning changes in the circuit's posterior mean, added to the network's prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from .guide import CircuitGuide, observed

if TYPE_CHECKING:
    from ..diffusion.samplers.step import Step


@dataclass
class DifferenceGuide(CircuitGuide):
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
        both = observed(step).with_and_without_known()
        with_known, without = self.posterior(both)[1].mean.chunk(2)
        self.cost["circuit passes"] += 1  # the one call above held two observations
        self.circuit_mean = with_known
        return (step.prediction.x_0 + self.strength * (with_known - without)).clamp(-1, 1)
