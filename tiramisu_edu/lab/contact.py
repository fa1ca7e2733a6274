"""Contact sheets: pictures of a world, samples of each of its models, and which factors masks leave visible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.samplers import ddpm
from ..errors import TiramisuError
from .evaluation.comparison import circuit_samples
from .evaluation.sheet import save_sheet
from .file_world import FileWorld
from .table import Table


def save_contact_sheet(
    path: str | Path, world: FileWorld, *, columns: int = 12, steps: int = 50, seed: int = 0
) -> Path:
    """One PNG with test pictures, samples of the denoiser and of the circuit, and the tokenizer's reconstructions.

    Args:
        path: the PNG.
        world: rows of models that it lacks are left out.
        columns: pictures per row, at most half the test split; real pictures and denoiser samples have two rows.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.
    """
    real = world.images("test")[0][: 2 * columns]
    columns = min(columns, len(real) // 2)
    if columns == 0:
        raise TiramisuError(f"{world.label} has one test picture: a sheet shows two or more")
    drawn = denoiser_samples(world.denoiser, real, steps=steps, seed=seed)
    rows = {"real": real[:columns], "real ": real[columns : 2 * columns]}
    rows |= {"denoiser": drawn[:columns], "denoiser ": drawn[columns : 2 * columns]}
    rows["circuit"] = circuit_samples(world, real[:columns], nothing_known(real[:columns]), seed=seed)
    if world.tokenizer is not None:
        codes = world.tokenizer.encode(real[:columns].to(world.device))
        rows["tokenizer"] = world.tokenizer.decode(codes).cpu()
    return save_sheet(path, rows, f"{world.label}: real pictures, samples, and the real pictures through the tokenizer")


def denoiser_samples(denoiser: Denoiser, like: Tensor, *, steps: int = 50, seed: int = 0) -> Tensor:
    """Pictures from a denoiser alone, as many and of the shape of `like` (N, C, H, W)."""
    schedule, parts, device = denoiser.schedule.respace(steps), [], next(denoiser.parameters()).device
    generators = [torch.Generator().manual_seed(1_000_003 * seed + n) for n in range(len(like))]
    for first, part in zip(range(0, len(like), 64), torch.zeros_like(like, device=device).split(64)):
        own = generators[first : first + len(part)]
        parts.append(ddpm(denoiser, schedule, part, nothing_known(part), generator=own).cpu())
    return torch.cat(parts)


def nothing_known(like: Tensor) -> Tensor:
    """(N, 1, H, W) False."""
    return torch.zeros_like(like[:, :1], dtype=torch.bool)


def visibility_table(world: FileWorld, masks: Sequence[str]) -> Table:
    """Which factors each mask shows (S), hides (h), or shows in part (p).

    Raises:
        TiramisuError: for a world without factors.
    """
    if world.scene is None:
        raise TiramisuError(f"{world.name} has no factors: choose a procedural world")
    letters = {"seen": "S", "hidden": "h", "part": "p"}
    frame = pd.DataFrame(world.scene.visibility(masks)).map(letters.get).rename_axis("factor").reset_index()
    return Table(f"{world.name}: S seen, h hidden, p in part", frame)
