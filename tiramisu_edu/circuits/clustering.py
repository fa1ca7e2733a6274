"""K-means, many small problems at once: one per region, per position, per patch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import TiramisuError
from ..ranks import gathered, share


def kmeans(points: Tensor, num_clusters: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm on G independent sets of N points, from k-means++ seeds.

    A cluster that loses all its points is moved to the point of its set that is worst explained.

    Args:
        points: (G, N, P).
        num_clusters: V <= N.
        generator: of the seeds.

    Returns:
        centres (G, V, P) and the nearest centre of each point, (G, N) long.

    Raises:
        TiramisuError: for fewer points than clusters.
    """
    centres, nearest = map(torch.stack, zip(*(one_set(each, num_clusters, generator) for each in points)))
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
