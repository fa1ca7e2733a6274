"""DDRM: known pixels are drawn around the measurement, hidden ones around the clean prediction."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..denoiser import Denoiser, Prediction
from ..schedule import Schedule
from .step import (
    Callback,
    Generators,
    Guide,
    check_at_least,
    composite,
    first_x,
    guided_epsilon,
    guided_x_0,
    make_step,
    prepare,
    standard_normal,
)


@dataclass(frozen=True)
class DDRMSettings:
    """The constants of DDRM beside eta.

    Attributes:
        eta_b: share of the measurement in the mean of a known pixel, in [0, 1]; the rest is the clean prediction.
        clip: clean predictions are held in [-1, 1]. The published codes do not hold them.
    """

    eta_b: float = 1.0
    clip: bool = False

    def __post_init__(self) -> None:
        check_at_least(self, eta_b=0)


DEFAULTS = DDRMSettings()


@torch.no_grad()
def ddrm(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Tensor,
    known: Tensor,
    *,
    guide: Guide | None = None,
    generator: Generators,
    eta: float = 0.85,
    callback: Callback | None = None,
    x_T: Tensor | None = None,
    settings: DDRMSettings = DEFAULTS,
) -> Tensor:
    """Inpaint as a linear inverse problem without measurement noise, whose singular values are 1 and 0.

        x_T = m (sqrt(ᾱ_T) y + sqrt(1 - ᾱ_T) z) + (1 - m) z';   for t = T … 1, with σ = sqrt((1 - ᾱ_{t-1}) / ᾱ_{t-1}):
            hidden:  x_{t-1} / sqrt(ᾱ_{t-1}) = x_0 + sqrt(1 - eta²) σ ε + eta σ z
            known:   x_{t-1} / sqrt(ᾱ_{t-1}) = (1 - eta_b) x_0 + eta_b y + σ z

    The singular vectors of a mask are the pixels themselves, so no decomposition is needed. A share of fresh noise that
    does not shrink with the steps costs variety: with the exact denoiser of N(0.1, 0.2²) and eta = 0.85, draws have
    the deviation 0.17, at 100 steps as at 1000.

    Args:
        denoiser, schedule, image, known, guide, generator, callback, x_T: as in `ddim`.
        eta: share of fresh noise, in [0, 1]. It is not DDIM's: 1 renews all noise at each step.
        settings: the other constants, see `DDRMSettings`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where published code differs: the comparison with Tiramisu ran it with eta = 0. Known pixels are then noised
    afresh at each step and hidden ones take DDIM steps, which is `replacement` without clipping.

    Source: Kawar et al., "Denoising Diffusion Restoration Models", equations 7 and 8.
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)
    x_t = torch.where(known, schedule.add_noise(image, len(schedule) - 1, standard_normal(image, generator)), x_t)

    for i in reversed(range(len(schedule))):
        prediction = denoiser(x_t, int(schedule.timesteps[i]))
        if not settings.clip:
            prediction = unclipped(schedule, i, x_t, prediction)
        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        epsilon = guided_epsilon(guide, step, x_0)

        noise = standard_normal(image, generator)
        signal, spread = schedule.levels_after(i)
        hidden = signal * x_0 + spread * (math.sqrt(1 - eta**2) * epsilon + eta * noise)
        given = signal * ((1 - settings.eta_b) * x_0 + settings.eta_b * image) + spread * noise
        x_next = torch.where(known, given, hidden)
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)


def unclipped(schedule: Schedule, i: int, x_t: Tensor, prediction: Prediction) -> Prediction:
    """The clean prediction that the network's noise implies, (x_t - sqrt(1 - ᾱ_t) ε) / sqrt(ᾱ_t), of any size."""
    alpha_bar = float(schedule.alpha_bar[i])
    return prediction._replace(x_0=(x_t - math.sqrt(1 - alpha_bar) * prediction.epsilon) / math.sqrt(alpha_bar))
