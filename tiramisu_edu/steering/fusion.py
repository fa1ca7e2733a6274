"""Semantic fusion: soft evidence of several reference pictures, each in its own region (section 6.3 of the paper).

A demand is the soft evidence of one reference, tempered. log Z of all demands together minus log Z of each alone shows
whether they contradict each other, before anything is drawn.

    Q_j(z) proportional to p_j(z)^power

The published power is 1 / temperature, temperature 0.1. That cannot be compared between tokenizers, nor with pixels: in
place of a temperature one may give the mean entropy that is left over the ruled patches:

    mean over the ruled patches of H(Q_j) = (1 - coherence^2) log V

The square is empirical: it spreads visible changes over the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..circuits.circuit import Circuit
from ..errors import EvidenceError
from ..tokenizer import Tokenizer
from .evidence import PixelCodebook
from .latent import LatentGuide, covered_fraction
from .mixture import AlphaSchedule
from .patches import PatchCodebook

ALONE = "what reference {} demands has probability zero under the circuit: lower the coherence below 1, or "
ALONE += "change its region"
TOGETHER = (
    "the demands contradict each other: each is possible alone, all together have probability zero under the circuit; "
    "lower the coherence below 1, or leave a reference out"
)


class Demands(NamedTuple):
    """Soft evidence of R references on the D variables of a circuit, as log weights; 0 where nothing is demanded.

    Attributes:
        each: (R, D, C), every reference alone.
        joint: (D, C), all together.
    """

    each: Tensor
    joint: Tensor


def tempered(log_p: Tensor, share: Tensor, coherence: float, temperature: float | None = None) -> Tensor:
    """log Q = log softmax(power log p), with power 1 / temperature, or the mean entropy (1 - coherence^2) log V.

    Args:
        log_p: (R, D, V), how well each value explains a patch, up to a constant.
        share: (R, D), weight of a patch in the mean entropy; not zero everywhere.
        coherence: from 0, where Q is uniform, to 1, where only the likeliest value is left.
        temperature: above 0, in place of coherence.
    """
    if temperature is not None:
        return torch.log_softmax(log_p / temperature, -1)
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
        too_even = float((share * entropy).sum() / share.sum()) > wanted
        low, high = (middle, high) if too_even else (low, middle)
    return log_q


def pixel_demands(
    codebook: PixelCodebook | PatchCodebook,
    references: Tensor,
    regions: Tensor,
    coherence: float,
    temperature: float | None = None,
) -> Demands:
    """Demands on the variables of a circuit about pixels: the likelihood of a region's pixels, tempered.

        w_j(v) = V Q_j(v),   Q_j(v) proportional to (prod_{p in region} p(x^p | v))^power

    Args:
        references: (R, C, H, W).
        regions: (R, 1, H, W) bool.
        coherence, temperature: as in `tempered`.
    """
    log_p = codebook.log_likelihoods(references, regions)
    ruled = (log_p != 0).any(-1)
    log_q = tempered(log_p, ruled.to(log_p), coherence, temperature)
    each = torch.where(ruled[..., None], log_q + math.log(log_p.shape[-1]), 0.0)
    return Demands(each, each.sum(0))


def code_demands(
    tokenizer: Tokenizer, references: Tensor, regions: Tensor, coherence: float, temperature: float | None = None
) -> Demands:
    """Demands on codes: the encoder's probabilities for a reference, mixed by the share of each patch it rules.

        Q_r proportional to P_r^power,   w_j(c) = 1 - sum_r kappa_rj + V sum_r kappa_rj Q_rj(c)

    A patch that no reference rules has w = 1.

    Args:
        references, regions, coherence, temperature: as in `pixel_demands`.

    Source: the published fusion, with temperature 0.1, and 1e-6 for the uniform share 1 - sum kappa.
    """
    log_p = tokenizer.log_probabilities(references)
    share = covered_fraction(regions, log_p.shape[1]).to(log_p)  # (R, D)
    log_q, kappa = tempered(log_p, share, coherence, temperature), share[..., None]
    of_codes = kappa.log() + math.log(log_q.shape[-1]) + log_q
    of_rest = (1 - torch.cat([kappa, kappa.sum(0, keepdim=True)])).clamp_min(0).log()
    each = torch.logaddexp(of_codes, of_rest[:-1])
    return Demands(each, torch.logaddexp(of_codes.logsumexp(0), of_rest[-1]))


def weigh(circuit: Circuit, demands: Demands) -> tuple[float, list[float]]:
    """log Z of all demands together, and of each alone.

    Raises:
        EvidenceError: for demands of probability zero; the message names the impossible one, or their combination.
    """
    log_z = []
    for n, log_weights in enumerate([*demands.each, demands.joint]):
        try:
            log_z.append(float(circuit.log_partition(log_weights[None]).detach()))
        except EvidenceError:
            raise EvidenceError(ALONE.format(n) if n < len(demands.each) else TOGETHER) from None
    return log_z[-1], log_z[:-1]


@dataclass
class CodeFusionGuide(LatentGuide):
    """The paper's fusion: the latent guide, with the references' codes in its evidence.

        log w_j = (1 - rho_j) log softmax(log q_j(z | f(x_t)) / tau_hidden) + rho_j log demand_j(z)

    rho_j is `mixing` times the ruled share of patch j. alpha starts at 0.43 at the noisiest step, so the circuit has
    more weight than in inpainting.

    Args:
        fraction: half of the steps. At the published 0.2 faces follow strict demands less than the tokenizer allows;
            more than a half does not help further.
        demand: (D, V) log weights, the joint demand.
        ruled: (D,) share of each patch that some reference rules.
        mixing: weight of the references against the network's own prediction.

    Source: Liu, Niepert, Van den Broeck 2024, section 6.3, and their implementation.
    """

    fraction: float = 0.5
    alpha: AlphaSchedule = field(default_factory=lambda: AlphaSchedule(0.4, 1.0, 3.0))
    demand: Tensor = field(kw_only=True)
    ruled: Tensor = field(kw_only=True)
    mixing: float = field(default=0.8, kw_only=True)

    def evidence(self, log_q: Tensor, known: Tensor) -> Tensor:
        own = super().evidence(log_q, known)
        rho = self.mixing * self.ruled.to(own)[:, None]
        demand = torch.where(rho > 0, rho * self.demand.to(own), 0.0)
        return (1 - rho) * own + demand
