"""The paper's guide in latent space: a circuit over the codes of an image tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..errors import TiramisuError
from .codes import (
    Tokenizer,
    covered_fraction,
    decoded_moments,
    independent_codes,
    joint_codes,
    keep_likeliest,
    sharpened,
)
from .evidence import Moments
from .guide import Guide, calibrated_variance, draw_categories, draw_noise
from .mixing import AlphaSchedule, gaussian_geometric_mean, gaussian_on_grid, geometric_mean
from .replicates import replicate_predictive, with_replicates

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..diffusion.noise import Generators
    from ..diffusion.step import Step


@dataclass(frozen=True)
class LatentSettings:
    """The constants and choices of the latent guide.

    Attributes:
        samples: S, code samples that are decoded; at least 2.
        tau_hidden, tau_known: temperature of the encoder's beliefs about a patch that is wholly hidden, wholly known.
            In the tokenizer's units 1 is its usual rounding error, and sharper beliefs about a blurred prediction are
            wrong ones. The published 0.1 is about distances that are not so scaled.
        codes: "joint" samples of the circuit's posterior, or "independent" draws from its marginals, as published.
        readout: "posterior", or "replicate-predictive", which the published code takes for it (see `replicates`) and
            blends with the evidence by the known share of a patch.
        hidden_evidence: whether wholly hidden patches carry the encoding of the network's prediction as evidence, as
            published; otherwise none.
        top_k: codes besides the encoder's k likeliest are all but excluded from independent draws; None excludes none.
        grid: fuse on 256 grey levels as published: p_DM with the variance of one step, cut off at two standard
            deviations, and a share of 0.001 of p_PC spread over all levels. Otherwise both are plain Gaussians, p_DM
            with its calibrated variance.
    """

    samples: int = 8
    tau_hidden: float = 1.0
    tau_known: float = 0.01
    codes: Literal["joint", "independent"] = "joint"
    readout: Literal["posterior", "replicate-predictive"] = "posterior"
    hidden_evidence: bool = True
    top_k: int | None = None
    grid: bool = False

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise TiramisuError(f"the variance of a picture needs at least 2 samples, not {self.samples}")
        if not (self.tau_hidden > 0 and self.tau_known > 0):
            raise TiramisuError(f"temperatures must be positive, not {self.tau_hidden} and {self.tau_known}")
        for name, value, choices in (
            ("codes", self.codes, ("joint", "independent")),
            ("readout", self.readout, ("posterior", "replicate-predictive")),
        ):
            if value not in choices:
                raise TiramisuError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}")
        if self.codes == "joint" and (self.readout != "posterior" or self.top_k is not None):
            raise TiramisuError("joint codes are samples of the posterior: readout and top_k need codes='independent'")

    @classmethod
    def preset(cls, name: str) -> LatentSettings:
        """ "default": the mathematics. "published": the authors' implementation, its slips about known pixels and
        code numbers aside.

        Raises:
            TiramisuError: no such preset.
        """
        match name:
            case "default":
                return cls()
            case "published":
                return cls(tau_hidden=0.1, codes="independent", readout="replicate-predictive", top_k=20, grid=True)
        raise TiramisuError(f"unknown latent preset {name!r}: choose one of default, published")


@dataclass
class LatentGuide(Guide):
    """The paper's latent guide: the circuit completes the codes, and what the decoder makes of them is mixed in.

        w_j(z) = softmax_z( log q_j(z | m y + (1 - m) f(x_t)) / tau_j ),   tau_j from tau_hidden to tau_known by the
                                                                          known share of patch j
        z^1 … z^S from p_PC(z | w),   p_PC(x_0) = N(mean, variance of the decoded pictures)
        p(x_0) proportional to p_DM^alpha(t) p_PC^(1 - alpha(t)),   known pixels exact

    The network's own prediction at x_t is encoded; the published code evaluates the network once more for it.

    Args:
        circuit: over the D codes.
        tokenizer: pictures to beliefs about codes, and codes to pictures.
        fraction: 0.2 of the steps.
        alpha, draw, generator: as in `MixtureGuide`.
        settings: see `LatentSettings`.

    Cost per guided step: one encoding, one circuit pass, S decodings.

    Source: Liu, Niepert, Van den Broeck 2024, section 5.
    """

    circuit: Circuit
    tokenizer: Tokenizer
    fraction: float = 0.2
    alpha: AlphaSchedule = field(default_factory=AlphaSchedule)
    draw: bool = True
    settings: LatentSettings = field(default_factory=LatentSettings)
    generator: Generators | None = None
    consistent_noise: bool = field(default=False, kw_only=True)

    def steer(self, step: Step) -> Tensor:
        alpha = self.alpha(step.index, step.num_steps)
        if alpha == 1 and not self.draw:
            return step.prediction.x_0
        log_p = self.tokenizer.log_probabilities(torch.where(step.known, step.image, step.prediction.x_0))
        known = covered_fraction(step.known, log_p.shape[1]).to(log_p)
        codes = self.sample_codes(log_p, self.evidence(log_p, known), known)
        painted = decoded_moments(self.tokenizer, codes)
        self.cost.update({"encodes": 1, "circuit passes": 1, "decodes": self.settings.samples})
        self.circuit_mean = torch.where(step.known, step.image, painted.mean)
        return torch.where(step.known, step.image, self.fuse(step, painted, alpha).to(step.x_t))

    def evidence(self, log_p: Tensor, known: Tensor) -> Tensor:
        """log w_j(z), (B, D, V): the encoder's beliefs, the sharper the more of a patch is known.

        Args:
            log_p: (B, D, V), the encoder's log q_j(z).
            known: (B, D), share of each patch that is known.
        """
        tau = self.settings.tau_hidden + known * (self.settings.tau_known - self.settings.tau_hidden)
        log_w = sharpened(log_p, tau)
        return log_w if self.settings.hidden_evidence else torch.where(known[..., None] > 0, log_w, 0.0)

    def sample_codes(self, log_p: Tensor, log_w: Tensor, known: Tensor) -> Tensor:
        """S codings of each picture, (S, B, D), from evidence log w; log q and the known share serve the ablations."""
        settings = self.settings
        if settings.codes == "joint":
            return joint_codes(self.circuit, log_w, settings.samples, self.generator)
        if settings.readout == "posterior":
            marginals = self.circuit.posterior_marginals(log_w)
        else:
            # As published, the evidence that the read-out left out is blended back where pixels are known.
            predictive = replicate_predictive(self.replicated, log_w).log()
            blend = torch.where(known[..., None] > 0, known[..., None] * log_w, 0.0)
            marginals = torch.softmax((1 - known[..., None]) * predictive + blend, -1)
        if settings.top_k is not None:
            marginals = keep_likeliest(marginals, log_p, settings.top_k)
        return independent_codes(marginals, settings.samples, self.generator)

    def fuse(self, step: Step, painted: Moments, alpha: float) -> Tensor:
        """x_0 (B, C, H, W) from the mixture of the network's Gaussian and the paintings'."""
        x_dm = step.prediction.x_0
        if self.settings.grid:
            return self._fuse_on_grid(step, painted, alpha)
        dm = Moments(x_dm, torch.full_like(x_dm, calibrated_variance(step)))
        mean, variance = gaussian_geometric_mean(dm, painted, alpha)
        noise = variance.sqrt() * draw_noise(mean, self.generator) if self.draw else 0
        return (mean + noise).clamp(-1, 1)

    def _fuse_on_grid(self, step: Step, painted: Moments, alpha: float) -> Tensor:
        levels = torch.linspace(-1, 1, 256).to(step.x_t)
        x_dm, mean, variance = (i.flatten(1) for i in (step.prediction.x_0, *painted))
        log_a = gaussian_on_grid(x_dm, step.step_variance, levels, truncation=2.0)
        b = gaussian_on_grid(mean, variance, levels).exp()
        mixed = geometric_mean(log_a, (0.999 * b + 0.001 / 256).log(), alpha).exp()
        x_0 = levels[draw_categories(mixed, self.generator).to(levels.device)] if self.draw else mixed @ levels
        return x_0.view_as(step.x_t)

    @cached_property
    def replicated(self) -> Circuit:
        """The circuit with replicated codes, for the published read-out."""
        return with_replicates(self.circuit)
