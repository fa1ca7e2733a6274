"""The control without a learned circuit: a kernel density over stored training images.

A kernel density is a circuit with one variable, the number n of the stored image, and a codebook that makes evidence
on n from pixels. In the difference guide it shows how much of a gain comes from memory alone. Its two means are exact;
each guided step reads every stored image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...circuits import structures
from ...circuits.circuit import Circuit
from ..evidence import Codebook, Moments, Observation


@dataclass(frozen=True)
class KernelCodebook(Codebook):
    """p(x_0) = 1/N sum_n N(x_0; x_n, h^2 I), with p(n) = 1/N in `circuit`.

        log w(n) = sum_hidden log N(x_t; sqrt(a) x_n, a h^2 + 1 - a) + sum_known log N(x; x_n, h^2)

    The h^2 of greatest likelihood is too small for guidance, since it leaves weight on the nearest stored image alone.
    `tiramisu-edu tune` finds a better one.

    Args:
        images: x_n, (N, C, H, W).
        variance: h^2, positive, in squared image units.
    """

    images: Tensor
    variance: float

    def circuit(self) -> Circuit:
        """The uniform distribution of n."""
        graph = structures.factorized(1, num_categories=len(self.images))
        uniform = Circuit(graph, generator=torch.Generator().manual_seed(0), dtype=self.images.dtype)
        with torch.no_grad():
            uniform.region_table(0).fill_(1 / len(self.images))
        return uniform.to(self.images.device)

    def log_noisy(self, seen: Observation) -> Tensor:
        a, hidden = seen.alpha_bar, ~seen.known.expand_as(seen.x_t)
        return self._log_density(seen.x_t, hidden, math.sqrt(a), a * self.variance + 1 - a)

    def log_known(self, seen: Observation) -> Tensor:
        return self._log_density(seen.visible, seen.known.expand_as(seen.image), 1.0, self.variance)

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        """sum_n p(n | seen) (x_n + k (x_t - sqrt(a) x_n)),   k = sqrt(a) h^2 / (a h^2 + 1 - a)."""
        root, a = math.sqrt(seen.alpha_bar), seen.alpha_bar
        gain = root * self.variance / (a * self.variance + 1 - a)
        average = marginals[:, 0].to(seen.x_t) @ self.images.flatten(1).to(seen.x_t)
        return torch.where(seen.known, seen.image, (1 - gain * root) * average.view_as(seen.x_t) + gain * seen.x_t)

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        share = (1 - seen.alpha_bar) / (seen.alpha_bar * self.variance + 1 - seen.alpha_bar)
        x_n, q = self.images.flatten(1).to(seen.x_t), marginals[:, 0].to(seen.x_t)
        variance = self.variance * share + share**2 * (q @ x_n**2 - (q @ x_n) ** 2).view_as(seen.x_t)
        return Moments(self.mean(marginals, seen), variance).given(seen)

    def _log_density(self, images: Tensor, used: Tensor, scale: float, variance: float) -> Tensor:
        """sum over the used pixels of log N(x; scale x_n, variance) up to a constant per row, (B, 1, N).

        (x - scale x_n)^2 is linear in x_n and x_n^2, so this is two matrix products.
        """
        x_n, weight = self.images.flatten(1).to(images), used.flatten(1).to(images) * scale / variance
        log_p = (weight * images.flatten(1)) @ x_n.T - 0.5 * scale * weight @ x_n.square().T
        return log_p[:, None]
