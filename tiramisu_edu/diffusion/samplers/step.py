"""What all samplers share: one step as a record, the guide's place in it, noise, and the final composite.

A guide never asks which sampler called it, and a sampler never asks which guide it has. Both know `Step`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from ...errors import ImageError, TiramisuError
from ..denoiser import Denoiser, Prediction
from ..schedule import Schedule


class Step(NamedTuple):
    """One denoising step, before the guide has spoken.

    A batch of images may have more rows than images: a sampler with P particles has P adjacent rows for each.

    Attributes:
        index: position in the schedule, num_steps - 1 (noisiest, first) down to 0. A sampler that travels back in
            time visits an index more than once.
        num_steps: T.
        alpha_bar: ᾱ at this index.
        x_t: (B, C, H, W) noisy images that the prediction is about.
        prediction: clean images and noise, as the denoiser sees them.
        variance: calibrated Var[x_0 | x_t] per pixel, NaN where the schedule is not calibrated.
        image: (B, C, H, W) in [-1, 1], 0 where hidden.
        known: (B, 1, H, W) or (B, C, H, W) bool, True where the pixel is given.
        step_variance: Var[x_{t-1} | x_t, x_0] of the step to come; at index 0, where it is 0, that of index 1.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one needs here
    num_steps: int
    alpha_bar: float
    x_t: Tensor
    prediction: Prediction
    variance: float
    image: Tensor
    known: Tensor
    step_variance: float = math.nan


Guide = Callable[[Step], Tensor]
"""step -> x_0 (B, C, H, W), a new clean prediction, or `step.prediction.x_0` itself to leave the step
alone. A guide may have an attribute `consistent_noise`, see `guided_epsilon`."""

Callback = Callable[[Step, Tensor, Tensor], None]
"""(step, x_0 after guidance, x_next), each denoising step once; what a film or a plot is made of."""

Generators = torch.Generator | Sequence[torch.Generator]
"""One generator for the batch, or one for each image: then an image does not depend on its neighbours'
noise."""

S = TypeVar("S")


class Sampler(Protocol):
    """The signature of all samplers; the schedule is already respaced, the result (B, C, H, W) composited.

    Each has its own default of eta, the method's, and most have `settings`, a frozen dataclass of the method's own
    constants. No image of a batch has a say in another's result.
    """

    def __call__(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        image: Tensor,
        known: Tensor,
        *,
        guide: Guide | None = None,
        generator: Generators,
        eta: float = ...,
        callback: Callback | None = None,
        x_T: Tensor | None = None,
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

    A generator on the CPU therefore gives the same picture on every device. With several generators each one draws
    an equal share of the rows, so P rows for the P particles of its image.
    """
    return _draw(torch.randn, like, generator)


def uniform(like: Tensor, generator: Generators) -> Tensor:
    """Numbers in [0, 1), drawn as in `standard_normal`."""
    return _draw(torch.rand, like, generator)


def _draw(kind: Callable[..., Tensor], like: Tensor, generator: Generators) -> Tensor:
    generators = [generator] if isinstance(generator, torch.Generator) else generator
    shape = (len(like) // len(generators), *like.shape[1:])
    return torch.cat([kind(shape, generator=g, device=g.device) for g in generators]).to(like)


def first_x(image: Tensor, generator: Generators, x_T: Tensor | None, copies: int = 1) -> Tensor:
    """What a sampler begins with, `copies` adjacent rows for each image: x_T where given, else standard normal noise.

    Raises:
        TiramisuError: x_T has another shape than the image.
    """
    if x_T is None:
        return standard_normal(image.repeat_interleave(copies, 0), generator)
    if x_T.shape != image.shape:
        raise TiramisuError(f"x_T must have the shape of the images, {tuple(image.shape)}, not {tuple(x_T.shape)}")
    return x_T.to(image).repeat_interleave(copies, 0)


def step_noise(like: Tensor, generator: Generators, index: int, eta: float) -> Tensor | None:
    """Noise for the DDIM step from `index`, or None where that step takes none."""
    return standard_normal(like, generator) if eta > 0 and index > 0 else None


def make_step(
    schedule: Schedule, index: int, x_t: Tensor, prediction: Prediction, image: Tensor, known: Tensor
) -> Step:
    """The record of one step."""
    variance = math.nan if schedule.residual_variance is None else float(schedule.residual_variance[index])
    alpha_bar = float(schedule.alpha_bar[index])
    step_variance = float(schedule.posterior_variance[:2].max() if index == 0 else schedule.posterior_variance[index])
    return Step(index, len(schedule), alpha_bar, x_t, prediction, variance, image, known, step_variance)


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


def guided_epsilon(guide: Guide | None, step: Step, x_0: Tensor) -> Tensor:
    """The noise (B, C, H, W) to step with beside a guided x_0: the network's own, or the one consistent with x_0.

        ε = (x_t - sqrt(ᾱ_t) x_0) / sqrt(1 - ᾱ_t)    where guide.consistent_noise, and x_0 has moved

    A guide moves the clean prediction, and x_t = sqrt(ᾱ_t) x_0 + sqrt(1 - ᾱ_t) ε says that the noise moves with it.
    The published code keeps the network's ε: the steps then go further than the guide asked, and draws are
    overconfident. With consistent noise and a guide that is exact, DDIM draws from the exact conditional distribution.

    Args:
        guide: its attribute `consistent_noise` decides; without one it is False.
        step, x_0: what `guided_x_0` took and gave. An x_0 that the guide left alone keeps the network's ε.
    """
    if x_0 is step.prediction.x_0 or not getattr(guide, "consistent_noise", False):
        return step.prediction.epsilon
    return (step.x_t - math.sqrt(step.alpha_bar) * x_0) / math.sqrt(1 - step.alpha_bar)


def check_ancestral(eta: float, sampler: str) -> None:
    """An ancestral step draws x_{t-1} from q(x_{t-1} | x_t, x_0), which has the noise of eta = 1.

    Raises:
        TiramisuError: another eta is asked for.
    """
    if eta != 1:
        raise TiramisuError(f"{sampler} takes ancestral steps, eta = 1, not {eta:g}: leave eta out, or use ddim")


def preset(presets: Mapping[str, S], name: str) -> S:
    """The settings of that name.

    Raises:
        TiramisuError: there are none.
    """
    if name not in presets:
        kind = type(next(iter(presets.values()))).__name__
        raise TiramisuError(f"{kind} has no preset {name!r}: expected {', '.join(presets)}")
    return presets[name]


def check_at_least(settings: object, **bounds: float) -> None:
    """Every setting that is named is a number not below its bound.

    Raises:
        TiramisuError: one is.
    """
    for name, bound in bounds.items():
        if not getattr(settings, name) >= bound:
            value = getattr(settings, name)
            raise TiramisuError(f"{type(settings).__name__}: {name} must be at least {bound:g}, not {value}")


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
