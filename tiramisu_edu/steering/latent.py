"""The paper's guide in latent space: a circuit over the codes of an image tokenizer (section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..checks import integer
from ..circuits.circuit import Circuit
from ..diffusion.networks import Autoencoder
from ..diffusion.noise import Generators
from ..diffusion.step import Step
from ..errors import TiramisuError
from ..tokenizer import Tokenizer, VQTokenizer
from .evidence import Moments
from .guide import Guide, check_size
from .mixture import ONE_LEVEL, AlphaSchedule, gaussian_mixture


@dataclass
class LatentGuide(Guide):
    """The paper's latent guide: the circuit completes the codes, and the decoded pictures are mixed in.

        w_j(z) = softmax_z( log q_j(z | m y + (1 - m) f(x_t)) / tau_j ),   tau_j from tau_hidden to tau_known by the
                                                                          known share of patch j
        z^1 … z^S from p_PC(z | w),   p_PC(x_0) = N(mean, variance of the decoded pictures)
        p(x_0) proportional to p_DM^alpha(t) p_PC^(1 - alpha(t)),   known pixels exact

    The network's own prediction at x_t is encoded; the published code evaluates the network once more for it. How the
    published code differs otherwise is in `controls.published`.

    Args:
        circuit: over the D codes.
        tokenizer: pictures to log-probabilities of codes, and codes to pictures.
        fraction: 0.2 of the steps, as published.
        alpha, draw, generator: as in `MixtureGuide`.
        samples: S, samples of the codes that are decoded, at least 2.
        tau_hidden: temperature of a wholly hidden patch; 1 is the tokenizer's usual rounding error. Published: 0.1,
            for distances in the units of the authors' autoencoder.
        tau_known: temperature of a wholly known patch, in the same units.
        hidden_evidence: whether wholly hidden patches have the encoding of the network's prediction as evidence, as
            published; otherwise they have none.

    Cost per guided step: one encoding, one circuit pass, S decodings.

    Raises:
        TiramisuError: for fewer than 2 samples, or a temperature that is not positive.

    Source: Liu, Niepert, Van den Broeck 2024, section 5.
    """

    uses_variance = True
    circuit: Circuit
    tokenizer: Tokenizer
    fraction: float = 0.2
    alpha: AlphaSchedule = field(default_factory=AlphaSchedule)
    draw: bool = True
    generator: Generators | None = None
    samples: int = field(default=8, kw_only=True)
    tau_hidden: float = field(default=1.0, kw_only=True)
    tau_known: float = field(default=0.01, kw_only=True)
    hidden_evidence: bool = field(default=True, kw_only=True)
    consistent_noise: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("samples", self.samples, 2)  # of which a variance is taken
        if not (self.tau_hidden > 0 and self.tau_known > 0):
            raise TiramisuError(f"temperatures must be positive, not {self.tau_hidden} and {self.tau_known}")

    def steer(self, step: Step) -> Tensor:
        alpha = self.alpha(step.index, step.num_steps)
        if alpha == 1 and not self.draw:
            return step.prediction.x_0
        log_q = self.tokenizer.log_probabilities(torch.where(step.known, step.image, step.prediction.x_0))
        check_size(step.image, log_q, self.circuit)
        known = covered_fraction(step.known, log_q.shape[1]).to(log_q)
        for what in ("encodes", "circuit passes"):
            self.count(what)
        painted = self.painted(log_q, known)
        self.circuit_mean = torch.where(step.known, step.image, painted.mean)
        return torch.where(step.known, step.image, self.mix(step, painted, alpha).to(step.x_t))

    def evidence(self, log_q: Tensor, known: Tensor) -> Tensor:
        """log w_j(z), (B, D, V): the encoder's probabilities, the sharper the more of a patch is known.

        Args:
            log_q: (B, D, V), the encoder's log q_j(z).
            known: (B, D), share of each patch that is known.
        """
        tau = self.tau_hidden + known * (self.tau_known - self.tau_hidden)
        log_w = torch.log_softmax(log_q / tau[..., None], -1)
        return log_w if self.hidden_evidence else torch.where(known[..., None] > 0, log_w, 0.0)

    def painted(self, log_q: Tensor, known: Tensor) -> Moments:
        """p_PC(x_0): mean and variance of the decoded pictures."""
        self.count("decodes", self.samples)
        return decoded_moments(self.tokenizer, self.sample_codes(log_q, known))

    def sample_codes(self, log_q: Tensor, known: Tensor) -> Tensor:
        """S codings of each picture, (S, B, D), jointly from p_PC(z | w)."""
        return self.circuit.sample(self.samples, self.evidence(log_q, known), generator=self.generator)

    def mix(self, step: Step, painted: Moments, alpha: float) -> Tensor:
        """x_0 (B, C, H, W) from the geometric mean of p_DM and the Gaussian of the decoded pictures."""
        return gaussian_mixture(step, painted, alpha, self.draw, self.generator, self.tokenizer.limit)


class LatentCodes(VQTokenizer):
    """The codes of a denoiser's latents: its "pictures" are latents, each place of which is one patch.

    Args:
        autoencoder: of the denoiser.

    Raises:
        TiramisuError: its latents are not rounded to codes.
    """

    limit = math.inf

    def __init__(self, autoencoder: Autoencoder) -> None:
        if not hasattr(autoencoder.network, "quantize"):
            name = type(autoencoder.network).__name__
            raise TiramisuError(f"the latents of an {name} have no codes for a circuit: choose guide='none'")
        super().__init__(autoencoder.network)
        self.patch, self.scale, self.shift = 1, autoencoder.scale, autoencoder.shift

    @property
    def channels(self) -> int:
        return self.codebook.shape[1]

    def _encoder(self, images: Tensor) -> Tensor:
        return images / self.scale + self.shift

    def _decoder(self, grid: Tensor) -> Tensor:
        return (grid - self.shift) * self.scale


class CodedLatentGuide(LatentGuide):
    """The latent guide of a denoiser that works in the latents itself: codes are numbers there, so moments are exact.

        p_PC(x_0) = N(E[e_z | w], Var[e_z | w]) at each place, from the exact marginals of p_PC(z | w)

    Latents have no grey levels: the floor `ONE_LEVEL` of `gaussian_geometric_mean` only keeps variances above 0 here.
    """

    def painted(self, log_q: Tensor, known: Tensor) -> Moments:
        marginals = self.circuit.posterior_marginals(self.evidence(log_q, known))
        of_codes = self.tokenizer.decode(torch.arange(self.tokenizer.num_codes, device=log_q.device)[:, None])
        values, side = of_codes.flatten(1), math.isqrt(log_q.shape[1])  # (V, c)
        mean, square = ((marginals @ power).mT.unflatten(2, (side, side)) for power in (values, values.square()))
        return Moments(mean, square - mean.square())


def covered_fraction(region: Tensor, num_patches: int) -> Tensor:
    """Share of each patch's pixels inside a region, (B, D).

    Args:
        region: bool (B, C or 1, H, W).
        num_patches: D, square patches that tile the image.
    """
    height, width = region.shape[-2:]
    side = round((height * width / num_patches) ** 0.5)
    inside = region.float().mean(1, keepdim=True)
    return torch.nn.functional.avg_pool2d(inside, side).flatten(1)


def decoded_moments(tokenizer: Tokenizer, codes: Tensor) -> Moments:
    """Mean and unbiased variance of each pixel over the decoded pictures, variance at least `ONE_LEVEL`.

    Args:
        codes: (S, B, D), S >= 2.
    """
    pictures = tokenizer.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
    mean = pictures.mean(0)
    square = (pictures - mean).square_().sum(0)  # a tenth of the time of `var`
    return Moments(mean, (square / (len(codes) - 1)).clamp_min(ONE_LEVEL))
