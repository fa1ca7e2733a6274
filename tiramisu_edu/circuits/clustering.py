"""K-means, many small problems at once: one per region, per position, per patch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..errors import TiramisuError
from ..files import tensor_digest


def kmeans(
    points: Tensor,
    num_clusters: int,
    *,
    generator: torch.Generator,
    iterations: int = 20,
    checkpoint: str | Path | None = None,
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm on G independent sets of N points, from k-means++ seeds.

    A cluster that loses all its points is moved to the point of its set that is worst explained.

    Args:
        points: (G, N, P).
        num_clusters: V <= N.
        generator: of the seeds.
        checkpoint: file to go on from, written between sets.

    Returns:
        centres (G, V, P) and the nearest centre of each point, (G, N) long.

    Raises:
        TiramisuError: for fewer points than clusters.
    """
    sizes = [num_clusters] * len(points)
    found = kmeans_of_sets(list(points), sizes, generator=generator, iterations=iterations, checkpoint=checkpoint)
    if not found:
        return points.new_zeros(0, num_clusters, points.shape[-1]), torch.zeros(0, points.shape[1], dtype=torch.long)
    return torch.stack([centres for centres, _ in found]), torch.stack([nearest for _, nearest in found])


def kmeans_of_sets(
    sets: Sequence[Tensor],
    sizes: Sequence[int],
    *,
    generator: torch.Generator,
    iterations: int = 20,
    checkpoint: str | Path | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """`kmeans` of sets (N, P) of points that differ in size: centres and nearest centres of each."""
    for points, size in zip(sets, sizes, strict=True):
        if not bool(points.isfinite().all()):
            raise TiramisuError("points must be finite numbers; some are NaN or infinite")
        if size > len(points):
            raise TiramisuError(f"{len(points)} points cannot make {size} clusters")
    request: dict[str, Any] = {}
    if checkpoint is not None:
        sums = torch.tensor([float(points.double().sum()) for points in sets], dtype=torch.float64)
        request = {"sizes": list(sizes), "iterations": iterations, "points": tensor_digest({"sums": sums})}
    jobs = [partial(_centres, points, size, generator, iterations) for points, size in zip(sets, sizes)]
    centres = Checkpoint(checkpoint, request).results(jobs, generator, "k-means")
    return [(found, nearest_centre(points, found)[0]) for points, found in zip(sets, centres)]


def nearest_centre(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest centre (N,) and the squared distance to it, for points (N, P) and centres (V, P)."""
    squared = (centres**2).sum(-1) - 2 * points @ centres.T
    distance, index = squared.min(-1)
    return index, (distance + (points**2).sum(-1)).clamp_min(0)


def _centres(points: Tensor, num_clusters: int, generator: torch.Generator, iterations: int) -> Tensor:
    centres = _seeds(points, num_clusters, generator)
    nearest, distance = nearest_centre(points, centres)
    for _ in range(iterations):
        count = torch.bincount(nearest, minlength=num_clusters)
        total = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], centres)
        empty = (count == 0).nonzero()[:, 0]
        centres[empty] = points[distance.topk(len(empty)).indices]
        before = nearest
        nearest, distance = nearest_centre(points, centres)
        if torch.equal(before, nearest):
            break
    return centres


def _seeds(points: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): each seed drawn by its squared distance to those before it."""
    chosen = [int(torch.randint(len(points), (), generator=generator))]
    _, distance = nearest_centre(points, points[chosen])
    for _ in range(num_clusters - 1):
        odds = distance if bool(distance.sum() > 0) else torch.ones_like(distance)
        chosen.append(int(torch.multinomial(odds, 1, generator=generator)))
        distance = torch.minimum(distance, nearest_centre(points, points[chosen[-1:]])[1])
    return points[chosen].clone()
