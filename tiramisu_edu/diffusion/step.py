"""One denoising step as a record: the only thing that a sampler and a guide both know.

A guide gets a `Step` and returns a clean prediction. It does not depend on the sampler, nor the sampler on the guide.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .denoiser import Prediction
from .schedule import Schedule


class Step(NamedTuple):
    """One denoising step, as passed to the guide.

    A batch may have more rows than images: a sampler with P particles has P adjacent rows for each image.

    Attributes:
        index: position in the schedule, num_steps - 1 (noisiest, first) down to 0. A sampler that travels back in
            time visits an index more than once.
        num_steps: T.
        alpha_bar: ᾱ at this index.
        x_t: (B, C, H, W) noisy images that the prediction is about.
        prediction: clean images and noise, as the denoiser predicts them.
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


def make_step(
    schedule: Schedule, index: int, x_t: Tensor, prediction: Prediction, image: Tensor, known: Tensor
) -> Step:
    """The record of one step."""
    variance = math.nan if schedule.residual_variance is None else float(schedule.residual_variance[index])
    alpha_bar = float(schedule.alpha_bar[index])
    step_variance = float(schedule.posterior_variance[:2].max() if index == 0 else schedule.posterior_variance[index])
    return Step(index, len(schedule), alpha_bar, x_t, prediction, variance, image, known, step_variance)


def guided_epsilon(guide: Guide | None, step: Step, x_0: Tensor) -> Tensor:
    """The noise (B, C, H, W) to step with beside a guided x_0: the network's own, or the one consistent with x_0.

        ε = (x_t - sqrt(ᾱ_t) x_0) / sqrt(1 - ᾱ_t)    where guide.consistent_noise, and x_0 has moved

    A guide moves the clean prediction, and x_t = sqrt(ᾱ_t) x_0 + sqrt(1 - ᾱ_t) ε moves the noise with it. The published
    code keeps the network's ε: the steps then go further than the guided x_0, and draws are overconfident. With
    consistent noise and a guide that is exact, DDIM draws from the exact conditional distribution.

    Args:
        guide: its attribute `consistent_noise` decides; without one it is False.
        step: as passed to the guide.
        x_0: as returned. An x_0 that the guide left alone keeps the network's ε.
    """
    if x_0 is step.prediction.x_0 or not getattr(guide, "consistent_noise", False):
        return step.prediction.epsilon
    return (step.x_t - math.sqrt(step.alpha_bar) * x_0) / math.sqrt(1 - step.alpha_bar)
