"""Weighted particles: how many of them still count, and drawing the survivors. P particles for each of B images."""

import torch
from torch import Tensor

from .step import Generators, uniform


def normalised(log_weights: Tensor) -> Tensor:
    """(B, P) weights that sum to 1. A particle that is not a number gets none, unless none of its image is one."""
    log_weights = log_weights.nan_to_num(nan=-torch.inf)
    return torch.where(log_weights.isfinite().any(1, keepdim=True), log_weights, 0).softmax(1)


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(B,) 1 / sum_k w_k² of log-weights (B, P): P where all are equal, 1 where one particle has all the weight."""
    return 1 / normalised(log_weights).square().sum(1)


def systematic(log_weights: Tensor, generator: Generators) -> Tensor:
    """Systematic resampling: whose copy each particle of an image goes on as, (B, P) long, rising along P.

        the particles at (u + k) / P for k = 0 … P - 1, when each is as wide as its weight;  u uniform, one per image

    Of a particle of weight w there are P w copies on average, and never fewer than floor(P w) or more than ceil(P w).

    Args:
        log_weights: (B, P).
        generator: of u; one, or one per image.

    Source: Kitagawa, "Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space Models".
    """
    P = log_weights.shape[1]
    u = uniform(log_weights[:, :1], generator)
    return _particles_at((u + torch.arange(P, device=u.device)) / P, log_weights)


def draw_one(log_weights: Tensor, generator: Generators) -> Tensor:
    """(B,) long, one particle of each image, drawn by weight."""
    return _particles_at(uniform(log_weights[:, :1], generator), log_weights)[:, 0]


def rows(particles: Tensor, P: int) -> Tensor:
    """Particles (B, n) of each image -> their rows (B n,) in a batch where the P particles of an image are adjacent."""
    return (particles + P * torch.arange(len(particles), device=particles.device)[:, None]).flatten()


def _particles_at(positions: Tensor, log_weights: Tensor) -> Tensor:
    """(B, n) the particles found at the positions (B, n) in [0, 1)."""
    upper = normalised(log_weights).cumsum(1)
    return torch.searchsorted(upper / upper[:, -1:], positions, right=True)
