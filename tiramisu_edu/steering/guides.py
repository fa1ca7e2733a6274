"""All guides by name, made for a world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import TiramisuError
from .blends import LearnedGuide, PrecisionGuide, WeightTable
from .codes import Tokenizer
from .difference import CalibratedDifferenceGuide, DifferenceGuide
from .guide import Guide
from .kernel import KernelDensity, KernelGuide, stored_images
from .latent import LatentGuide, LatentSettings
from .mixture import MixtureGuide

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..diffusion.noise import Generators
    from ..zoo import World

__all__ = [
    "GUIDES",
    "CalibratedDifferenceGuide",
    "DifferenceGuide",
    "Guide",
    "KernelGuide",
    "LatentGuide",
    "LatentSettings",
    "LearnedGuide",
    "MixtureGuide",
    "PrecisionGuide",
    "check_guide_name",
    "fitted_weights",
    "make_guide",
]


def make_guide(
    name: str | None,
    world: World,
    *,
    fraction: float | None = None,
    generator: Generators | None = None,
    **options: Any,
) -> Guide | None:
    """The named guide for a world, or None for "none".

    Args:
        name: "none"; "mixture" and "latent", the paper's; "latent-published", with the published read-out;
            "difference", "difference-calibrated", "precision", "learned", beyond the paper. With "-consistent" at the
            end the sampler steps from the noise that the guided x_0 implies. The controls: "-independent" asks the
            circuit with K = 1, which knows no dependence; "difference-kernel" asks stored training images.
        fraction: guided share of the steps; the guide's own default if None.
        generator: for guides that draw.
        options: other arguments of the guide's class, such as `strength`, ahead of what was tuned for the world; for
            latent guides also `structure`, the name of one of the world's circuits over codes; for the kernel
            `variance`, its bandwidth squared.

    Raises:
        TiramisuError: for an unknown name or option, a fraction outside [0, 1], or a world without the models that
            the guide needs.
    """
    if name is None or check_guide_name(name) == "none":
        return None
    if fraction is not None:
        options["fraction"] = fraction
    options = {**tuned_options(world, name), **options}
    try:
        return GUIDES[name](world, generator, options)
    except TypeError as error:
        raise TiramisuError(f"guide {name!r} cannot be made with {', '.join(options)}: {error}") from None


def check_guide_name(name: str) -> str:
    """The name itself, if there is such a guide.

    Raises:
        TiramisuError: there is none.
    """
    if name != "none" and name not in GUIDES:
        raise TiramisuError(f"unknown guide {name!r}: choose one of none, {', '.join(GUIDES)}")
    return name


def tuned_options(world: World, name: str) -> dict[str, Any]:
    """What `tiramisu-edu tune WORLD --guides NAME` found for a guide on a world's validation images."""
    from ..evaluation.tuning import load_tuned
    from ..zoo import data_path

    return load_tuned(data_path(f"{getattr(world, 'family', world.name)}/guides.json")).get(name, {})


def code_models(world: World, structure: str | None = None) -> tuple[Circuit, Tokenizer]:
    """A circuit over codes and the tokenizer they belong to.

    Args:
        structure: name of the circuit; the world's first if None.

    Raises:
        TiramisuError: when the world has none, or none of that name.
    """
    tokenizer, circuits = getattr(world, "tokenizer", None), getattr(world, "code_circuits", None)
    if tokenizer is None or not circuits:
        raise TiramisuError(f"world {world.name!r} has no tokenizer and circuit over codes: choose a guide on pixels")
    structure = structure or next(iter(circuits))
    if structure not in circuits:
        raise TiramisuError(f"world {world.name!r} has no circuit {structure!r} over codes: {', '.join(circuits)}")
    return circuits[structure], tokenizer


Maker = Callable[["World", "Generators | None", dict[str, Any]], Guide]


def _learned(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    table = options.pop("table", None) or fitted_weights(world, "learned")
    return LearnedGuide(world.circuit, world.codebook, table=table, **options)


def fitted_weights(world: World, of: str) -> WeightTable:
    """The weights of a world's guide.

    Args:
        of: "learned" or "difference", the calibrated one.

    Raises:
        TiramisuError: none were fitted.
    """
    from ..zoo import data_path, verified
    from .fit_weights import TABLES

    path = data_path(f"{world.name}/{TABLES[of]}")
    if not path.is_file():
        command = f"python -m tiramisu_edu.steering.fit_weights {world.name} --of {of}"
        raise TiramisuError(f"world {world.name!r} has no {of} weights: fit them with: {command}")
    return WeightTable.load(verified(path))


def _mixture(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    return MixtureGuide(_circuit(world, options), world.codebook, generator=generator, **options)


def _difference(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    return DifferenceGuide(_circuit(world, options), world.codebook, **options)


def _calibrated(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    table = options.pop("table", None) or fitted_weights(world, "difference")
    return CalibratedDifferenceGuide(_circuit(world, options), world.codebook, table=table, **options)


def _precision(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    return PrecisionGuide(_circuit(world, options), world.codebook, **options)


def _circuit(world: World, options: dict[str, Any]) -> Circuit:
    return world.independent_circuit if options.pop("independent", False) else world.circuit


def _kernel(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    if "variance" not in options:
        command = f"tiramisu-edu tune {world.name} --guides difference-kernel"
        raise TiramisuError(f"world {world.name!r} has no kernel bandwidth: give variance=..., or tune it: {command}")
    return KernelGuide(KernelDensity(stored_images(world), options.pop("variance")), **options)


def _latent(world: World, generator: Generators | None, options: dict[str, Any]) -> Guide:
    circuit, tokenizer = code_models(world, options.pop("structure", None))
    return LatentGuide(circuit, tokenizer, generator=generator, **options)


def _with(make: Maker, **defaults: Any) -> Maker:
    """The same guide with other defaults, under a name of its own."""
    return lambda world, generator, options: make(world, generator, {**defaults, **options})


GUIDES: dict[str, Maker] = {
    "mixture": _mixture,
    "difference": _difference,
    "difference-calibrated": _calibrated,
    "precision": _precision,
    "learned": _learned,
    "latent": _latent,
    "latent-published": _with(_latent, settings=LatentSettings.preset("published")),
    "mixture-consistent": _with(_mixture, consistent_noise=True),
    "difference-consistent": _with(_difference, consistent_noise=True),
    "mixture-independent": _with(_mixture, independent=True),
    "difference-independent": _with(_difference, independent=True),
    "difference-kernel": _kernel,
}
