"""Tables of probabilities: how they start, and what EM makes of the counts of their entries.

The leaves of a circuit are such tables too, over one variable with C categories: any distribution ("categorical"), or
the fixed "indicator", whose unit k is 1[x = k].
"""

from __future__ import annotations

import torch
from torch import Tensor

FAMILIES = ("categorical", "indicator")


def random_table(
    shape: tuple[int, int, int], family: str | None, generator: torch.Generator | None, dtype: torch.dtype
) -> Tensor:
    """(R, K, M) that sums to one over M: proportional to exp(2 uniform), or indicators."""
    if family == "indicator":
        return torch.eye(shape[2], dtype=dtype).expand(shape).clone()
    return torch.softmax(2 * torch.rand(shape, generator=generator, dtype=dtype), -1)


def normalised_counts(old: Tensor, counts: Tensor, pseudocount: float) -> Tensor:
    """(counts + pseudocount / n) / (total + pseudocount) over the last dimension of n; `old` where all counts are 0.

    The result takes the place of the counts in memory.
    """
    scale = 1 / (counts.sum(-1, keepdim=True) + pseudocount)
    torch.addcmul(scale * (pseudocount / counts.shape[-1]), counts, scale, out=counts)
    return counts if pseudocount > 0 else torch.where(scale.isfinite(), counts, old)
