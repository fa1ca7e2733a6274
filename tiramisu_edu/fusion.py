"""Semantic fusion: one picture that follows several references, each in its own region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .circuits.circuit import Circuit
from .errors import ImageError, TiramisuError
from .inpainting import inpaint
from .methods import code_models
from .steering.codes import covered_fraction
from .steering.fusion import CodeFusionGuide, Demands, PixelFusionGuide, code_demands, pixel_demands, weigh
from .steering.guide import Guide, own_generator
from .steering.layouts import MOST_REFERENCES, check_regions
from .world import World


class FusionResult(NamedTuple):
    """What `fuse` found.

    images: (N, C, H, W) in [-1, 1]. log_z: log Z, in nats, of all demands together under the circuit; 0 is what a
    circuit without any preference has. log_z_each: that of each reference's alone. contradiction: sum of log_z_each
    minus log_z; 0 where the demands are independent, above where they contradict each other, below where they support
    each other. seconds: of sampling, as in `InpaintResult`.
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
    model: Literal["codes", "pixels"] | None = None,
    structure: str | None = None,
    num_images: int = 1,
    sampler: str = "ddim",
    num_inference_steps: int = 25,
    guided_fraction: float | None = None,
    eta: float | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> FusionResult:
    """Draw pictures that follow the semantics of each reference in its region.

    Args:
        world: from `load`.
        references: (R, C, H, W) in [-1, 1], or R images (C, H, W), of the world's size; at most eight.
        regions: a layout by name ("left-right", "up-down", "two-windows1" to "3", "eye-mouth", "upper-lower"), or
            labels (H, W) long, the number of the reference that rules a pixel and -1 for none, or (R, H, W) bool.
        coherence: how strictly references are followed, 0 (not at all) to 1 (only the likeliest code of each patch):
            demands are tempered until they take coherence^2 of the freedom, see `steering.fusion`. The published
            fusion fixes a temperature instead, in its own autoencoder's units.
        model: "codes", the paper's tokenizer and circuit over codes; "pixels", the world's circuit about pixels; the
            first that the world has if None.
        structure: which of the world's circuits over codes; its first if None.
        num_images: N, each from its own noise.
        sampler, num_inference_steps, guided_fraction, eta, generator: as in `inpaint`; nothing is known but the
            demands.

    Raises:
        ImageError: for references or regions of a wrong size or type, and regions that are empty, overlap or name
            no reference.
        EvidenceError: for demands of probability zero.
        TiramisuError: for too many references, a coherence outside [0, 1], or a world without the models.
    """
    references = _checked_references(world, references)
    split = check_regions(regions, len(references), (references.shape[2], references.shape[3])).to(references.device)
    if not 0 <= coherence <= 1:
        raise TiramisuError(f"coherence must lie in [0, 1], not {coherence}")
    if num_images < 1:
        raise TiramisuError(f"num_images must be at least 1, not {num_images}")
    generator = generator if generator is not None else torch.Generator().manual_seed(0)

    options: dict[str, Any] = {"generator": own_generator(generator)}
    if guided_fraction is not None:
        options["fraction"] = guided_fraction
    circuit, demands, guide = _models(world, references, split, coherence, model, structure, options)
    log_z, each = weigh(circuit, demands)
    nothing = torch.zeros(num_images, *references.shape[1:], dtype=references.dtype, device=references.device)
    found = inpaint(
        world,
        nothing,
        torch.zeros_like(nothing[:, :1], dtype=torch.bool),
        sampler=sampler,
        guide=guide,
        num_inference_steps=num_inference_steps,
        eta=eta,
        generator=generator,
    )
    return FusionResult(found.images, log_z, tuple(each), sum(each) - log_z, found.seconds)


def _models(
    world: World,
    references: Tensor,
    regions: Tensor,
    coherence: float,
    model: str | None,
    structure: str | None,
    options: dict[str, Any],
) -> tuple[Circuit, Demands, Guide]:
    """The circuit that is asked, the demands on its variables, and the guide that carries them into a sampler."""
    model = model or ("codes" if getattr(world, "tokenizer", None) is not None else "pixels")
    if model == "pixels":
        demands = pixel_demands(world.codebook, references, regions, coherence)
        del options["generator"]  # nothing is drawn
        return world.circuit, demands, PixelFusionGuide(world.circuit, world.codebook, demand=demands.joint, **options)
    if model != "codes":
        raise TiramisuError(f"unknown model {model!r} for fusion: choose codes or pixels")
    circuit, tokenizer = code_models(world, structure)
    demands = code_demands(tokenizer, references, regions, coherence)
    ruled = covered_fraction(regions, len(demands.joint)).sum(0)
    return circuit, demands, CodeFusionGuide(circuit, tokenizer, demand=demands.joint, ruled=ruled, **options)


def _checked_references(world: World, references: Tensor | Sequence[Tensor]) -> Tensor:
    """References as (R, C, H, W) of the size of the world's images."""
    expected = tuple(world.images("test", 1)[0].shape[1:])
    for number, reference in enumerate(references):
        if tuple(reference.shape) != expected or not reference.is_floating_point():
            raise ImageError(
                f"reference {number} is {reference.dtype} {tuple(reference.shape)}, expected float {expected}: open "
                f"pictures with load_image(path, {expected[1:]}, {expected[0]})"
            )
        if not bool((reference.abs() <= 1).all()):
            raise ImageError(f"reference {number} must hold numbers in [-1, 1]")
    if not 1 <= len(references) <= MOST_REFERENCES:
        raise TiramisuError(f"fusion takes 1 to {MOST_REFERENCES} references, not {len(references)}")
    return references if isinstance(references, Tensor) else torch.stack(list(references))
