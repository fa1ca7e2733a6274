"""Soft evidence on the codes of a tokenizer, and pictures of codes: what the latent guide and fusion share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from .evidence import Moments
from .guide import draw_categories
from .mixing import ONE_LEVEL

if TYPE_CHECKING:
    from ..circuits.circuit import Circuit
    from ..diffusion.noise import Generators


class Tokenizer(Protocol):
    """Images (B, C, H, W) to D codes in 0 … V - 1 and back; D patches of equal size, in reading order."""

    def log_probabilities(self, images: Tensor, temperature: float = 1.0) -> Tensor: ...

    def decode(self, codes: Tensor) -> Tensor: ...


def covered_fraction(region: Tensor, num_patches: int) -> Tensor:
    """Share of each patch's pixels inside a region, (B, D).

    Args:
        region: bool (B, C or 1, H, W).
        num_patches: D, square patches that tile the image.
    """
    height, width = region.shape[-2:]
    side = round((height * width / num_patches) ** 0.5)
    inside = region.float().mean(1, keepdim=True)
    return torch.nn.functional.avg_pool2d(inside, side).flatten(1)


def sharpened(log_p: Tensor, temperature: Tensor) -> Tensor:
    """log softmax(log p / temperature) over the last dimension.

    Args:
        log_p: (B, D, V).
        temperature: (B, D), positive.
    """
    return torch.log_softmax(log_p / temperature[..., None], -1)


def keep_likeliest(marginals: Tensor, log_p: Tensor, top_k: int) -> Tensor:
    """Marginals with weight 1e-8 on every code outside the encoder's own `top_k`, as published; (B, D, V)."""
    least = log_p.topk(min(top_k, log_p.shape[-1]), -1).values[..., -1:]
    return torch.where(log_p >= least, marginals, 1e-8)


def joint_codes(circuit: Circuit, log_weights: Tensor, samples: int, generator: Generators | None) -> Tensor:
    """Joint samples of p(z | w), (samples, B, D): the patches of a picture agree with each other."""
    if isinstance(generator, Sequence):
        shares = log_weights.chunk(len(generator))
        return torch.cat([circuit.sample(samples, w, generator=g) for w, g in zip(shares, generator)], 1)
    return circuit.sample(samples, log_weights, generator=generator)


def independent_codes(marginals: Tensor, samples: int, generator: Generators | None) -> Tensor:
    """Each patch drawn from its own marginal, as published, (samples, B, D): the patches know nothing of each other."""
    return torch.stack([draw_categories(marginals, generator) for _ in range(samples)])


def decoded_moments(tokenizer: Tokenizer, codes: Tensor) -> Moments:
    """Mean and unbiased variance of each pixel over the decoded pictures, variance at least `ONE_LEVEL`.

    Args:
        codes: (S, B, D), S >= 2.
    """
    pictures = tokenizer.decode(codes.flatten(0, 1)).unflatten(0, codes.shape[:2]).clamp(-1, 1)
    return Moments(pictures.mean(0), pictures.var(0).clamp_min(ONE_LEVEL))
