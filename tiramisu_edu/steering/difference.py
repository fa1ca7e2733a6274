"""The exact guide: what conditioning changes in the circuit's posterior mean, added to the network's prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from .blends import WeightTable
from .guide import CircuitGuide, observed

if TYPE_CHECKING:
    from ..diffusion.step import Step


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


@dataclass
class CalibratedDifferenceGuide(DifferenceGuide):
    """The difference, as far as it has proved right at this noise level.

        x_0 = f(x_t) + strength w(a) (E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t])

    The derivation's weight is 1 for a circuit that is right. One that is not errs most where little noise is left:
    there the network sees nearly all that the known pixels could tell it, and what the circuit adds is mostly its own
    error. w is fitted by least squares on noised validation images (`fit_weights.fit_weights`): 1 in pure noise, as
    derived, and falling from there. Beyond the paper.

    Args:
        table: w by noise level; with several bins, by the circuit's Var[x_0 | x_t, known] too.
    """

    table: WeightTable = field(kw_only=True)

    def steer(self, step: Step) -> Tensor:
        both = observed(step).with_and_without_known()
        mean, variance = (part.chunk(2) for part in self.posterior(both)[1])
        self.cost["circuit passes"] += 1  # the one call above held two observations
        self.circuit_mean = mean[0]
        weight = self.strength * self.table(step.alpha_bar, variance[0])
        return (step.prediction.x_0 + weight * (mean[0] - mean[1])).clamp(-1, 1)
