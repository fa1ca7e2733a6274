"""DDPM: ancestral sampling, every step a draw. The unconditional chain that RePaint and resampling build on."""

import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Schedule
from .step import (
    Callback,
    Generators,
    Guide,
    check_ancestral,
    composite,
    first_x,
    guided_x_0,
    make_step,
    prepare,
    step_noise,
)


@torch.no_grad()
def ddpm(
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
) -> Tensor:
    """Sample images unconditionally, then paste the known pixels over them.

        x_T ~ N(0, I);   for t = T … 1:   x_{t-1} ~ q(x_{t-1} | x_t, x_0),   x_0 = f(x_t, t)

    The posterior q knows no ε of its own: it is DDIM with eta = 1 and ε always consistent with x_0. This is the step
    that the paper's equations write, where its code takes DDIM steps.

    Args:
        denoiser, schedule, image, known, guide, generator, callback, x_T: as in `ddim`.
        eta: 1, no other.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where published code differs: networks with a learned variance use it in place of the posterior's.

    Source: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", algorithm 2.
    """
    check_ancestral(eta, "ddpm")
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)

    for i in reversed(range(len(schedule))):
        prediction = denoiser(x_t, int(schedule.timesteps[i]))
        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        x_next = schedule.ddpm_step(x_t, x_0, i, step_noise(image, generator, i, eta))
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)
