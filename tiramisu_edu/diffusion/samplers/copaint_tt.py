"""CoPaint with time travel: each stretch of steps is taken again, from noise added to what came out of it."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..schedule import Schedule, jump_schedule
from .copaint import CoPaintSettings, cohere
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
    step_noise,
)


@dataclass(frozen=True)
class CoPaintTTSettings(CoPaintSettings):
    """The constants of CoPaint, and how often it goes back.

    Attributes:
        jump_length: steps back at a time.
        repeats: times that each stretch of `jump_length` steps is taken; 1 never goes back.
    """

    jump_length: int = 10
    repeats: int = 2

    def __post_init__(self) -> None:
        check_at_least(self, jump_length=1, repeats=1)


DEFAULTS = CoPaintTTSettings()


@torch.no_grad()
def copaint_tt(
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
    settings: CoPaintTTSettings = DEFAULTS,
) -> Tensor:
    """Inpaint as `copaint` does, along a schedule with jumps back.

        x_T ~ N(0, I);   along T - 1, …, with jumps back, …, -1 (`jump_schedule`):
            down from t:  optimise x_t as CoPaint does;  x_{t-1} = DDIM step from it
            up from t:    optimise x_t once more where the climb begins
                          x_{t+1} = sqrt(1 - β_{t+1}) x_t + sqrt(β_{t+1}) z

    Rate and λ belong to the index, so going back takes their growth back too.

    Args:
        denoiser, schedule, image, known, guide, generator, eta, callback, x_T: as in `copaint`. Guide and callback see
            every step down, so an index comes `settings.repeats` times.
        settings: the constants, see `CoPaintTTSettings`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: N (1 + G) F + N G B with N = T + J (repeats - 1) (jump_length + 1) optimisations and
    J = ceil(T / jump_length) - 1 places to jump back from (F forward, B backward evaluations of the network for one
    image), and more where trials are rejected, as in `copaint`.

    Where the published code differs: as in `copaint`.

    Source: Zhang et al., "Towards Coherent Image Inpainting Using Denoising Diffusion Implicit Models", section 4.3.
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)
    climbing = False

    for i, following in pairwise(jump_schedule(len(schedule), settings.jump_length, settings.repeats)):
        if following < i or not climbing:
            x_t, prediction, _ = cohere(denoiser, schedule, i, x_t, image, known, settings)
        climbing = following > i
        if climbing:
            x_t = schedule.renoise(x_t, i, standard_normal(image, generator))
            continue

        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        epsilon = guided_epsilon(guide, step, x_0)
        noise = step_noise(image, generator, i, eta)
        x_next = schedule.ddim_step(x_t, x_0, epsilon, i, eta, noise)
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)
