"""All guides by name or by parts, made for a world."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor

from .checks import instance
from .circuits.circuit import Circuit
from .diffusion.noise import Generators, check_generators
from .errors import TiramisuError, known_name, unknown_name
from .names import GUIDES
from .steering.beyond.difference import DifferenceGuide, WeightTable
from .steering.controls.blends import BlendGuide
from .steering.controls.kernel import KernelCodebook
from .steering.controls.published import PublishedLatentGuide
from .steering.evidence import Codebook
from .steering.field import GaussianField
from .steering.guide import Guide
from .steering.latent import CodedLatentGuide, LatentCodes, LatentGuide
from .steering.mixture import MixtureGuide
from .tokenizer import Tokenizer
from .world import World

PIXEL_GUIDES = {
    "mixture": MixtureGuide,
    "difference": DifferenceGuide,
    "precision": BlendGuide,
    "learned": BlendGuide,
}
# Keyword -> its words in the names of guides: "difference-kernel" is guide "difference" with circuit="kernel".
PARTS = {
    "circuit": ("independent", "kernel", "field"),
    "noise": ("consistent", "raw"),
    "strength": ("calibrated",),
    "readout": ("published",),
}
FITTING = "python -m tiramisu_edu.lab.recipes.guide_weights"
STORED = 4096  # training images of the kernel, or all where there are fewer


def make_guide(
    name: str | None,
    world: World,
    *,
    fraction: float | None = None,
    generator: Generators | None = None,
    **options: Any,
) -> Guide | None:
    """The named guide for a world, or None for "none".

        make_guide("difference-independent", world)
        make_guide("difference", world, circuit="independent", noise="raw", strength="calibrated")

    Args:
        name: "none"; "mixture" and "latent", the paper's; "difference", beyond the paper; "precision" and "learned",
            other blends; or one of these with parts, as `names.GUIDES` lists them.
        fraction: guided share of the steps; the guide's own default if None.
        generator: for guides that draw.
        options: parts by keyword, and other arguments of the guide's class.
            circuit: "independent", the control with K = 1, "kernel", stored training images, or "field", a stationary
                Gaussian, which is fitted to them at once; on pixels.
            noise: that the sampler steps with; "consistent", the one that the guided x_0 implies, or "raw", the
                network's own, as published. Of the difference it is consistent, of the others raw.
            strength: of the difference; a number, a `WeightTable`, or "calibrated", the world's table.
            readout: "published", of the latent guide.
            variance: of the kernel, its bandwidth squared.
            They replace what was tuned for the world.

    Raises:
        TiramisuError: for an unknown name, part or option, a fraction outside [0, 1], or a world without the models
            that the guide needs.
    """
    instance("world", world, World)
    if generator is not None:
        check_generators(generator)
    kind, *words = known_name("guide", name or "none", GUIDES).split("-")
    if kind == "none":
        return None
    options = {part: word for part, chosen in PARTS.items() for word in words if word in chosen} | options
    words = [options[part] for part in PARTS if isinstance(options.get(part), str)]
    options = {**world.guide_options.get("-".join([kind, *words]), {}), **options}
    if fraction is not None:
        options["fraction"] = fraction
    for part, chosen in PARTS.items():
        if isinstance(word := options.get(part), str) and word not in chosen:
            raise unknown_name(part, word, chosen)
    if noise := options.pop("noise", None):
        options["consistent_noise"] = noise == "consistent"
    try:
        return _latent(world, generator, options) if kind == "latent" else _on_pixels(kind, world, generator, options)
    except TypeError as error:
        raise TiramisuError(f"guide {name!r} cannot be made with {', '.join(options)}: {error}") from None


def _latent(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    circuit, tokenizer = code_models(world)
    in_latents = CodedLatentGuide if isinstance(tokenizer, LatentCodes) else LatentGuide
    kind = PublishedLatentGuide if options.pop("readout", None) else in_latents
    return kind(circuit, tokenizer, generator=generator, **options)


def _on_pixels(kind: str, world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    circuit, codebook = _pixel_models(world, options)
    if kind == "mixture":
        options["generator"] = generator
    if kind == "learned" and "table" not in options:
        options["table"] = fitted_weights(world, "learned")
    if options.get("strength") == "calibrated":
        options["strength"] = fitted_weights(world, "difference")
    return PIXEL_GUIDES[kind](circuit, codebook, **options)


def _pixel_models(world: World, options: dict[str, Any]) -> tuple[Circuit, Codebook]:
    match options.pop("circuit", None):
        case "independent":
            return world.independent_circuit, world.codebook
        case "kernel" if "variance" in options:
            kernel = KernelCodebook(stored_images(world), options.pop("variance"))
            return kernel.circuit(), kernel
        case "field":
            field = fitted_field(world)
            return field.circuit(), field
        case "kernel":
            tune = f"tiramisu-edu tune {world.to_train} --guides difference-kernel"
            raise _lacks(world, "kernel bandwidth: give variance=...", f", or tune: {tune}")
    return world.circuit, world.codebook


def code_models(world: World) -> tuple[Circuit, Tokenizer]:
    """The world's first circuit over codes and the tokenizer they belong to: of latents where the denoiser works there.

    Raises:
        TiramisuError: when the world has none.
    """
    coder = world.denoiser.autoencoder
    tokenizer = world.tokenizer if coder is None else LatentCodes(coder)
    circuits = {} if tokenizer is None else world.code_circuits
    if coder is not None and not circuits:
        raise TiramisuError(f"world {world.name!r} has no circuit over the codes of its latents: give code_circuit=...")
    if tokenizer is None or not circuits:
        commands = [f"tiramisu-edu train {world.to_train} --part {part}" for part in ("tokenizer", "codes")]
        train = f", or: {' && '.join(commands)}" if "tokenizer" in world.parts else ""
        raise _lacks(world, "tokenizer and circuit over codes: choose a guide on pixels", train)
    return next(iter(circuits.values())), tokenizer


def fitted_weights(world: World, of: str) -> WeightTable:
    """The weights of a world's guide, "learned" or "difference", the calibrated one."""
    if (table := world.weights(of)) is None:
        raise _lacks(world, f"{of} weights", f": fit them with: {FITTING} {world.to_train} --of {of}")
    return table


def _lacks(world: World, what: str, command: str) -> TiramisuError:
    """The error for what a world does not have, with a command that makes it where one does."""
    return TiramisuError(f"world {world.name!r} has no {what}{command if world.to_train else ''}")


@lru_cache(maxsize=1)
def stored_images(world: World) -> Tensor:
    """The first `STORED` training images of a world, drawn once for all guides on it; (N, C, H, W)."""
    return world.images("train", STORED)[0].to(world.device)


@lru_cache(maxsize=1)
def fitted_field(world: World) -> GaussianField:
    """The stationary Gaussian of a world's stored images."""
    return GaussianField.fit(stored_images(world))
