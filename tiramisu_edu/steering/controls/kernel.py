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
from ..evidence import Moments, Observation


@dataclass(frozen=True)
class KernelCodebook:
    """p(x_0) = 1/N sum_n N(x_0; x_n, h^2 I), with p(n) = 1/N in `circuit`.

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

    def log_weights(self, seen: Observation) -> Tensor:
        """log p(seen | n) up to a constant per row, (B, 1, N).

            log p(seen | n) = sum_hidden log N(x_t; sqrt(a) x_n, a h^2 + 1 - a) + sum_known log N(x; x_n, h^2)

        (y - c x_n)^2 / v is linear in x_n and x_n^2, so this is two matrix products.
        """
        root, a = math.sqrt(seen.alpha_bar), seen.alpha_bar
        known = seen.known.expand_as(seen.image)
        y = torch.where(known, seen.image, seen.x_t).flatten(1)  # (B, P)
        scale = torch.where(known, 1.0, root).flatten(1).to(y)
        precision = torch.where(known, 1 / self.variance, 1 / (a * self.variance + 1 - a)).flatten(1).to(y)
        stored = self.images.flatten(1).to(y)  # (N, P)
        log_p = (precision * scale * y) @ stored.T - 0.5 * (precision * scale**2) @ stored.square().T
        return torch.log_softmax(log_p, 1)[:, None]

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        """E[x_0 | seen] and Var[x_0 | seen], (B, C, H, W), known pixels exactly as given.

            E[x_0 | seen] = sum_n p(n | seen) (x_n + k (x_t - sqrt(a) x_n)),   k = sqrt(a) h^2 / (a h^2 + 1 - a)

        The variance is left out (NaN): no guide reads that of a kernel density.

        Args:
            marginals: p(n | seen), (B, 1, N).
        """
        root, a = math.sqrt(seen.alpha_bar), seen.alpha_bar
        gain = root * self.variance / (a * self.variance + 1 - a)
        average = marginals[:, 0].to(seen.x_t) @ self.images.flatten(1).to(seen.x_t)
        mean = (1 - gain * root) * average.view_as(seen.x_t) + gain * seen.x_t
        mean = torch.where(seen.known, seen.image, mean)
        return Moments(mean, torch.full_like(mean, math.nan))
