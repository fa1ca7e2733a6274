"""What all samplers share: one step as a record, the guide's place in it, noise, and the final composite.

A guide never asks which sampler called it, and a sampler never asks which guide it has. Both know `Step`.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tiramisu_edu.diffusion.denoiser import Denoiser, Prediction
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import ImageError, TiramisuError


class Step(NamedTuple):
    """One denoising step, before the guide has spoken.

    Attributes:
        index: position in the schedule, num_steps - 1 (noisiest, first) down to 0.
        num_steps: T.
        alpha_bar: ᾱ at this index.
        x_t: (B, C, H, W) noisy images that the prediction is about.
        prediction: clean images and noise, as the denoiser sees them.
        variance: calibrated Var[x_0 | x_t] per pixel, NaN where the schedule is not calibrated.
        image: (B, C, H, W) in [-1, 1], 0 where hidden.
        known: (B, 1, H, W) or (B, C, H, W) bool, True where the pixel is given.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    num_steps: int
    alpha_bar: float
    x_t: Tensor
    prediction: Prediction
    variance: float
    image: Tensor
    known: Tensor


Guide = Callable[[Step], Tensor]
"""step -> x_0 (B, C, H, W), a new clean prediction, or `step.prediction.x_0` itself to leave the step
alone."""

Callback = Callable[[Step, Tensor, Tensor], None]
"""(step, x_0 after guidance, x_next), each step once; what a film or a plot is made of."""

Generators = torch.Generator | Sequence[torch.Generator]
"""One generator for the batch, or one for each image: then an image does not depend on its neighbours'
noise."""


class Sampler(Protocol):
    """The signature of all samplers; the schedule is already respaced, the result (B, C, H, W) composited."""

    def __call__(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        image: Tensor,
        known: Tensor,
        *,
        guide: Guide | None = None,
        generator: Generators,
        eta: float = 0.0,
        callback: Callback | None = None,
    ) -> Tensor: ...


def prepare(
    denoiser: Denoiser, schedule: Schedule, image: Tensor, known: Tensor, generator: Generators
) -> tuple[Tensor, Tensor]:
    """Check a sampler's arguments; return the image with 0 in hidden pixels, and `known` in the batch's
    shape.

    Raises:
        ImageError: the image is not (B, C, H, W) float, the mask not boolean or of another size, or a known
            pixel lies outside [-1, 1].
        TiramisuError: the schedule is not one of the denoiser's, or there are not as many generators as
        images.
    """
    _check_image(image, known)
    own = denoiser.schedule
    if int(schedule.timesteps[-1]) >= len(own) or not torch.equal(
        own.alpha_bar[schedule.timesteps], schedule.alpha_bar
    ):
        raise TiramisuError("the schedule is not one of this denoiser's: use denoiser.schedule.respace(T)")
    if isinstance(generator, Sequence) and len(generator) != len(image):
        raise TiramisuError(f"{len(generator)} generators for {len(image)} images: give one, or one per image")
    channels = known.shape[-3] if known.ndim >= 3 else 1
    known = known.to(image.device).expand(len(image), channels, *image.shape[2:])
    visible = torch.where(known, image, 0)
    if not bool((visible.abs() <= 1).all()):
        raise ImageError("known pixels must be numbers in [-1, 1]")
    return visible, known


def standard_normal(like: Tensor, generator: Generators) -> Tensor:
    """Noise of the shape, dtype and device of `like`, drawn where the generator lives.

    A generator on the CPU therefore gives the same picture on every device.
    """
    if isinstance(generator, torch.Generator):
        noise = torch.randn(like.shape, generator=generator, device=generator.device)
    else:
        shape = (1, *like.shape[1:])
        noise = torch.cat([torch.randn(shape, generator=g, device=g.device) for g in generator])
    return noise.to(like)


def step_noise(like: Tensor, generator: Generators, index: int, eta: float) -> Tensor | None:
    """Noise for the DDIM step from `index`, or None where that step takes none."""
    return standard_normal(like, generator) if eta > 0 and index > 0 else None


def make_step(
    schedule: Schedule, index: int, x_t: Tensor, prediction: Prediction, image: Tensor, known: Tensor
) -> Step:
    """The record of one step."""
    variance = math.nan if schedule.residual_variance is None else float(schedule.residual_variance[index])
    alpha_bar = float(schedule.alpha_bar[index])
    return Step(index, len(schedule), alpha_bar, x_t, prediction, variance, image, known)


def guided_x_0(guide: Guide | None, step: Step) -> Tensor:
    """The clean prediction to step with: the guide's, or the denoiser's own where there is no guide.

    Raises:
        TiramisuError: the guide gave another shape back.
    """
    if guide is None:
        return step.prediction.x_0
    x_0 = guide(step)
    if x_0.shape != step.x_t.shape:
        found, expected = tuple(x_0.shape), tuple(step.x_t.shape)
        raise TiramisuError(f"the guide returned {found} at index {step.index}, expected {expected}")
    return x_0


def composite(x: Tensor, image: Tensor, known: Tensor) -> Tensor:
    """The known pixels exactly, the sampled ones elsewhere, clipped to [-1, 1]."""
    return torch.where(known, image, x.clamp(-1, 1))


def _check_image(image: Tensor, known: Tensor) -> None:
    if image.ndim != 4 or len(image) == 0 or not image.is_floating_point():
        raise ImageError(f"expected float images (B, C, H, W), got {image.dtype} {tuple(image.shape)}")
    if known.dtype != torch.bool:
        raise ImageError(f"known must be bool, True where the pixel is given; got {known.dtype}")
    try:
        fits = torch.broadcast_shapes(known.shape, image.shape) == image.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ImageError(f"known {tuple(known.shape)} does not fit images {tuple(image.shape)}")
