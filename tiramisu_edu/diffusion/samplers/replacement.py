"""Replacement: the known pixels, noised to the level of each step, overwrite the sample's own."""

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
    step_noise,
)


@torch.no_grad()
def replacement(
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
    """Inpaint by overwriting: the simplest sampler that looks at the known pixels.

        x_T ~ N(0, I);   for t = T … 1:
            x_t = m (sqrt(ᾱ_t) y + sqrt(1 - ᾱ_t) z_t) + (1 - m) x_t
            x_{t-1} = DDIM step from x_t

    The hidden pixels hear of the known ones only through the network's view of x_t, where early on they drown
    in noise. So borders fit, and the whole often does not.

    Args:
        denoiser, schedule, image, known, guide, generator, eta, callback, x_T: as in `ddim`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where the published code differs (the "ddim" algorithm of the CoPaint repository): it draws all z_t beforehand and
    shares each among the images of a batch; fresh noise for each image is the same in law.

    Source: Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", appendix
    I.2; Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", section 2.5.
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)

    for i in reversed(range(len(schedule))):
        # The known pixels as the forward process would have left them at this level.
        noised = schedule.add_noise(image, i, standard_normal(image, generator))
        x_t = torch.where(known, noised, x_t)

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
