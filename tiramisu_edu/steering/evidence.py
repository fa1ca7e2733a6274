"""From pixels to soft evidence for a circuit, and from its marginals back to pixels.

A codebook turns noisy and known pixels into log w_i(v), and posterior marginals into the mean and variance of every
pixel. `seen` is always an `Observation`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

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

    @property
    def visible(self) -> Tensor:
        """The known pixels, (B, C, H, W), and 0 in place of the others.

        Raises:
            EvidenceError: when a known pixel is not a number.
        """
        visible = torch.where(self.known, self.image, 0.0)
        if not visible.isfinite().all():
            raise EvidenceError("a known pixel is not a number")
        return visible

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

    def given(self, seen: Observation) -> Moments:
        """The same with the known pixels exactly as they are."""
        return Moments(torch.where(seen.known, seen.image, self.mean), self.variance.masked_fill(seen.known, 0.0))


class Codebook(ABC):
    """Pixels to evidence for a circuit over D variables, and the circuit's marginals to pixels."""

    def log_weights(self, seen: Observation) -> Tensor:
        """log w_i(v) of everything that is seen, (B, D, C)."""
        return self.log_noisy(seen) + self.log_known(seen)

    @abstractmethod
    def log_noisy(self, seen: Observation) -> Tensor:
        """The part of the hidden pixels' noisy copies, which changes at every step."""

    @abstractmethod
    def log_known(self, seen: Observation) -> Tensor:
        """The part of the known pixels, the same at every step.

        Raises:
            EvidenceError: when a known pixel is not a number.
        """

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        """E[x_0 | seen] of each pixel, (B, C, H, W), from the marginals q (B, D, C) under `log_weights(seen)`."""
        return self.moments(marginals, seen).mean

    @abstractmethod
    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        """E[x_0 | seen] and Var[x_0 | seen] of each pixel."""


@dataclass(frozen=True)
class PixelCodebook(Codebook):
    """Every pixel and channel is one variable, every grey level one category.

        log w_i(v) = log N(x_t; sqrt(a) g_v, 1 - a) for a hidden pixel, log 1[g_v = x] for a known one

    Known pixels between two levels count as the nearer one. Each row is scaled to a maximum of 0, which changes no
    posterior. D = channels * H * W.

    Args:
        levels: (C,) g, the image value of each category, increasing.
    """

    levels: Tensor

    @classmethod
    def grey_levels(cls, num_levels: int) -> PixelCodebook:
        """`num_levels` values from -1 to 1, evenly spaced."""
        return cls(torch.linspace(-1, 1, num_levels, dtype=torch.float32))

    def log_noisy(self, seen: Observation) -> Tensor:
        x_t, levels = seen.x_t.flatten(1)[..., None], self.levels.to(seen.x_t)
        soft = -((x_t - math.sqrt(seen.alpha_bar) * levels) ** 2) / (2 * (1 - seen.alpha_bar))
        known = seen.known.expand_as(seen.x_t).flatten(1)[..., None]
        return (soft - soft.amax(-1, keepdim=True)).masked_fill(known, 0.0)

    def log_known(self, seen: Observation) -> Tensor:
        known, visible = seen.known.expand_as(seen.image).flatten(1), seen.visible
        hard = visible.new_full((*known.shape, len(self.levels)), -torch.inf)
        return hard.scatter_(-1, self.categories(visible)[..., None], 0.0).masked_fill(~known[..., None], 0.0)

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        return (marginals @ self.levels.to(marginals)).view_as(seen.image)

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        mean, levels = self.mean(marginals, seen), self.levels.to(marginals)
        variance = (marginals * (levels - mean.flatten(1)[..., None]) ** 2).sum(-1)
        return Moments(mean, variance.view_as(seen.image))

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
