"""Contact sheets: what a world's pictures look like, and what each of its models draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..circuits.circuit import Circuit
from ..diffusion.denoiser import Denoiser
from ..diffusion.samplers import ddpm
from ..errors import TiramisuError
from ..world import World
from .evaluation.sheet import save_sheet
from .table import Table
from .worlds.factors import violations


def save_contact_sheet(path: str | Path, world: World, *, columns: int = 12, steps: int = 50, seed: int = 0) -> Path:
    """One PNG with test pictures, samples of the denoiser and of the circuit, and the tokenizer's reconstructions.

    Args:
        path: the PNG.
        world: its models are on the CPU; rows of models that it lacks are left out.
        columns: pictures per row; real pictures and denoiser samples have two rows.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.
    """
    real = world.images("test")[0][: 2 * columns]
    drawn = drawn_from_denoiser(world.denoiser, real, steps=steps, seed=seed)
    rows = {"real": real[:columns], "real ": real[columns:]}
    rows |= {"denoiser": drawn[:columns], "denoiser ": drawn[columns:]}
    rows["circuit"] = drawn_from_circuit(world, world.circuit, real[:columns], seed=seed)
    if world.tokenizer is not None:
        rows["tokenizer"] = world.tokenizer.decode(world.tokenizer.encode(real[:columns]))
    return save_sheet(path, rows, f"{world.name}: real pictures, samples, and the real pictures through the tokenizer")


def rules_broken(world: World, *, count: int = 256, steps: int = 50, seed: int = 0) -> dict[str, float]:
    """Share of pictures in which the judge reads a broken rule: real ones (its own mistakes), and samples.

    Args:
        world: a procedural one.
        count: pictures of each kind.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.

    Returns:
        "real", "denoiser", "weak denoiser", "circuit", "independent patches" -> share from 0 to 1.
    """
    assert world.scene is not None, "rules need a procedural world"
    real = world.images("test", count)[0]
    kinds = {
        "real": real,
        "denoiser": drawn_from_denoiser(world.denoiser, real, steps=steps, seed=seed),
        "weak denoiser": drawn_from_denoiser(world.weak_denoiser, real, steps=steps, seed=seed),
        "circuit": drawn_from_circuit(world, world.circuit, real, seed=seed),
        "independent patches": drawn_from_circuit(world, world.independent_circuit, real, seed=seed),
    }
    model = world.scene.model
    return {kind: (violations(model, world.judge.read(x)) > 0).double().mean().item() for kind, x in kinds.items()}


def drawn_from_denoiser(denoiser: Denoiser, like: Tensor, *, steps: int = 50, seed: int = 0, batch: int = 64) -> Tensor:
    """Pictures from a denoiser alone, as many and of the shape of `like` (N, C, H, W): nothing is known."""
    schedule = denoiser.schedule.respace(steps)
    parts = []
    for first in range(0, len(like), batch):
        nothing = torch.zeros_like(like[first : first + batch])
        generators = [torch.Generator().manual_seed(1_000_003 * seed + first + n) for n in range(len(nothing))]
        known = torch.zeros_like(nothing[:, :1], dtype=torch.bool)
        parts.append(ddpm(denoiser, schedule, nothing, known, generator=generators))
    return torch.cat(parts)


def drawn_from_circuit(world: World, circuit: Circuit, like: Tensor, *, seed: int = 0) -> Tensor:
    """Pictures from a circuit over the world's codebook alone, of the shape of `like`; each code as its mean."""
    codes = circuit.sample(len(like), generator=torch.Generator().manual_seed(seed))
    return world.codebook.image(codes, like.shape)


def visibility_table(world: World, masks: Sequence[str]) -> Table:
    """Which factors each mask shows (S), hides (h), or shows in part (p).

    Raises:
        TiramisuError: for a world without factors.
    """
    if world.scene is None:
        raise TiramisuError(f"{world.name} has no factors: choose a procedural world")
    letters = {"seen": "S", "hidden": "h", "part": "p"}
    frame = pd.DataFrame(world.scene.visibility(masks)).map(letters.get).rename_axis("factor").reset_index()
    return Table(f"{world.name}: S seen, h hidden, p in part", frame)
