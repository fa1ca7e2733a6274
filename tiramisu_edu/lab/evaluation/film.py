"""Both samplers step by step from the same noise: what the denoiser, the circuit and their mixture see (Figure 1)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...inpainting import InpaintResult, inpaint
from ...world import World
from .cells import Method
from .comparison import Cases, generators_for
from .sheet import damaged, save_sheet

FRAMES = 8


def save_film(path: str | Path, world: World, case: Cases, method: Method, steps: int, *, seed: int = 0) -> Path:
    """Write a PNG: one repair by a steered method above the same repair by its base, from the noise to the picture.

    Args:
        path: the PNG.
        world: its denoiser and circuit are on the CPU.
        case: one damaged picture.
        method: a steered one.
        steps: denoising steps T.
        seed: of the noise, the same for both.
    """
    base = _recorded(world, case, method.base, steps, seed)
    steered = _recorded(world, case, method, steps, seed)
    rows = {
        f"{method.sampler}\n+ {method.guide}\nx_t": _frames(steered, "x_t"),
        "denoiser\nE[x_0 | x_t]": _frames(steered, "denoiser"),
        "circuit\nE[x_0 | x_t, known]": _frames(steered, "circuit"),
        "steered\nx_0": _frames(steered, "guided"),
        f"{method.base}\nx_t": _frames(base, "x_t"),
        "its denoiser": _frames(base, "denoiser"),
    }
    ends = {0: case.images, 1: damaged(case.images, case.known)}
    results = {"steered\nx_0": steered.images, "its denoiser": base.images}
    blank = torch.ones(1, 3, *case.images.shape[-2:])
    for number, (label, frames) in enumerate(rows.items()):
        first = ends.get(number, blank)
        rows[label] = torch.cat([_rgb(part) for part in (first, frames, results.get(label, blank))])
    title = f"{world.name}, {steps} steps, seed {seed}: truth and what is given, then step by step, then the result"
    return save_sheet(path, rows, title)


def _recorded(world: World, case: Cases, method: Method, steps: int, seed: int) -> InpaintResult:
    return inpaint(
        world,
        case.images,
        case.known,
        sampler=method.sampler,
        guide=method.guide,
        guided_fraction=method.fraction,
        num_inference_steps=steps,
        generator=generators_for(case, seed),
        record=True,
    )


def _frames(result: InpaintResult, what: str) -> Tensor:
    """(8, C, H, W) at evenly spread steps; white where there is nothing to show."""
    chosen = torch.linspace(0, len(result.trajectory) - 1, FRAMES).round().long().tolist()
    moments = [result.trajectory[i] for i in chosen]
    blank = torch.ones_like(moments[0].x_t)
    return torch.cat([blank if getattr(m, what) is None else getattr(m, what) for m in moments])


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)
