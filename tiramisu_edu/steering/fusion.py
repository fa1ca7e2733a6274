"""Semantic fusion: several pictures each demand something of one region, and a circuit weighs the demands exactly.

A demand is soft evidence, tempered by how strictly it is meant. Z of all demands together against Z of each alone tells
whether they contradict each other, before anything is drawn.

The published fusion has a temperature of 0.1, for distances in its own autoencoder's units; a temperature says nothing
about another tokenizer, and less about pixels, where one patch multiplies 48 likelihoods. What can be compared is how
much freedom a demand takes. Coherence fixes that, and the power follows:

    Q_j(z) proportional to p_j(z)^power,   mean over the ruled patches of H(Q_j) = (1 - coherence^2) log V

The square is a choice. Most of what a patch can be asked is detail, place and shade; what a picture shows is settled by
a small part of it, and a share that rises slowly at first spreads that part over the scale.
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
    from ..diffusion.step import Step


class Demands(NamedTuple):
    """Soft evidence of R references on the D variables of a circuit, as log weights; 0 where nothing is asked.

    Attributes:
        each: (R, D, C), every reference alone.
        joint: (D, C), all together.
    """

    each: Tensor
    joint: Tensor


def tempered(log_p: Tensor, share: Tensor, coherence: float) -> Tensor:
    """log Q = log softmax(power log p), with the power at which the demands take coherence^2 of the freedom.

    Args:
        log_p: (R, D, V), how well each value explains a patch, up to a constant.
        share: (R, D), weight of a patch in the mean entropy; not zero everywhere.
        coherence: from 0, where Q is even, to 1, where only the likeliest value is left.
    """
    if coherence == 1:
        return torch.full_like(log_p, -torch.inf).scatter_(-1, log_p.argmax(-1, keepdim=True), 0.0)
    if coherence == 0:
        return torch.full_like(log_p, -math.log(log_p.shape[-1]))
    wanted = (1 - coherence**2) * math.log(log_p.shape[-1])
    low, high = -30.0, 30.0  # of log power: entropy falls as it rises
    for _ in range(50):
        middle = (low + high) / 2
        log_q = torch.log_softmax(math.exp(middle) * log_p, -1)
        entropy = -(log_q.exp() * log_q).sum(-1)
        too_free = float((share * entropy).sum() / share.sum()) > wanted
        low, high = (middle, high) if too_free else (low, middle)
    return log_q


def pixel_demands(codebook: Codebook, references: Tensor, regions: Tensor, coherence: float) -> Demands:
    """Demands on the variables of a circuit about pixels: the likelihood of a region's pixels, tempered.

        w_j(v) = V Q_j(v),   Q_j(v) proportional to (prod_{p in region} p(x^p | v))^power

    Args:
        references: (R, C, H, W).
        regions: (R, 1, H, W) bool.
        coherence: in [0, 1].
    """
    log_p = codebook.log_likelihoods(references, regions)
    asked = (log_p != 0).any(-1)
    log_q = tempered(log_p, asked.to(log_p), coherence)
    each = torch.where(asked[..., None], log_q + math.log(log_p.shape[-1]), 0.0)
    return Demands(each, each.sum(0))


def code_demands(tokenizer: Tokenizer, references: Tensor, regions: Tensor, coherence: float) -> Demands:
    """Demands on codes: the encoder's beliefs about a reference, mixed by the share of each patch it rules.

        Q_r proportional to P_r^power,   w_j(c) = 1 - sum_r kappa_rj + V sum_r kappa_rj Q_rj(c)

    A patch that no reference rules has w = 1.

    Args:
        references, regions, coherence: as in `pixel_demands`.

    Source: the published fusion, which has a fixed temperature, and 1e-6 in the place of the uniform share
        1 - sum kappa.
    """
    log_p = tokenizer.log_probabilities(references)
    share = covered_fraction(regions, log_p.shape[1]).to(log_p)  # (R, D)
    log_q, kappa = tempered(log_p, share, coherence), share[..., None]
    of_codes = kappa.log() + math.log(log_q.shape[-1]) + log_q
    of_rest = (1 - torch.cat([kappa, kappa.sum(0, keepdim=True)])).clamp_min(0).log()
    each = torch.logaddexp(of_codes, of_rest[:-1])
    return Demands(each, torch.logaddexp(of_codes.logsumexp(0), of_rest[-1]))


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
        fraction: half of the steps. At the published 0.2 faces follow strict demands less than the tokenizer could
            show them; from a half on they follow as far as it goes.
        demand: (D, V) log weights, the joint demand.
        ruled: (D,) share of each patch that some reference rules.
        mixing: rho, how much the references count against the network's own prediction.

    Source: Liu, Niepert, Van den Broeck 2024, section 6.3, and their implementation.
    """

    fraction: float = 0.5
    alpha: AlphaSchedule = field(default_factory=lambda: AlphaSchedule(0.4, 1.0, 3.0))
    demand: Tensor = field(kw_only=True)
    ruled: Tensor = field(kw_only=True)
    mixing: float = field(default=0.8, kw_only=True)

    def evidence(self, log_p: Tensor, known: Tensor) -> Tensor:
        own = super().evidence(log_p, known)
        rho = self.mixing * self.ruled.to(own)[:, None]
        demand = torch.where(rho > 0, rho * self.demand.to(own), 0.0)
        return (1 - rho) * own + demand
