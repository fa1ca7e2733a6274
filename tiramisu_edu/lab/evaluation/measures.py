"""Everything that is measured on a completion, one number per image, by the name under which tables print it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ...world import World
from ..worlds.factors import violations
from .comparison import Cases
from .factors import determined
from .metrics import hidden_mse, hidden_psnr, hidden_ssim, label_agreement
from .perceptual import feature_distance, perceptual_metric


class Measure(NamedTuple):
    """How a number is printed and which way is better."""

    title: str
    lower_is_better: bool


# LPIPS is the paper's measure and the one that settings are counted by.
MEASURES: dict[str, Measure] = {
    "determined": Measure("determined factors right", False),
    "agreement": Measure("label agreement", False),
    "mse": Measure("hidden-pixel MSE", True),
    "lpips": Measure("LPIPS", True),
    "violations": Measure("rules broken", True),
    "features": Measure("feature distance", True),
    "psnr": Measure("hidden-pixel PSNR, dB", False),
    "ssim": Measure("hidden-pixel SSIM", False),
}


def measure(world: World, images: Tensor, cases: Cases) -> dict[str, Tensor]:
    """All measures that the world has, in the order of `MEASURES`: name -> (B,) float64.

    `determined` and `violations` need a procedural world, `agreement` one with labels, perceptual measures a judge.
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
    }
    if judge is not None:
        found["lpips"] = perceptual_metric(judge).distance(images, truth)
        found["features"] = feature_distance(judge, images, truth)
    if judge is not None and world.scene is not None:
        read, model = judge.read(images), world.scene.model
        found["determined"] = determined(model, read, cases.labels, *world.scene.seen(known))
        found["violations"] = violations(model, read)
    elif judge is not None:
        found["agreement"] = label_agreement(judge, images, cases.labels)
    return {name: found[name] for name in MEASURES if name in found}


def lpips_name(world: World) -> str:
    """Whose features LPIPS compares in this world; every table prints it."""
    return perceptual_metric(world.judge).name
