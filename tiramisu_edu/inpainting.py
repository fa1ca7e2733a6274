"""The main job: fill in the hidden pixels of images with a world's denoiser, steered by its circuit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .methods import make_guide
from .steering.guide import Guide, own_generator

if TYPE_CHECKING:
    from .diffusion.samplers import Sampler
    from .diffusion.samplers.step import Step
    from .world import World


class Moment(NamedTuple):
    """One denoising step of a trajectory; images (B, C, H, W) on the CPU.

    index: position in the schedule, falling to 0. alpha_bar: signal level there. x_t: the noisy images. denoiser: the
    network's clean prediction (p_DM). circuit: the circuit's exact E[x_0 | x_t, known] (p_PC), None where it was not
    asked. guided: the clean prediction the step was made with.
    """

    index: int  # type: ignore[assignment]
    alpha_bar: float
    x_t: Tensor
    denoiser: Tensor
    circuit: Tensor | None
    guided: Tensor


class InpaintResult(NamedTuple):
    """What `inpaint` found.

    images: (B, C, H, W) in [-1, 1], known pixels exactly as given. trajectory: one `Moment` a step, noisiest first, if
    recorded. seconds: of sampling, of the processor where that is the CPU (summed over its threads; what else runs on
    the machine does not count), of the clock elsewhere. guide_seconds: of these, spent in the guide. forward, backward:
    network evaluations, summed over the images.
    """

    images: Tensor
    trajectory: tuple[Moment, ...]
    seconds: float
    guide_seconds: float
    forward: int
    backward: int


class _Timed:
    """A guide that counts its own seconds."""

    def __init__(self, guide: Guide):
        self.guide = guide
        self.consistent_noise = guide.consistent_noise
        self.seconds = 0.0

    def __call__(self, step: Step) -> Tensor:
        start = _clock(step.x_t)
        x_0 = self.guide(step)
        self.seconds += _clock(step.x_t) - start
        return x_0


def inpaint(
    world: World,
    image: Tensor,
    known: Tensor,
    *,
    sampler: str = "replacement",
    guide: str | Guide | None = "difference",
    num_inference_steps: int = 25,
    guided_fraction: float | None = None,
    eta: float | None = None,
    start: float | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    record: bool = False,
) -> InpaintResult:
    """Fill in the hidden pixels.

    Args:
        world: from `load`.
        image: (B, C, H, W) in [-1, 1]; hidden pixels may hold anything.
        known: bool (B, 1, H, W) or (1, H, W), True where the pixel is given.
        sampler: one of `SAMPLERS` (`tiramisu_edu.diffusion.samplers`), with the world's tuned options; or "twisted",
            the particle filter that has the difference guide built in.
        guide: "none" or one of `GUIDES` (`tiramisu_edu.methods`), such as "mixture" or "latent", the paper's,
            or "difference"; or a `Guide` of your own.
        num_inference_steps: T, the schedule respaced to it.
        guided_fraction: share of the steps, from the noisiest on, at which the circuit is asked; the guide's default
            if None (mixture 0.2, difference 1).
        eta: of the sampler, 0 being DDIM without fresh noise and 1 the noise of DDPM; the sampler's own if None.
        start: share of the steps, the cleanest, that is left after a start from the circuit's posterior mean
            (`circuit_start`); None starts with noise.
        generator: one for the batch, or one per image so that no image depends on its neighbours.
        record: keep the trajectory.

    Raises:
        TiramisuError: for an unknown sampler or guide, or a number out of range.
        ImageError: for images or masks of a wrong shape, type or range.
    """
    from .diffusion.samplers import count_evaluations, get_sampler
    from .steering.beyond.start import circuit_start
    from .steering.beyond.twisted import twisted

    options = {**world.sampler_options.get(sampler, {}), **({} if eta is None else {"eta": eta})}
    if sampler == "twisted":
        sample: Sampler = partial(twisted, circuit=world.circuit, codebook=world.codebook)
        if guide == "difference":
            guide = None
    else:
        sample = get_sampler(sampler)
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    if not isinstance(guide, Guide):
        guide = make_guide(guide, world, fraction=guided_fraction, generator=own_generator(generator))
    timed = None if guide is None else _Timed(guide)
    trajectory: list[Moment] = []

    def note(step: Step, x_0: Tensor, x_next: Tensor) -> None:
        circuit = None if guide is None else guide.circuit_mean
        images = (step.x_t, step.prediction.x_0, circuit, x_0)
        on_cpu = [None if i is None else i.detach().cpu() for i in images]
        trajectory.append(Moment(step.index, step.alpha_bar, *on_cpu))  # type: ignore[arg-type]

    schedule = world.schedule.respace(num_inference_steps)
    begun = _clock(image)
    if start is not None:
        schedule, options["x_T"] = circuit_start(
            world.circuit, world.codebook, schedule, image, known, begin=start, generator=generator
        )
    with count_evaluations(world.denoiser) as count:
        images = sample(
            world.denoiser,
            schedule,
            image,
            known,
            guide=timed,
            generator=generator,
            callback=note if record else None,
            **options,
        )
    seconds, guide_seconds = _clock(image) - begun, 0.0 if timed is None else timed.seconds
    return InpaintResult(images, tuple(trajectory), seconds, guide_seconds, count.forward, count.backward)


def _clock(like: Tensor) -> float:
    if like.device.type == "cpu":
        return time.process_time()
    if like.device.type == "cuda":
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
