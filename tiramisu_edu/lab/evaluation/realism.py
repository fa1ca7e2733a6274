"""Do the completions look real as a set, and do the seeds differ? What no number of a single completion can tell."""

from __future__ import annotations

import torch
from torch import Tensor

from ...world import World
from ..worlds.judge import Judge
from .cells import CellResult, cell_cases
from .metrics import diversity
from .perceptual import frechet_distance
from .table import Grid, Results

REAL = 2048  # training images that stand for the real ones, or all where there are fewer


def realism_and_diversity(results: Results, world: World, steps: int) -> Grid | None:
    """Frechet distance of each method's completions to real images, and how much the seeds of one image differ.

    Each mask and seed gives one set of whole pictures, as the judge's features see them, beside training images; the
    mean over these sets is printed. The sets of all methods are equally large, for the distance depends on it. So the
    first row has the true images, one set: as far as that from the real ones are pictures without any fault.

    Returns:
        Frechet distances only where a set has as many images as features: with fewer, noisy pictures score better
        than true ones. Diversity only with two seeds or more. None where there is neither.
    """
    groups = {m: [results.cells(s, m, steps) for s in results.of_world(world.name)] for m in results.methods}
    cases = [cell_cases(world, cells[0].cell) for cells in next(iter(groups.values()))]
    true = _features(world.judge, cases[0].images)

    columns: dict[str, list[str]] = {}
    if len(true) >= true.shape[1]:
        real = _features(world.judge, world.images("train", REAL)[0])
        columns["Frechet distance"] = [f"{frechet_distance(true, real):.2f}"]
        for masks in groups.values():
            sets = [_features(world.judge, _images(result)) for cells in masks for result in cells]
            distances = [frechet_distance(features, real) for features in sets]
            columns["Frechet distance"].append(f"{sum(distances) / len(distances):.2f}")
    if min(len(cells) for masks in groups.values() for cells in masks) >= 2:
        columns["diversity"] = ["–"]
        for masks in groups.values():
            spread = [diversity(torch.stack([_images(r) for r in m]), c.known) for m, c in zip(masks, cases)]
            columns["diversity"].append(f"{torch.cat(spread).mean():.3f}")
    if not columns:
        return None
    names = ["true images", *map(str, groups)]
    title = f"{world.name}, {steps} steps: Frechet distance to real images (judge's features), diversity over seeds"
    return Grid(title, ["method", *columns], [list(row) for row in zip(names, *columns.values())])


def _images(result: CellResult) -> Tensor:
    return result.completions.float() / 127.5 - 1


@torch.no_grad()
def _features(judge: Judge, images: Tensor) -> Tensor:
    return torch.cat([judge.features(part) for part in images.split(256)])
