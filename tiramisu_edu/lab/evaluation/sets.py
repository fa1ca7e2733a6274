"""What only a set of completions can tell: the energy score, and whether they are real and different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from ...world import World
from ..table import Table
from ..worlds.judge import Judge
from .cells import Cell, CellResult, cell_cases
from .comparison import Cases
from .measures import energies
from .metrics import coverage, diversity
from .perceptual import frechet_distance

REAL = 2048  # training images that stand for the real ones, or all where there are fewer
FEWEST = 8  # completions of a picture that an interval is made of


def with_energy(results: Sequence[CellResult], worlds: Mapping[str, World]) -> list[CellResult]:
    """The results with their energy scores, where there are two seeds or more."""
    groups: dict[Cell, list[CellResult]] = {}
    for result in results:
        groups.setdefault(replace(result.cell, seed=0), []).append(result)
    found = []
    for cell, seeds in groups.items():
        world, completions = worlds[cell.world], torch.stack([result.images for result in seeds])
        scores = energies(world, completions, cell_cases(world, cell)) if len(seeds) > 1 else {}
        for number, result in enumerate(seeds):
            own = {name: values[number] for name, values in scores.items()}
            found.append(replace(result, metrics=result.metrics | own))
    return found


def by_method(results: Sequence[CellResult], world: World, steps: int) -> dict[str, list[list[CellResult]]]:
    """Method -> mask -> the results of one world and number of steps, one per seed."""
    found: dict[str, dict[str, list[CellResult]]] = {}
    for result in results:
        if (result.cell.world, result.cell.steps) == (world.name, steps):
            found.setdefault(str(result.cell.method), {}).setdefault(result.cell.mask, []).append(result)
    return {method: list(masks.values()) for method, masks in found.items()}


def realism_and_diversity(results: Sequence[CellResult], world: World, steps: int) -> Table | None:
    """Frechet distance of each method's completions to real images, and how much the seeds of one image differ.

    One set of N images per mask and seed, seen through the judge's features; the mean over sets is reported. The
    distance depends on N, so the true images, a set of the same N, are the first row: the best value reachable.

    Returns:
        Frechet distances only with a judge, and where N reaches the number of its features: with fewer, noisy pictures
        score better than true ones. Diversity only with two seeds or more, and coverage with `FEWEST`. None where there
        is nothing.
    """
    groups = by_method(results, world, steps)
    cases = [cell_cases(world, seeds[0].cell) for seeds in next(iter(groups.values()))]
    seeds = min(len(seeds) for masks in groups.values() for seeds in masks)
    columns: dict[str, list[str]] = {"method": ["true images", *groups]}
    if "judge" in world.parts and len(true := _features(world.judge, cases[0].images)) >= true.shape[1]:
        real = _features(world.judge, world.images("train", REAL)[0])
        columns["Frechet distance"] = [f"{frechet_distance(true, real):.2f}"]
        for masks in groups.values():
            sets = [_features(world.judge, result.images) for each in masks for result in each]
            distances = [frechet_distance(features, real) for features in sets]
            columns["Frechet distance"].append(f"{sum(distances) / len(distances):.2f}")
    for name, needed in (("diversity", 2), ("coverage", FEWEST)):
        if seeds >= needed:
            columns[name] = ["–", *(_of_seeds(name, masks, cases) for masks in groups.values())]
    what = {
        "Frechet distance": "Frechet distance to real images (judge's features)",
        "diversity": "diversity over seeds",
        "coverage": "share of hidden pixels inside the 90 % intervals of the completions",
    }
    title = f"{world.label}, {steps} steps: {', '.join(what[name] for name in columns if name in what)}"
    return Table(title, pd.DataFrame(columns)) if len(columns) > 1 else None


def _of_seeds(name: str, masks: list[list[CellResult]], cases: list[Cases]) -> str:
    """Diversity or coverage of one method over all masks."""
    found = []
    for seeds, case in zip(masks, cases):
        x = torch.stack([result.images for result in seeds])
        found.append(diversity(x, case.known) if name == "diversity" else coverage(x, case.images, case.known))
    return f"{torch.cat(found).mean():.3f}"


@torch.no_grad()
def _features(judge: Judge, images: Tensor) -> Tensor:
    return torch.cat([judge.features(part) for part in images.split(256)])
