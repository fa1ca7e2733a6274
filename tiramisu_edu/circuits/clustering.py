"""K-means, many small problems at once: one per region, per position, per patch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..errors import TiramisuError
from ..files import tensor_digest
from ..ranks import gathered, share


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
    request: dict[str, Any] = {"clusters": num_clusters, "iterations": iterations}
    if checkpoint is not None:
        request["points"] = tensor_digest({"points": points.contiguous()})
    jobs = [partial(one_set, each, num_clusters, generator, iterations) for each in points]
    found = Checkpoint(checkpoint, request).results(jobs, generator, "k-means")
    if not found:
        return points.new_zeros(0, num_clusters, points.shape[-1]), torch.zeros(0, points.shape[1], dtype=torch.long)
    centres, nearest = (torch.stack([tensor.to(points.device) for tensor in each]) for each in zip(*found))
    return centres, nearest


def one_set(points: Tensor, num_clusters: int, generator: torch.Generator, iterations: int = 20) -> list[Tensor]:
    """`kmeans` of one set (N, P): centres and the nearest centre of each point."""
    if not bool(points.isfinite().all()):
        raise TiramisuError("points must be finite numbers; some are NaN or infinite")
    if num_clusters > len(points):
        raise TiramisuError(f"{len(points)} points cannot make {num_clusters} clusters")
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
    return [centres, nearest]


def nearest_centre(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest centre (N,) and the squared distance to it, for points (N, P) and centres (V, P).

    Under `torchrun` each process compares its share of the points, and all have the result.
    """
    own = share(points)
    distance, index = ((centres**2).sum(-1) - 2 * own @ centres.T).min(-1)
    distance = (distance + (own**2).sum(-1)).clamp_min(0)
    return gathered(index, len(points)), gathered(distance, len(points))


def _seeds(points: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): each seed drawn by its squared distance to those before it."""
    chosen = [int(torch.randint(len(points), (), generator=generator))]
    _, distance = nearest_centre(points, points[chosen])
    for _ in range(num_clusters - 1):
        odds = distance if bool(distance.sum() > 0) else torch.ones_like(distance)
        chosen.append(int(torch.multinomial(odds.cpu(), 1, generator=generator)))
        distance = torch.minimum(distance, nearest_centre(points, points[chosen[-1:]])[1])
    return points[chosen].clone()
