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
    results = [
        inpaint(
            world,
            case.images,
            case.known,
            sampler=one.sampler,
            guide=one.guide,
            guided_fraction=one.fraction,
            num_inference_steps=steps,
            generator=generators_for(case, seed),
            record=True,
        )
        for one in (method, method.base)
    ]
    steered, base = results
    blank = torch.ones_like(case.images)
    rows = {
        f"{method.sampler}\n+ {method.guide}\nx_t": (case.images, steered, "x_t", blank),
        "denoiser\nE[x_0 | x_t]": (damaged(case.images, case.known), steered, "denoiser", blank),
        "circuit\nE[x_0 | x_t, known]": (blank, steered, "circuit", blank),
        "steered\nx_0": (blank, steered, "guided", steered.images),
        f"{method.base}\nx_t": (blank, base, "x_t", blank),
        "its denoiser": (blank, base, "denoiser", base.images),
    }
    title = f"{world.label}, {steps} steps, seed {seed}: truth and what is given, then step by step, then the result"
    return save_sheet(path, {label: _row(*row) for label, row in rows.items()}, title)


def _row(first: Tensor, result: InpaintResult, what: str, last: Tensor) -> Tensor:
    """(10, 3, H, W): a picture, eight evenly spread steps, a picture; white where there is nothing to show."""
    chosen = torch.linspace(0, len(result.trajectory) - 1, FRAMES).round().long().tolist()
    frames = [getattr(result.trajectory[i], what) for i in chosen]
    pictures = [first, *(torch.ones_like(last) if frame is None else frame for frame in frames), last]
    return torch.cat([picture.expand(-1, 3, -1, -1) for picture in pictures])
