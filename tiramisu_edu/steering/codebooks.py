"""The file of a codebook, and two models of one picture put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files import loaded
from .evidence import Codebook, Moments, Observation
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

    whole: PatchCodebook

    mean = Codebook.mean  # that of `moments`; one of patches alone has a shorter way

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        whole = self.whole.moments(marginals.new_ones(len(marginals), 1, 1), seen)
        return gaussian_geometric_mean(super().moments(marginals, seen), whole, 0.5).given(seen)

    def tensors(self) -> dict[str, Tensor]:
        whole = {f"whole.{name}": tensor for name, tensor in self.whole.tensors().items()}
        return super().tensors() | whole


def load_codebook(path: str | Path) -> PatchCodebook:
    """The codebook that was saved: with diagonal leaves, with factors, or pooled with one Gaussian of whole pictures.

    Raises:
        FileError: when the file is no such codebook.
    """
    with loaded(path, kind=KIND, version=VERSION) as (tensors, metadata):
        channels, height, width = metadata["shape"]
        return _codebook(tensors, metadata["patch"], (channels, height, width))


def _codebook(tensors: dict[str, Tensor], patch: int, shape: tuple[int, int, int]) -> PatchCodebook:
    """The kind of codebook that has these tensors; a name "whole.means" is of the Gaussian of whole pictures."""
    own: dict[str, Any] = {name: tensor.float() for name, tensor in tensors.items() if "." not in name}
    own["variances"] = own["variances"].clamp_min(VARIANCE_FLOOR)
    if whole := {name.removeprefix("whole."): tensor for name, tensor in tensors.items() if "." in name}:
        return PooledCodebook(patch=patch, shape=shape, whole=_codebook(whole, shape[1], shape), **own)
    return (LowRankCodebook if "factors" in own else PatchCodebook)(patch=patch, shape=shape, **own)
