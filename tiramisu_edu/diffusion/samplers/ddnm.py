"""DDNM: the known pixels replace the clean prediction's own, before every step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Schedule
from .step import (
    Callback,
    Generators,
    Guide,
    composite,
    first_x,
    guided_epsilon,
    guided_x_0,
    make_step,
    prepare,
    standard_normal,
)


@dataclass(frozen=True)
class DDNMSettings:
    """The constants of DDNM beside eta.

    Attributes:
        published_factor: shrink the noise of each step by sqrt(1 - ᾱ_t²), as the code of the comparison with Tiramisu
            does. Without measurement noise the factor should be 1; it falls to 0.37 at step 20 of 250, so that late
            steps get far less noise than the network expects, and pictures come out too smooth: with the exact
            denoiser of N(0.1, 0.2²), 250 steps draw with the deviation 0.013 (0.17 without the factor, see `ddrm`).
    """

    published_factor: bool = False


DEFAULTS = DDNMSettings()


@torch.no_grad()
def ddnm(
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
    settings: DDNMSettings = DEFAULTS,
) -> Tensor:
    """Inpaint by correcting the clean prediction in the range of the mask and leaving its null space alone.

        x_T ~ N(0, I);   for t = T … 1:
            x̂ = m y + (1 - m) x_0
            x_{t-1} = sqrt(ᾱ_{t-1}) x̂ + sqrt(1 - ᾱ_{t-1}) (sqrt(1 - eta²) ε + eta z)

    Args:
        denoiser, schedule, image, known, guide, generator, callback, x_T: as in `ddim`. Guide and callback see x_0
            before the correction.
        eta: share of fresh noise, in [0, 1]. It is not DDIM's: 1 renews all noise at each step.
        settings: see `DDNMSettings`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where published code differs: the authors' takes 100 steps, does not clip x_0 and can travel back in time (off by
    default); see also `DDNMSettings.published_factor`.

    Source: Wang, Yu, Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", algorithm 1, with
    the noise of its official code.
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)

    for i in reversed(range(len(schedule))):
        prediction = denoiser(x_t, int(schedule.timesteps[i]))
        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        epsilon = guided_epsilon(guide, step, x_0)

        corrected = torch.where(known, image, x_0)
        noise = math.sqrt(1 - eta**2) * epsilon + eta * standard_normal(image, generator)
        signal, spread = schedule.levels_after(i)
        if settings.published_factor:
            spread *= math.sqrt(1 - step.alpha_bar**2)
        x_next = signal * corrected + spread * noise
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)
