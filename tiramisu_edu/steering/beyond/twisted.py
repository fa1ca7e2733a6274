"""The twisted particle filter: the circuit proposes and weighs, and the network's own conditional is the limit.

Every other steered sampler is a heuristic in the network's eyes. This one is asymptotically exact for what the network
itself, run as a DDPM of these T steps, says about the hidden pixels; the circuit only sets how many particles it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...errors import TiramisuError
from ..evidence import Observation, PixelCodebook
from ..patches import PatchCodebook

if TYPE_CHECKING:
    from ...circuits.circuit import Circuit
    from ...diffusion.denoiser import Denoiser
    from ...diffusion.samplers.step import Callback, Generators, Guide
    from ...diffusion.schedule import Schedule


@dataclass(frozen=True)
class TwistedSettings:
    """The constants of the particle filter.

    Attributes:
        particles: P, for each image.
        resample_below: resample an image's particles when their effective number falls below this share of P.
    """

    particles: int = 8
    resample_below: float = 0.5

    def __post_init__(self) -> None:
        if self.particles < 1 or not 0 <= self.resample_below <= 1:
            raise TiramisuError(f"particles must be at least 1 and resample_below in [0, 1]: {self}")


DEFAULTS = TwistedSettings()


class Particles(NamedTuple):
    """Where a particle filter ended.

    Attributes:
        images: (B, P, C, H, W) in [-1, 1], known pixels exact.
        log_weights: (B, P), up to a constant per image.
        effective: (T, B) effective number of particles at each step, noisiest first, before resampling.
    """

    images: Tensor
    log_weights: Tensor
    effective: Tensor


def twisted(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Tensor,
    known: Tensor,
    *,
    guide: Guide | None = None,
    generator: Generators,
    eta: float = 1.0,
    callback: Callback | None = None,
    x_T: Tensor | None = None,
    settings: TwistedSettings = DEFAULTS,
    circuit: Circuit,
    codebook: PixelCodebook | PatchCodebook,
) -> Tensor:
    """Inpaint with `twisted_particles` and return one particle of each image, drawn by weight: (B, C, H, W).

    Args:
        eta: 1, no other.
    """
    from ...diffusion.samplers.particles import draw_one
    from ...diffusion.samplers.step import check_ancestral

    check_ancestral(eta, "twisted")

    found = twisted_particles(
        denoiser,
        schedule,
        image,
        known,
        guide=guide,
        generator=generator,
        callback=callback,
        x_T=x_T,
        settings=settings,
        circuit=circuit,
        codebook=codebook,
    )
    return found.images[torch.arange(len(image)), draw_one(found.log_weights, generator)]


@torch.no_grad()
def twisted_particles(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Tensor,
    known: Tensor,
    *,
    guide: Guide | None = None,
    generator: Generators,
    callback: Callback | None = None,
    x_T: Tensor | None = None,
    settings: TwistedSettings = DEFAULTS,
    circuit: Circuit,
    codebook: PixelCodebook | PatchCodebook,
) -> Particles:
    """A particle filter on whole images whose twist is the circuit's exact p(known | x_t).

        P particles x_T ~ N(0, I),   w = p_PC(known | x_T);   for t = T … 2:
            resample where 1 / sum w^2 < P / 2
            x_0 = f(x_t) + E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t], known pixels exact
            x_{t-1} ~ q(x_{t-1} | x_t, x_0)
            w <- w  p_PC(known | x_{t-1}) p_DM(x_{t-1} | x_t) / ( p_PC(known | x_t) q(x_{t-1} | x_t, x_0) )

    p_DM(x_{t-1} | x_t) is the network's DDPM step, q(x_{t-1} | x_t, f(x_t)). The last step goes to f(x_1). Where the
    network and the circuit are both right, all weights stay nearly equal.

    Args:
        denoiser, schedule, image, known, generator, callback, x_T: as in `ddim`; guide and callback see P adjacent rows
            for each image, its particles.
        guide: proposes x_0 instead; the limit stays the same.
        circuit, codebook: the twist.
        settings: see `TwistedSettings`.

    Cost: T P network calls and 2 T P circuit passes an image.

    Source: Wu et al. 2023, "Practical and Asymptotically Exact Conditional Sampling in Diffusion Models", arXiv
    2306.17775, with the circuit in the place of their Gaussian around f(x_t).
    """
    from ...diffusion.samplers.particles import effective_sample_size, rows, systematic
    from ...diffusion.samplers.step import composite, first_x, guided_x_0, make_step, prepare, standard_normal

    image, known = prepare(denoiser, schedule, image, known, generator)
    B, P = len(image), settings.particles
    images, masks = (tensor.repeat_interleave(P, 0) for tensor in (image, known))  # (B P, C, H, W)

    x_t = first_x(image, generator, x_T, copies=P)
    log_weights = torch.zeros(B, P, dtype=torch.float64, device=image.device)
    log_twist_before = torch.zeros_like(log_weights)
    effective = []

    for i in reversed(range(len(schedule))):
        # Weigh by what the circuit makes of the particles, and let those that explain the known pixels survive.
        log_twist, shift = twist(circuit, codebook, x_t, float(schedule.alpha_bar[i]), images, masks)
        log_weights += log_twist.view(B, P) - log_twist_before
        effective.append(effective_sample_size(log_weights))
        few = (effective[-1] < settings.resample_below * P)[:, None]
        drawn = systematic(log_weights, generator)
        ancestors = rows(torch.where(few, drawn, torch.arange(P, device=drawn.device)), P)
        log_weights = torch.where(few, 0.0, log_weights)
        x_t, shift, log_twist_before = x_t[ancestors], shift[ancestors], log_twist[ancestors].view(B, P)

        # Propose with the difference guide, and weigh by the network's own step.
        prediction = denoiser(x_t, int(schedule.timesteps[i]))
        step = make_step(schedule, i, x_t, prediction, images, masks)
        x_0 = (prediction.x_0 + shift).clamp(-1, 1) if guide is None else guided_x_0(guide, step)
        x_0 = torch.where(masks, images, x_0)
        mean, variance = schedule.posterior(prediction.x_0, x_t, i)
        proposed, _ = schedule.posterior(x_0, x_t, i)
        if i > 0:
            noise = math.sqrt(variance) * standard_normal(images, generator)
            x_next = proposed + noise
            log_ratio = (noise**2 - (x_next - mean) ** 2).double().flatten(1).sum(1) / (2 * variance)
            log_weights += log_ratio.view(B, P)
        else:
            x_next = prediction.x_0
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    pictures = composite(x_t, images, masks).unflatten(0, (B, P))
    return Particles(pictures, log_weights, torch.stack(effective))


def twist(
    circuit: Circuit,
    codebook: PixelCodebook | PatchCodebook,
    x_t: Tensor,
    alpha_bar: float,
    image: Tensor,
    known: Tensor,
) -> tuple[Tensor, Tensor]:
    """What the circuit says of the known pixels, exactly.

    Returns:
        log p_PC(known | x_t) = log p_PC(x_t, known) - log p_PC(x_t), (B,) float64, and
        E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t], (B, C, H, W).
    """
    both = Observation(x_t, alpha_bar, image, known).with_and_without_known()
    log_weights = codebook.log_weights(both)
    with torch.enable_grad():  # the derivative of log Z by the log weights is the posterior: one pass gives both
        log_weights.requires_grad_()
        log_z = circuit.log_partition(log_weights)
        (marginals,) = torch.autograd.grad(log_z.sum(), log_weights)
    log_p = (log_z.detach() + codebook.log_scale(both)).double()
    with_known, without = codebook.moments(marginals, both).mean.chunk(2)
    of_known, of_noisy = log_p.chunk(2)
    return of_known - of_noisy, (with_known - without).to(x_t)
