"""The main job: fill in the hidden pixels of images with a world's denoiser, steered by its circuit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .checks import instance
from .diffusion.noise import Generators, generators_of
from .diffusion.samplers import get_sampler
from .diffusion.step import Step
from .diffusion.walk import Cost, Sampler, check_masked, clock
from .errors import TiramisuError
from .methods import make_guide
from .steering.beyond.twisted import twisted
from .steering.guide import Guide, own_generator
from .world import World, parts_of


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
    world: World | None = None,
    image: Tensor = None,  # type: ignore[assignment]  # it has a place, and a name where there is no world
    known: Tensor = None,  # type: ignore[assignment]
    *,
    sampler: str | Sampler = "replacement",
    guide: str | Callable[[Step], Tensor] | None = "difference",
    num_inference_steps: int = 25,
    guided_fraction: float | None = None,
    eta: float | None = None,
    generator: Generators | int | None = None,
    record: bool = False,
    **parts: Any,
) -> InpaintResult:
    """Fill in the hidden pixels.

    Args:
        world: from `load`; or None, with models of your own as `parts`.
        image: (B, C, H, W) in [-1, 1]; hidden pixels may hold anything.
        known: bool (B, 1, H, W) or (1, H, W), True where the pixel is given.
        sampler: one of `SAMPLERS` (`tiramisu_edu.diffusion.samplers`), with the world's tuned options; or "twisted",
            the particle filter that has the difference guide built in; or a sampler of your own, called as they are.
        guide: "none" or one of `GUIDES` (`tiramisu_edu.methods`), such as "mixture" or "latent", the paper's,
            or "difference"; or a `Guide` or function of your own, `Step` -> clean prediction.
        num_inference_steps: T, the schedule respaced to it.
        guided_fraction: share of the steps, from the noisiest on, that are guided; the guide's default if None
            (mixture 0.2, difference 1).
        eta: of the sampler, 0 being DDIM without fresh noise and 1 the noise of DDPM; the sampler's own if None.
        generator: one for the batch, or one per image so that no image depends on its neighbours, up to rounding; or a
            seed; None is seed 0.
        record: keep the trajectory, in latents where the denoiser works there.
        parts: denoiser, circuit, codebook, tokenizer, code_circuit, pictures, in place of a world: see `PartsWorld`.

    Raises:
        TiramisuError: for an unknown sampler or guide, a part that is missing, or a number out of range.
        ImageError: for images or masks of a wrong shape, type or range.
    """
    world = parts_of(world, parts)
    coder, of_pixels = world.denoiser.autoencoder, isinstance(guide, str | Guide) and guide not in ("none", "latent")
    if coder is not None and (of_pixels or sampler == "twisted"):
        raise TiramisuError("this denoiser works in latents, which no circuit of pixels sees: guide='none' or 'latent'")
    check_masked(image, known)
    generator = generators_of(generator, len(image))
    trajectory: list[Moment] = []

    def note(step: Step, x_0: Tensor, x_next: Tensor) -> None:
        trajectory.append(_moment(step, getattr(guide, "circuit_mean", None), x_0))

    sample, guide, options = _method(world, sampler, guide, guided_fraction, generator)
    if eta is not None:
        options["eta"] = eta
    begun, cost, inner, inner_known = clock(image), Cost(), image, known
    schedule = world.schedule.respace(num_inference_steps)
    if coder is not None:
        inner, inner_known = coder.encode_known(image, known)
    options |= {"guide": guide, "generator": generator, "callback": note if record else None, "cost": cost}
    images = sample(world.denoiser, schedule, inner, inner_known, **options)
    if coder is not None:
        images = torch.where(known, image, coder.decode(images))
    seconds = clock(image) - begun
    return InpaintResult(images, tuple(trajectory), seconds, cost.guide_seconds, cost.forward, cost.backward)


def _moment(step: Step, circuit_mean: Tensor | None, x_0: Tensor) -> Moment:
    on_cpu = [None if i is None else i.detach().cpu() for i in (step.x_t, step.prediction.x_0, circuit_mean, x_0)]
    return Moment(step.index, step.alpha_bar, *on_cpu)  # type: ignore[arg-type]


def _method(
    world: World,
    sampler: str | Sampler,
    guide: str | Callable[[Step], Tensor] | None,
    fraction: float | None,
    generator: Generators,
) -> tuple[Sampler, Callable[[Step], Tensor] | None, dict[str, Any]]:
    """Sampler and guide as functions, and the sampler's options in this world."""
    if not callable(sampler):
        instance("sampler", sampler, str)
    options: dict[str, Any] = dict(world.sampler_options.get(sampler, {})) if isinstance(sampler, str) else {}
    if sampler == "twisted":
        sampler, guide = twisted, None if guide == "difference" else guide
        options |= {"circuit": world.circuit, "codebook": world.codebook}
    elif isinstance(sampler, str):
        sampler = get_sampler(sampler)
    if not callable(guide):
        guide = make_guide(guide, world, fraction=fraction, generator=own_generator(generator))
    if getattr(guide, "uses_variance", False):
        world.calibrate()
    return sampler, guide, options
