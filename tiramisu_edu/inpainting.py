"""The main job: fill in the hidden pixels of images with a world's denoiser, steered by its circuit."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .checks import instance
from .diffusion.noise import Generators, check_generators
from .diffusion.samplers import get_sampler
from .diffusion.step import Step
from .diffusion.walk import Cost, check_masked, clock
from .methods import make_guide
from .steering.beyond.start import circuit_start
from .steering.beyond.twisted import twisted
from .steering.guide import Guide, own_generator
from .world import World


class Moment(NamedTuple):
    """One denoising step of a trajectory; images (B, C, H, W) on the CPU.

    Attributes:
        index: position in the schedule, falling to 0.
        alpha_bar: signal level there.
        x_t: the noisy images.
        denoiser: the network's clean prediction (p_DM).
        circuit: the circuit's exact E[x_0 | x_t, known] (p_PC), None where the guide did not use it.
        guided: the clean prediction the step was made with.
    """

    index: int  # type: ignore[assignment]
    alpha_bar: float
    x_t: Tensor
    denoiser: Tensor
    circuit: Tensor | None
    guided: Tensor


class InpaintResult(NamedTuple):
    """Completed images, and what they cost.

    Attributes:
        images: (B, C, H, W) in [-1, 1], known pixels exactly as given.
        trajectory: one `Moment` a step, noisiest first, if recorded.
        seconds: of sampling; CPU time, summed over threads, on the CPU, wall-clock time elsewhere.
        guide_seconds: of these, spent in the guide.
        forward, backward: network evaluations, summed over the images.
    """

    images: Tensor
    trajectory: tuple[Moment, ...]
    seconds: float
    guide_seconds: float
    forward: int
    backward: int


@torch.inference_mode(False)  # models that are read here can be differentiated through, whatever the caller's mode
@torch.no_grad()
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
    generator: Generators | None = None,
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
        guided_fraction: share of the steps, from the noisiest on, that are guided; the guide's default if None
            (mixture 0.2, difference 1).
        eta: of the sampler, 0 being DDIM without fresh noise and 1 the noise of DDPM; the sampler's own if None.
        start: share of the steps, the cleanest, that is left after a start from the circuit's posterior mean
            (`circuit_start`); None starts with noise.
        generator: one for the batch, or one per image so that no image depends on its neighbours, up to rounding.
        record: keep the trajectory.

    Raises:
        TiramisuError: for an unknown sampler or guide, or a number out of range.
        ImageError: for images or masks of a wrong shape, type or range.
    """
    instance("world", world, World)
    check_masked(image, known)
    instance("sampler", sampler, str)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    check_generators(generator, len(image))
    options: dict[str, Any] = {**world.sampler_options.get(sampler, {}), **({} if eta is None else {"eta": eta})}
    if sampler == "twisted":
        sample, guide = twisted, None if guide == "difference" else guide
        options |= {"circuit": world.circuit, "codebook": world.codebook}
    else:
        sample = get_sampler(sampler)
    if not isinstance(guide, Guide):
        guide = make_guide(guide, world, fraction=guided_fraction, generator=own_generator(generator))
    trajectory: list[Moment] = []

    def note(step: Step, x_0: Tensor, x_next: Tensor) -> None:
        circuit = None if guide is None else guide.circuit_mean
        images = (step.x_t, step.prediction.x_0, circuit, x_0)
        on_cpu = [None if i is None else i.detach().cpu() for i in images]
        trajectory.append(Moment(step.index, step.alpha_bar, *on_cpu))  # type: ignore[arg-type]

    schedule, begun, cost = world.schedule.respace(num_inference_steps), clock(image), Cost()
    if start is not None:
        schedule, options["x_T"] = circuit_start(
            world.circuit, world.codebook, schedule, image, known, begin=start, generator=generator
        )
    options |= {"guide": guide, "generator": generator, "callback": note if record else None, "cost": cost}
    images = sample(world.denoiser, schedule, image, known, **options)
    seconds = clock(image) - begun
    return InpaintResult(images, tuple(trajectory), seconds, cost.guide_seconds, cost.forward, cost.backward)
