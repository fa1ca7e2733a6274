"""DPS: after each step, move down the gradient of how badly the clean prediction fits the known pixels."""

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
    guided_x_0,
    make_step,
    prepare,
    preset,
    step_noise,
)


@dataclass(frozen=True)
class DPSSettings:
    """The constants of DPS beside eta.

    Attributes:
        zeta: length of the gradient step; 1 in the comparison with Tiramisu, 0.5 in the authors' inpainting. It does
            not carry over between image sizes and numbers of steps: tune it on validation images.
    """

    zeta: float = 1.0

    def __post_init__(self) -> None:
        check_at_least(self, zeta=0)

    @classmethod
    def preset(cls, name: str) -> "DPSSettings":
        """Settings by name: "tiramisu" and "original" (published, see above), and "digits".

        "digits", for 8 x 8 images in 25 steps, is the best of zeta = 0.5, 1, 2, 3, 4, 6 on 80 validation digits: the
        squared error of the hidden pixels is 0.23 instead of 0.29 (zeta = 1) with the top half given, and 0.40 instead
        of 0.41 with the centre given; from 2 on the differences are small.

        Raises:
            TiramisuError: no such preset.
        """
        return preset({"tiramisu": cls(), "original": cls(zeta=0.5), "digits": cls(zeta=4.0)}, name)


DEFAULTS = DPSSettings()


@torch.no_grad()
def dps(
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
    settings: DPSSettings = DEFAULTS,
) -> Tensor:
    """Inpaint with the likelihood of the known pixels, approximated at the clean prediction, as a gradient.

        x_T ~ N(0, I);   for t = T … 1:
            x'_{t-1} = unconditional step from x_t (eta = 1: a draw of q(x_{t-1} | x_t, x_0))
            x_{t-1} = x'_{t-1} - zeta ∇_{x_t} |m (y - f(x_t, t))|

    |·| is the norm over the pixels of one image, not its square, so that the squared error gets the step zeta / norm.

    Args:
        denoiser, schedule, image, known, guide, generator, callback, x_T: as in `ddim`. The guide changes the
            unconditional step; the gradient is the network's own.
        eta: as in `ddim`, and ε is always consistent with x_0.
        settings: see `DPSSettings`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T F + T B (F forward, B backward evaluations of the network for one image).

    Where published code differs: the norm is taken over the whole batch, so that images influence each other; the
    authors add measurement noise to the known pixels and use the network's learned variance.

    Source: Chung et al., "Diffusion Posterior Sampling for General Noisy Inverse Problems", algorithm 1.
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)

    for i in reversed(range(len(schedule))):
        prediction, gradient = misfit_gradient(denoiser, int(schedule.timesteps[i]), x_t, image, known)
        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        unconditional = schedule.ddim_step(x_t, x_0, None, i, eta, step_noise(image, generator, i, eta))
        x_next = unconditional - settings.zeta * gradient
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)


def misfit_gradient(
    denoiser: Denoiser, time: int, x_t: Tensor, image: Tensor, known: Tensor
) -> tuple[Prediction, Tensor]:
    """The prediction at x_t, and the gradient (B, C, H, W) of |m (y - f(x_t))|, each image's own norm; 0 at its
    minimum.
    """
    with torch.enable_grad():
        x = x_t.detach().requires_grad_()
        prediction = denoiser(x, time)
        misfit = torch.linalg.vector_norm(torch.where(known, image - prediction.x_0, 0).flatten(1), dim=1)
        (gradient,) = torch.autograd.grad(misfit.sum(), x)
    return Prediction(*(part.detach() for part in prediction)), gradient
