"""The file of a codebook, and two models of one picture put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import load_safetensors, reading
from .evidence import Moments, Observation
from .low_rank import LowRankCodebook
from .mixture import gaussian_geometric_mean
from .patches import KIND, VARIANCE_FLOOR, VERSION, PatchCodebook


@dataclass(frozen=True)
class PooledCodebook(LowRankCodebook):
    """Patches tied by a circuit and one Gaussian of whole pictures: the geometric mean of what both say of each pixel.

        p(x) proportional to p_patches(x | seen)^(1/2) p_whole(x | seen)^(1/2), each by its exact mean and variance

    A named approximation: both posteriors are exact, their mean is the posterior of neither. The circuit knows kinds of
    things and not how neighbouring patches go on, the Gaussian the reverse; what is certain to one of them counts more.

    Args:
        means, variances, patch, shape, factors: of the patches, see `LowRankCodebook`. Evidence and draws are theirs.
        whole: one Gaussian, see `LowRankCodebook.one_gaussian`.
    """

    whole: LowRankCodebook

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        return self.moments(marginals, seen).mean

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        whole = self.whole.moments(marginals.new_ones(len(marginals), 1, 1), seen)
        mean, variance = gaussian_geometric_mean(super().moments(marginals, seen), whole, 0.5)
        return Moments(torch.where(seen.known, seen.image, mean), variance.masked_fill(seen.known, 0.0))

    def tensors(self) -> dict[str, Tensor]:
        whole = {f"whole.{name}": tensor for name, tensor in self.whole.tensors().items()}
        return super().tensors() | whole

    def to(self, device: torch.device) -> PooledCodebook:
        patches: dict[str, Any] = {name: tensor.to(device) for name, tensor in super().tensors().items()}
        return replace(self, whole=self.whole.to(device), **patches)


def load_codebook(path: str | Path) -> PatchCodebook:
    """The codebook that was saved: with diagonal leaves, with factors, or pooled with one Gaussian of whole pictures.

    Raises:
        FileError: when the file is no such codebook.
    """
    tensors, metadata = load_safetensors(path, kind=KIND, version=VERSION)
    with reading(path):
        channels, height, width = metadata["shape"]
        shape, lowest = (channels, height, width), {"variances": VARIANCE_FLOOR}
        floats = {n: x.float().clamp_min(lowest.get(n.split(".")[-1], -torch.inf)) for n, x in tensors.items()}
        patches = floats["means"], floats["variances"], metadata["patch"], shape
        if "factors" not in floats:
            return PatchCodebook(*patches)
        if "whole.means" not in floats:
            return LowRankCodebook(*patches, floats["factors"])
        whole = LowRankCodebook(
            floats["whole.means"], floats["whole.variances"], height, shape, floats["whole.factors"]
        )
        return PooledCodebook(*patches, floats["factors"], whole)
