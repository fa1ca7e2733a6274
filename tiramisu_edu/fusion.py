"""Semantic fusion: one picture that follows several references, each in its own region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .checks import check_images, instance, number, positive_integer
from .diffusion.noise import Generators, generators_of
from .errors import ImageError, TiramisuError, known_name
from .inpainting import inpaint
from .methods import code_models
from .steering.beyond.difference import DifferenceGuide
from .steering.fusion import CodeFusionGuide, code_demands, pixel_demands, weigh
from .steering.guide import Guide, own_generator
from .steering.latent import covered_fraction
from .steering.layouts import MOST_REFERENCES, check_regions
from .world import World


class FusionResult(NamedTuple):
    """Fused pictures, and how well the demands agree under the circuit.

    Attributes:
        images: (N, C, H, W) in [-1, 1].
        log_z: log Z, in nats, of all demands together; 0 is the value of a circuit without any preference.
        log_z_each: that of each reference's demand alone.
        contradiction: sum of log_z_each minus log_z; 0 where demands are independent, positive where they contradict
            each other, negative where they support each other.
        seconds: of sampling, as in `InpaintResult`.
    """

    images: Tensor
    log_z: float
    log_z_each: tuple[float, ...]
    contradiction: float
    seconds: float


def fuse(
    world: World,
    references: Tensor | Sequence[Tensor],
    regions: str | Tensor,
    coherence: float = 0.5,
    *,
    temperature: float | None = None,
    model: Literal["codes", "pixels"] | None = None,
    num_images: int = 1,
    sampler: str = "ddim",
    num_inference_steps: int = 25,
    guided_fraction: float | None = None,
    eta: float | None = None,
    generator: Generators | int | None = None,
) -> FusionResult:
    """Draw pictures that follow the semantics of each reference in its region.

    Args:
        world: from `load`.
        references: (R, C, H, W) in [-1, 1], or R images (C, H, W), of the world's size; at most eight.
        regions: a layout by name ("left-right", "up-down", "two-windows1" to "3", "eye-mouth", "upper-lower"), or
            labels (H, W) long, the number of the reference that rules a pixel or -1 for none.
        coherence: how strictly references are followed, 0 (not at all) to 1 (only the likeliest code of each patch):
            demands are tempered to the mean entropy (1 - coherence^2) log V, see `steering.fusion`.
        temperature: in place of coherence, as published: demands proportional to p^(1 / temperature). Published: 0.1,
            for distances in the units of the authors' autoencoder; in ours 1 is the usual rounding error.
        model: "codes", the paper's tokenizer and circuit over codes, the default where the world has them; "pixels",
            the world's circuit about pixels with the difference guide.
        num_images: N, each from its own noise.
        sampler, num_inference_steps, guided_fraction, eta, generator: as in `inpaint`; nothing is known but the
            demands.

    Raises:
        ImageError: for references or regions of a wrong size or type, and regions that are empty or name no reference.
        EvidenceError: for demands of probability zero.
        TiramisuError: for too many references, a coherence outside [0, 1], a temperature of 0 or below, or a world
            without the models.
    """
    instance("world", world, World)
    references = _checked_references(world, references)
    split = check_regions(regions, len(references), (references.shape[2], references.shape[3])).to(references.device)
    tempering = number("coherence", coherence, 0, 1), temperature
    if temperature is not None and not number("temperature", temperature, 0) > 0:
        raise TiramisuError("temperature must be above 0: give coherence=1 for the likeliest codes alone")
    positive_integer("num_images", num_images)
    generator = generators_of(generator, num_images)

    options: dict[str, Any] = {} if guided_fraction is None else {"fraction": guided_fraction}
    usual = "pixels" if world.tokenizer is None else "codes"
    if known_name("model", model or usual, ("codes", "pixels")) == "pixels":
        circuit, codebook = world.circuit, world.codebook
        demands = pixel_demands(codebook, references, split, *tempering)
        guide: Guide = DifferenceGuide(circuit, codebook, demand=demands.joint, **options)
    else:
        circuit, tokenizer = code_models(world)
        demands = code_demands(tokenizer, references, split, *tempering)
        options |= {"ruled": covered_fraction(split, len(demands.joint)).sum(0), "generator": own_generator(generator)}
        guide = CodeFusionGuide(circuit, tokenizer, demand=demands.joint, **options)
    log_z, each = weigh(circuit, demands)

    nothing = torch.zeros(num_images, *references.shape[1:], dtype=references.dtype, device=references.device)
    unknown = torch.zeros_like(nothing[:, :1], dtype=torch.bool)
    sampling: dict[str, Any] = {"sampler": sampler, "num_inference_steps": num_inference_steps, "eta": eta}
    found = inpaint(world, nothing, unknown, guide=guide, generator=generator, **sampling)
    return FusionResult(found.images, log_z, tuple(each), sum(each) - log_z, found.seconds)


def _checked_references(world: World, references: Tensor | Sequence[Tensor]) -> Tensor:
    """References as (R, C, H, W) of the size of the world's images."""
    expected = tuple(world.images("test", 1)[0].shape[1:])
    instance("references", references, Tensor, list, tuple)
    for index, reference in enumerate(references):
        instance(f"reference {index}", reference, Tensor)
        if tuple(reference.shape) != expected or not reference.is_floating_point():
            raise ImageError(
                f"reference {index} is {reference.dtype} {tuple(reference.shape)}, expected float {expected}: open "
                f"pictures with lab.pictures.load_image(path, {expected[1:]}, {expected[0]})"
            )
        check_images(f"reference {index}", reference[None], limit=1)
    if not 1 <= len(references) <= MOST_REFERENCES:
        raise TiramisuError(f"fusion takes 1 to {MOST_REFERENCES} references, not {len(references)}")
    return references if isinstance(references, Tensor) else torch.stack(list(references))
