"""Resampling (SMCDiff): particles that explain the known pixels survive, the others die."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Schedule
from .particles import draw_one, effective_sample_size, rows, systematic
from .step import (
    Callback,
    Generators,
    Guide,
    check_ancestral,
    check_at_least,
    composite,
    first_x,
    guided_x_0,
    make_step,
    prepare,
    standard_normal,
)


@dataclass(frozen=True)
class ResamplingSettings:
    """The constants of the particle filter.

    Attributes:
        particles: P, for each image.
        resample_below: resample an image's particles when their effective number, 1 / sum_k w_k², falls below this
            share of P, in [0, 1].
    """

    particles: int = 10
    resample_below: float = 0.5

    def __post_init__(self) -> None:
        check_at_least(self, particles=1, resample_below=0)


DEFAULTS = ResamplingSettings()


@torch.no_grad()
def resampling(
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
    settings: ResamplingSettings = DEFAULTS,
) -> Tensor:
    """Inpaint by a particle filter on the hidden pixels, exact for the network's own distribution as P grows.

        y_T … y_0: one noisy history of the known pixels;   P particles x_T ~ N(0, I), weights w = 1 / P
        for t = T … 1:
            x_t = m y_t + (1 - m) x_t;   μ = mean of q(x_{t-1} | x_t, f(x_t, t)),  s² = its variance
            w <- w N(m y_{t-1}; m μ, s²);   resample where 1 / sum w² < P / 2
            x_{t-1} ~ N(μ, s²)

    The history is drawn backwards, y_{t-1} ~ q(y_{t-1} | y_t, y), the same in law as forwards. The last weighting,
    where s² = 0, is left out.

    With a guide, hidden pixels are drawn from q(x_{t-1} | x_t, guided x_0) instead, and w is multiplied by the ratio
    of the two densities: the guide proposes, and the particles still converge to the network's distribution.

    Args:
        denoiser, schedule, image, known, guide, generator, callback, x_T: as in `ddim`. Guide and callback see P
            adjacent rows for each image, its particles.
        eta: 1, no other.
        settings: see `ResamplingSettings`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact: of each image one particle, drawn by weight.

    Cost: T P F (F forward, B backward evaluations of the network for one image).

    Where published code differs: the authors weight a particle before they overwrite its known pixels. The
    comparison with Tiramisu weights by softmax(100 mse_mean / mse), draws y_t independently at each step, takes
    deterministic steps, so that copies of a particle stay copies, and then carries on with the noisy state
    from before the step: hidden pixels are never denoised. None of this is reproduced.

    Source: Trippe et al., "Diffusion Probabilistic Modeling of Protein Backbones in 3D for the Motif-Scaffolding
    Problem", algorithm 2.
    """
    check_ancestral(eta, "resampling")
    image, known = prepare(denoiser, schedule, image, known, generator)
    B, P = len(image), settings.particles
    images, masks = (tensor.repeat_interleave(P, 0) for tensor in (image, known))  # (B P, C, H, W)

    y_t = schedule.add_noise(image, len(schedule) - 1, standard_normal(image, generator))
    x_t = first_x(image, generator, x_T, copies=P)
    log_weights = torch.zeros(B, P, dtype=torch.float64, device=image.device)

    for i in reversed(range(len(schedule))):
        x_t = torch.where(masks, y_t.repeat_interleave(P, 0), x_t)
        prediction = denoiser(x_t, int(schedule.timesteps[i]))
        step = make_step(schedule, i, x_t, prediction, images, masks)
        x_0 = guided_x_0(guide, step)
        mean, variance = schedule.posterior(prediction.x_0, x_t, i)
        x_next, _ = schedule.posterior(x_0, x_t, i)

        if i > 0:
            # Weigh by the known pixels of the next level, under the network's own step.
            y_t = schedule.ddpm_step(y_t, image, i, standard_normal(image, generator))
            log_weights += log_normal(y_t.repeat_interleave(P, 0), mean, variance, masks).view(B, P)

            # Only the particles of one image compete, and only where too few of them count.
            drawn = systematic(log_weights, generator)
            few = (effective_sample_size(log_weights) < settings.resample_below * P)[:, None]
            ancestors = rows(torch.where(few, drawn, torch.arange(P, device=drawn.device)), P)
            log_weights = torch.where(few, 0, log_weights)
            mean, proposed = mean[ancestors], x_next[ancestors]

            # Propose hidden pixels with the guide, and weigh them by the network.
            x_next = proposed + math.sqrt(variance) * standard_normal(images, generator)
            model, proposal = (log_normal(x_next, m, variance, ~masks) for m in (mean, proposed))
            log_weights += (model - proposal).view(B, P)
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    survivors = rows(draw_one(log_weights, generator)[:, None], P)
    return composite(x_t[survivors], image, known)


def log_normal(x: Tensor, mean: Tensor, variance: float, where: Tensor) -> Tensor:
    """(N,) log N(x; mean, variance I) over those pixels of each row that are True in `where`, up to a constant."""
    return -torch.where(where, x - mean, 0).square().flatten(1).sum(1) / (2 * variance)
