"""Contact sheets: what a world's pictures look like, and what each of its models makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..diffusion.samplers import ddpm
from ..steering.evidence import Observation
from .sheet import save_sheet

if TYPE_CHECKING:
    from ..zoo import World


def save_contact_sheet(path: str | Path, world: World, *, columns: int = 12, steps: int = 100, seed: int = 0) -> Path:
    """One PNG with test pictures, samples of the denoiser and of the circuit, and the tokenizer's reconstructions.

    Args:
        path: the PNG.
        world: its models are on the CPU; rows of models that it lacks are left out.
        columns: pictures per row; real pictures and denoiser samples have two rows.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.
    """
    real = world.images("test")[0][: 2 * columns]
    drawn = denoiser_samples(world, 2 * columns, steps=steps, seed=seed)
    rows = {"real": real[:columns], "real ": real[columns:]}
    rows |= {"denoiser": drawn[:columns], "denoiser ": drawn[columns:]}
    rows["circuit"] = sampled_by_circuit(world, real[:columns], seed=seed)
    if world.tokenizer is not None:
        rows["tokenizer"] = world.tokenizer.decode(world.tokenizer.encode(real[:columns]))
    return save_sheet(path, rows, f"{world.name}: real pictures, samples, and the real pictures through the tokenizer")


def denoiser_samples(world: World, count: int, *, steps: int = 100, seed: int = 0, batch: int = 64) -> Tensor:
    """Pictures (count, C, H, W) from the denoiser alone: nothing is known."""
    shape = world.images("test")[0].shape[1:]
    schedule = world.schedule.respace(steps)
    parts, first = [], 0
    while first < count:
        size = min(batch, count - first)
        nothing = torch.zeros(size, *shape)
        generators = [torch.Generator().manual_seed(1_000_003 * seed + first + n) for n in range(size)]
        known = torch.zeros(size, 1, *shape[1:], dtype=torch.bool)
        parts.append(ddpm(world.denoiser, schedule, nothing, known, generator=generators))
        first += size
    return torch.cat(parts)


def sampled_by_circuit(world: World, like: Tensor, *, seed: int = 0) -> Tensor:
    """Pictures from the circuit alone, of the shape of `like`."""
    nothing = torch.zeros_like(like)
    known = torch.zeros_like(like[:, :1], dtype=torch.bool)
    weights = world.codebook.log_weights(Observation(nothing, 1e-9, nothing, known))
    codes = world.circuit.sample(1, weights, generator=torch.Generator().manual_seed(seed))[0]
    return world.codebook.image(codes, nothing.shape)
