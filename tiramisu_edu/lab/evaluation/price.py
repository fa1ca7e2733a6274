"""What one network evaluation costs here, forward and backward, in seconds: timed once and kept beside the results.

`F + 2 B` counts a backward evaluation as two by convention, as if weights were trained. Samplers differentiate by the
image alone, which costs less. So budgets are also given in the time of forward evaluations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch

from ...diffusion.denoiser import Denoiser
from ...diffusion.walk import clock
from ...world import World
from ..common import machine_facts, write_text

BATCH, REPEATS = 8, 5


class Price(NamedTuple):
    """Of one image, by `clock`: the seconds of a forward evaluation, and how many of these a backward one takes."""

    forward: float
    backward: float


def price_of(world: World, device: torch.device, kept: Path) -> Price:
    """The price in a world on a device, read from the JSON file `kept`, or measured and added to it."""
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    key = f"{world.name}, {machine_facts(device).partition(', load')[0]}"
    if key not in known:
        known[key] = measured(world.to(device).denoiser, world.images("validation", BATCH)[0].to(device))
        write_text(kept, json.dumps(known, indent=1) + "\n")
    return Price(*known[key])


def measured(denoiser: Denoiser, images: torch.Tensor) -> Price:
    """The least of several alternating runs: forward without a graph; with one, and the gradient by the images."""
    forward, both = [], []
    for _ in range(1 + REPEATS):  # the first one warms up
        begun = clock(images)
        with torch.no_grad():
            denoiser(images, 500)
        middle = clock(images)
        with torch.enable_grad():
            x = images.detach().requires_grad_()
            torch.autograd.grad(denoiser(x, 500).x_0.sum(), x)
        forward.append(middle - begun)
        both.append(clock(images) - middle)
    least = min(forward[1:])
    return Price(least / len(images), min(both[1:]) / least - 1)


def bfloat16_slowdown(device: torch.device) -> float:
    """How many times as long a matrix product takes in bfloat16 as in float32; below 1 where there are instructions."""
    least = []
    for dtype in (torch.float32, torch.bfloat16):
        x, times = torch.ones(256, 256, dtype=dtype, device=device), []
        for _ in range(1 + REPEATS):
            begun = clock(x)
            x @ x
            times.append(clock(x) - begun)
        least.append(min(times[1:]))
    return least[1] / max(least[0], 1e-9)
