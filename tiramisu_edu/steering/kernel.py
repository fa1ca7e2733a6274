"""The control without a circuit: a kernel density over stored training images takes its place in the difference guide.

What remains of a gain when nothing was learned, only remembered? The answer is exact here too, at the price of reading
every stored image at every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .evidence import Observation
from .guide import Guide, observed

if TYPE_CHECKING:
    from ..diffusion.step import Step
    from ..zoo import World

STORED = 4096  # training images, or all where there are fewer


@dataclass(frozen=True)
class KernelDensity:
    """p(x_0) = 1/N sum_n N(x_0; x_n, h^2 I).

    The h^2 of greatest likelihood is a poor one for guidance: it trusts the nearest stored image alone. Tune it.

    Args:
        images: x_n, (N, C, H, W).
        variance: h^2, positive, in squared image units.
    """

    images: Tensor
    variance: float

    def log_weights(self, seen: Observation) -> Tensor:
        """log p(n | seen), (B, N): which stored image it is.

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
        return torch.log_softmax(log_p, 1)

    def mean(self, seen: Observation) -> Tensor:
        """E[x_0 | seen], (B, C, H, W), known pixels exactly as given.

        sum_n p(n | seen) (x_n + k (x_t - sqrt(a) x_n)),   k = sqrt(a) h^2 / (a h^2 + 1 - a)
        """
        root, a = math.sqrt(seen.alpha_bar), seen.alpha_bar
        gain = root * self.variance / (a * self.variance + 1 - a)
        average = self.log_weights(seen).exp() @ self.images.flatten(1).to(seen.x_t)
        hidden = (1 - gain * root) * average.view_as(seen.x_t) + gain * seen.x_t
        return torch.where(seen.known, seen.image, hidden)


@dataclass
class KernelGuide(Guide):
    """The difference guide with remembered images in place of a circuit.

        x_0 = f(x_t) + strength (E_KDE[x_0 | x_t, known] - E_KDE[x_0 | x_t])

    `circuit_mean` is the first of the two means. Cost per guided step: two "kernel passes", each over all N images.

    Args:
        density: p_KDE.
        fraction, strength, consistent_noise: as in `DifferenceGuide`.
    """

    density: KernelDensity
    fraction: float = 1.0
    strength: float = 1.0
    consistent_noise: bool = False

    def steer(self, step: Step) -> Tensor:
        with_known, without = self.density.mean(observed(step).with_and_without_known()).chunk(2)
        self.cost["kernel passes"] += 2
        self.circuit_mean = with_known
        return (step.prediction.x_0 + self.strength * (with_known - without)).clamp(-1, 1)


@lru_cache(maxsize=1)
def stored_images(world: World) -> Tensor:
    """The first `STORED` training images of a world, drawn once for all guides on it; (N, C, H, W)."""
    return world.images("train", STORED)[0].to(world.device)
