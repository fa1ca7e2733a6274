"""Everything that is measured on a completion, one number per image, by the name under which tables print it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from ...errors import TiramisuError, known_name
from ...world import World
from ..worlds.factors import violations
from .comparison import Cases
from .factors import determined
from .metrics import energy_scores, hidden_mse, hidden_psnr, hidden_seam, hidden_ssim, label_agreement
from .perceptual import official_weights, perceptual_metric


class Measure(NamedTuple):
    """How a number is printed and which way is better."""

    title: str
    lower_is_better: bool


# LPIPS is the paper's measure. The energy scores need two seeds or more: see `energies`.
ENERGY = ("energy", "energy_layers")
MEASURES: dict[str, Measure] = {
    "determined": Measure("determined factors right", False),
    "agreement": Measure("label agreement", False),
    "mse": Measure("hidden-pixel MSE", True),
    "lpips": Measure("LPIPS", True),
    "energy": Measure("energy score, pixels", True),
    "energy_layers": Measure("energy score, layers", True),
    "violations": Measure("rules broken", True),
    "psnr": Measure("hidden-pixel PSNR, dB", False),
    "ssim": Measure("hidden-pixel SSIM", False),
    "seam": Measure("jump at the border", True),
}


def chosen_measure(name: str | None, worlds: Iterable[World]) -> str:
    """The measure that tables compare: the one asked for, else LPIPS, or the hidden MSE where a world has no LPIPS.

    Raises:
        TiramisuError: there is no such measure, or one of the worlds has none.
    """
    has = {world.label: measures_of(world) for world in worlds}
    if name is None:
        return "lpips" if all("lpips" in own for own in has.values()) else "mse"
    known_name("measure", name, MEASURES)
    for label, own in has.items():
        if name not in own:
            raise TiramisuError(f"{label} has no {name}, which {NEEDS[name]}: choose one of {', '.join(own)}")
    return name


NEEDS = dict.fromkeys(("determined", "violations"), "needs a drawn world") | {
    "agreement": "needs labels",
    **dict.fromkeys(("lpips", "energy_layers"), "needs a judge or AlexNet's weights (see `tiramisu-edu doctor`)"),
}


def measures_of(world: World) -> list[str]:
    """The measures that a world has, in the order of `MEASURES`.

    `determined` and `violations` need a procedural world, `agreement` one with labels, LPIPS a judge or AlexNet.
    """
    judge, drawn = "judge" in world.parts, world.scene is not None
    has = {"determined": drawn, "violations": drawn, "agreement": judge and not drawn}
    has["lpips"] = judge or official_weights() is not None
    has["energy_layers"] = has["lpips"]
    return [name for name in MEASURES if has.get(name, True)]


def measure(world: World, images: Tensor, cases: Cases) -> dict[str, Tensor]:
    """All measures that the world has and that one completion gives, see `measures_of`: name -> (B,) float64.

    `determined` is NaN where the visible factors determine none of the hidden ones.

    Args:
        images: (B, C, H, W) completions in [-1, 1], on the CPU.
        cases: what they are completions of.
    """
    truth, known = cases.images, cases.known
    judge = world.judge if "judge" in world.parts else None
    found = {
        "mse": hidden_mse(images, truth, known),
        "psnr": hidden_psnr(images, truth, known),
        "ssim": hidden_ssim(images, truth, known),
        "seam": hidden_seam(images, truth, known),
    }
    if "lpips" in (own := measures_of(world)):
        found["lpips"] = perceptual_metric(judge).distance(images, truth)
    if judge is not None and world.scene is not None:
        read, model = judge.read(images), world.scene.model
        found["determined"] = determined(model, read, cases.labels, *world.scene.seen(known))
        found["violations"] = violations(model, read)
    elif judge is not None:
        found["agreement"] = label_agreement(judge, images, cases.labels)
    return {name: found[name] for name in own if name in found}


def energies(world: World, completions: Tensor, cases: Cases) -> dict[str, Tensor]:
    """The measures of `ENERGY` that the world has: name -> (S, B), see `energy_scores`.

    The square root of the hidden MSE is a Euclidean distance of pixels, that of LPIPS one of layers.

    Args:
        completions: (S, B, C, H, W), S >= 2 seeds, on the CPU.
        cases: what they are completions of.
    """
    found = {"energy": energy_scores(lambda a, b: hidden_mse(a, b, cases.known).sqrt(), completions, cases.images)}
    if "energy_layers" in measures_of(world):
        lpips = perceptual_metric(world.judge if "judge" in world.parts else None).distance
        found["energy_layers"] = energy_scores(lambda a, b: lpips(a, b).sqrt(), completions, cases.images)
    return found


def lpips_name(world: World) -> str:
    """Whose features LPIPS compares in this world; every table prints it."""
    if "lpips" not in measures_of(world):
        return "no LPIPS, for there is no judge and no AlexNet on disk"
    return perceptual_metric(world.judge if "judge" in world.parts else None).name
