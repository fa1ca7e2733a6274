"""Semantic fusion: several pictures each demand something of one region, and a circuit weighs the demands exactly.

A demand is soft evidence, raised to a power that says how strictly it is meant. Z of all demands together against Z
of each alone tells whether they contradict each other, before anything is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..errors import EvidenceError
from .codes import Tokenizer, covered_fraction
from .difference import DifferenceGuide
from .guide import Codebook, observed
from .latent import LatentGuide
from .mixing import AlphaSchedule

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..diffusion.samplers.step import Step

TAU_REFERENCE = 0.1
"""Temperature of a reference's codes at coherence 0.5, as published."""


class Demands(NamedTuple):
    """Soft evidence of R references on the D variables of a circuit, as log weights; 0 where nothing is asked.

    Attributes:
        each: (R, D, C), every reference alone.
        joint: (D, C), all together.
    """

    each: Tensor
    joint: Tensor


def power_of(coherence: float) -> float:
    """The power a demand is raised to, coherence / (1 - coherence): 0 asks nothing, 0.5 as is, 1 without exception."""
    return math.inf if coherence == 1 else coherence / (1 - coherence)


def pixel_demands(codebook: Codebook, references: Tensor, regions: Tensor, power: float) -> Demands:
    """Demands on the variables of a circuit about pixels: the likelihood of a region's pixels, to a power.

        log w_j(v) = power sum_{p in region} log p(x^p | v)

    Args:
        references: (R, C, H, W).
        regions: (R, 1, H, W) bool.
        power: an infinite one leaves only the likeliest value.
    """
    log_p = codebook.log_likelihoods(references, regions)
    asked = (log_p != 0).any(-1, keepdim=True)
    each = torch.where(asked, _to_power(log_p, power), 0.0)
    return Demands(each, each.sum(0))


def code_demands(tokenizer: Tokenizer, references: Tensor, regions: Tensor, power: float) -> Demands:
    """Demands on codes: the encoder's beliefs about a reference, mixed by the share of each patch it rules.

        Q_r = softmax(power log P_r / TAU_REFERENCE),   w_j(c) = 1 - sum_r kappa_rj + V sum_r kappa_rj Q_rj(c)

    A patch that no reference rules has w = 1.

    Args:
        references, regions, power: as in `pixel_demands`.

    Source: the published fusion, which has a fixed 1e-6 in the place of the uniform share 1 - sum kappa.
    """
    log_q = torch.log_softmax(_to_power(tokenizer.log_probabilities(references) / TAU_REFERENCE, power), -1)
    kappa = covered_fraction(regions, log_q.shape[1]).to(log_q)[..., None]  # (R, D, 1)
    of_codes = kappa.log() + math.log(log_q.shape[-1]) + log_q
    of_rest = (1 - torch.cat([kappa, kappa.sum(0, keepdim=True)])).clamp_min(0).log()
    each = torch.logaddexp(of_codes, of_rest[:-1])
    return Demands(each, torch.logaddexp(of_codes.logsumexp(0), of_rest[-1]))


def _to_power(log_p: Tensor, power: float) -> Tensor:
    """log p^power; with an infinite power 0 at the greatest value and -inf elsewhere."""
    if math.isfinite(power):
        return power * log_p
    greatest = log_p.argmax(-1, keepdim=True)
    return torch.full_like(log_p, -torch.inf).scatter_(-1, greatest, 0.0)


def weigh(circuit: Circuit, demands: Demands) -> tuple[float, list[float]]:
    """log Z of all demands together, and of each alone.

    Raises:
        EvidenceError: for demands of probability zero, saying whether one of them or only their combination is
            impossible.
    """
    each = []
    for number, log_weights in enumerate(demands.each):
        try:
            each.append(float(circuit.log_partition(log_weights[None]).detach()))
        except EvidenceError:
            raise EvidenceError(
                f"what reference {number} demands has probability zero under the circuit: no picture it knows looks "
                "like that there; lower the coherence below 1, or change its region"
            ) from None
    try:
        return float(circuit.log_partition(demands.joint[None]).detach()), each
    except EvidenceError:
        raise EvidenceError(
            "the demands contradict each other: each is possible alone, all together have probability zero under the "
            "circuit; lower the coherence below 1, or leave a reference out"
        ) from None


@dataclass
class PixelFusionGuide(DifferenceGuide):
    """What the demands change in the circuit's posterior mean, added to the network's prediction.

        x_0 = f(x_t) + strength (E_PC[x_0 | x_t, demands] - E_PC[x_0 | x_t])

    Demands speak about codes, so the pixels of a reference are not copied unless its codes leave no choice. Known
    pixels, where a step has them, count as well.

    Args:
        demand: (D, C) log weights, the joint demand.
    """

    demand: Tensor = field(kw_only=True)
    consistent_noise: bool = field(default=True, kw_only=True)

    def steer(self, step: Step) -> Tensor:
        both = observed(step).with_and_without_known()
        with_demand, without = self.codebook.log_weights(both).chunk(2)
        marginals = self.circuit.posterior_marginals(torch.cat([with_demand + self.demand.to(with_demand), without]))
        self.cost["circuit passes"] += 2
        demanded, plain = self.codebook.moments(marginals, both).mean.chunk(2)
        self.circuit_mean = demanded
        return (step.prediction.x_0 + self.strength * (demanded - plain)).clamp(-1, 1)


@dataclass
class CodeFusionGuide(LatentGuide):
    """The paper's fusion: the latent guide, with the references' codes in its evidence.

        log w_j = (1 - rho_j) log softmax(log q_j(z | f(x_t)) / tau_hidden) + rho_j log demand_j(z)

    rho_j is `mixing` where a patch is ruled, less where in part, and 0 elsewhere. The circuit leads: alpha runs from
    0.43 at the noisiest step.

    Args:
        demand: (D, V) log weights, the joint demand.
        ruled: (D,) share of each patch that some reference rules.
        mixing: rho, how much the references count against the network's own prediction.

    Source: Liu, Niepert, Van den Broeck 2024, section 6.3, and their implementation.
    """

    alpha: AlphaSchedule = field(default_factory=lambda: AlphaSchedule(0.4, 1.0, 3.0))
    demand: Tensor = field(kw_only=True)
    ruled: Tensor = field(kw_only=True)
    mixing: float = field(default=0.8, kw_only=True)

    def evidence(self, log_p: Tensor, known: Tensor) -> Tensor:
        own = super().evidence(log_p, known)
        rho = self.mixing * self.ruled.to(own)[:, None]
        demand = torch.where(rho > 0, rho * self.demand.to(own), 0.0)
        return (1 - rho) * own + demand
