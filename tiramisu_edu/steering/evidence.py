"""From pixels to soft evidence for a circuit, and from its marginals back to pixels.

A codebook has two main verbs: `log_weights` turns noisy and known pixels into log w_i(v), and `moments` turns posterior
marginals into the mean and variance of every pixel. `seen` is always an `Observation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..errors import EvidenceError


class Observation(NamedTuple):
    """What is seen of a clean image x_0: a noisy copy x_t = sqrt(a) x_0 + sqrt(1 - a) epsilon, and some exact pixels.

    Attributes:
        x_t: (B, C, H, W).
        alpha_bar: a, in [0, 1); at 0 the noisy copy carries no signal.
        image: (B, C, H, W), used where known.
        known: bool, broadcastable.
    """

    x_t: Tensor
    alpha_bar: float
    image: Tensor
    known: Tensor

    def without_known(self) -> Observation:
        """The noisy copy alone."""
        return self._replace(known=torch.zeros_like(self.known))

    def with_and_without_known(self) -> Observation:
        """2 B rows: the B observations, then their noisy copies alone."""
        x_t, image = (torch.cat([tensor, tensor]) for tensor in (self.x_t, self.image))
        return Observation(x_t, self.alpha_bar, image, torch.cat([self.known, torch.zeros_like(self.known)]))


class Moments(NamedTuple):
    """Mean and variance of each pixel, both (B, C, H, W)."""

    mean: Tensor
    variance: Tensor


class Codebook(Protocol):
    """Pixels to evidence for a circuit, and its marginals to pixels."""

    def log_weights(self, seen: Observation) -> Tensor: ...

    def moments(self, marginals: Tensor, seen: Observation) -> Moments: ...


class DensityCodebook(Codebook, Protocol):
    """A codebook that knows the density of pixels too: `PixelCodebook` or `PatchCodebook`."""

    def log_scale(self, seen: Observation) -> Tensor: ...

    def log_likelihoods(self, image: Tensor, region: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PixelCodebook:
    """Every pixel and channel is one variable, every grey level one category.

    Args:
        levels: (C,) the image value of each category, increasing.
    """

    levels: Tensor

    @classmethod
    def grey_levels(cls, num_levels: int) -> PixelCodebook:
        """`num_levels` values from -1 to 1, evenly spaced."""
        return cls(torch.linspace(-1, 1, num_levels))

    def log_weights(self, seen: Observation) -> Tensor:
        """log w_i(v): N(x_t; sqrt(a) g_v, 1 - a) for a hidden pixel, 1[g_v = x] for a known one.

        Known pixels between two levels count as the nearer one. Each row is scaled to a maximum of 0, which changes no
        posterior.

        Args:
            seen: the observation.

        Returns:
            (B, D, C) with D = channels * H * W.

        Raises:
            EvidenceError: when a known pixel is not a number.
        """
        levels = self.levels.to(seen.x_t)
        x_t = seen.x_t.flatten(1)[..., None]
        soft = -((x_t - math.sqrt(seen.alpha_bar) * levels) ** 2) / (2 * (1 - seen.alpha_bar))
        soft = soft - soft.amax(-1, keepdim=True)
        known = seen.known.expand_as(seen.image).flatten(1)
        image = seen.image.flatten(1)
        if not image[known].isfinite().all():
            raise EvidenceError("a known pixel is not a number")
        nearest = self.categories(torch.where(seen.known, seen.image, 0.0))
        hard = torch.full_like(soft, -torch.inf).scatter_(-1, nearest[..., None], 0.0)
        return torch.where(known[..., None], hard, soft)

    def log_scale(self, seen: Observation) -> Tensor:
        """(B,): log p(x_t, known) - log Z, the part of the density that `log_weights` leaves out.

        The maximum taken out of each hidden row, and for known pixels the density of their own noisy copy.
        """
        levels, root, noise = self.levels.to(seen.x_t), math.sqrt(seen.alpha_bar), 1 - seen.alpha_bar
        nearest = levels[self.categories(seen.x_t / root)].view_as(seen.x_t)
        residual = seen.x_t - root * torch.where(seen.known, seen.image, nearest)
        return -(residual**2 / noise + math.log(2 * math.pi * noise)).flatten(1).sum(1) / 2

    def log_likelihoods(self, image: Tensor, region: Tensor) -> Tensor:
        """log p(pixel | v) of the pixels in a region, up to a constant; 0 outside: (B, D, C).

        A Gaussian around each level, half as wide as the levels are apart.

        Args:
            image: (B, C, H, W).
            region: bool, broadcastable.
        """
        levels = self.levels.to(image)
        width = (levels[-1] - levels[0]) / (len(levels) - 1) / 2
        log_p = -((image.flatten(1)[..., None] - levels) ** 2) / (2 * width**2)
        return log_p * region.expand_as(image).flatten(1)[..., None]

    def categories(self, image: Tensor) -> Tensor:
        """Index of the nearest level of each pixel, (B, D) long."""
        middles = ((self.levels[1:] + self.levels[:-1]) / 2).to(image)
        return torch.bucketize(image.flatten(1).contiguous(), middles)

    def image(self, categories: Tensor, shape: torch.Size) -> Tensor:
        """Pixel values of categories (..., D), with the last three sizes of `shape`."""
        return self.levels.to(categories.device)[categories].unflatten(-1, tuple(shape[-3:]))

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        """Mean sum_v q_i(v) g_v and variance sum_v q_i(v) (g_v - mean)^2 of each pixel.

        Args:
            marginals: q, (B, D, C), of the circuit under `log_weights(seen)`.
            seen: the same observation; only its shape is used.
        """
        levels = self.levels.to(marginals)
        mean = marginals @ levels
        variance = (marginals * (levels - mean[..., None]) ** 2).sum(-1)
        return Moments(mean.view_as(seen.image), variance.view_as(seen.image))
