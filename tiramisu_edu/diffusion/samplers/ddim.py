"""DDIM: plain sampling that never looks at the known pixels. The control for every other sampler."""

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
    step_noise,
)


@torch.no_grad()
def ddim(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Tensor,
    known: Tensor,
    *,
    guide: Guide | None = None,
    generator: Generators,
    eta: float = 0.0,
    callback: Callback | None = None,
    x_T: Tensor | None = None,
) -> Tensor:
    """Sample images unconditionally, then paste the known pixels over them.

        x_T ~ N(0, I);   for t = T … 1:   x_{t-1} = sqrt(ᾱ_{t-1}) x_0 + sqrt(1 - ᾱ_{t-1} - σ²) ε + σ z

    With nothing known this is how a diffusion model draws pictures. With a guide, everything that the sample
    knows about the known pixels comes from the guide.

    Args:
        denoiser: the model.
        schedule: T of its steps, `denoiser.schedule.respace(T)`.
        image: (B, C, H, W) in [-1, 1]; hidden pixels are not read.
        known: bool, True where the pixel is given, of any shape that broadcasts to the image.
        guide: replaces the clean prediction; see `Guide`.
        generator: of all noise; one, or one per image.
        eta: 0 is deterministic after the first noise, 1 has the noise of DDPM.
        callback: sees each step; see `Callback`.
        x_T: (B, C, H, W) noisy images at the schedule's last index to begin with, in place of noise alone.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T F (F forward, B backward evaluations of the network for one image). Published code often stops at index 0
    and makes T - 1 calls; here the last step goes to the clean image.

    Source: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", equation 12.
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)

    for i in reversed(range(len(schedule))):
        prediction = denoiser(x_t, int(schedule.timesteps[i]))
        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        epsilon = guided_epsilon(guide, step, x_0)
        noise = step_noise(image, generator, i, eta)
        x_next = schedule.ddim_step(x_t, x_0, epsilon, i, eta, noise)
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)
