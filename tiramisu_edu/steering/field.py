"""A stationary Gaussian: what neighbouring pixels have in common, the same at every place of the picture.

    x - mean = sum over colours c and waves k, l of  z_ckl U_c cos(pi k (row + 1/2) / H) cos(pi l (column + 1/2) / W)

with independent z_ckl ~ N(0, lambda_ckl) and orthonormal waves and colours U. C H W variances, 12 kB for 32 x 32
pixels, shared over all positions: they do not learn a few photographs by heart, as a circuit over patches
does. A smooth fill (Laplace) is the same model with lambda = 1 / (4 - 2 cos(pi k / H) - 2 cos(pi l / W)) in place of
the fitted variances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check_images
from ..circuits import structures
from ..circuits.circuit import Circuit
from .evidence import Codebook, Moments, Observation
from .patches import VARIANCE_FLOOR, log_known_copies


class _Part(NamedTuple):
    """The pictures of one mask, of P pixels, k of them known: rows, mean and variance (n, C, P) in the colours U, and
    log p(known | noisy copies) (n,)."""

    rows: Tensor
    mean: Tensor
    variance: Tensor
    log_p: Tensor


@dataclass(frozen=True)
class GaussianField(Codebook):
    """A codebook with one variable and one code: all that it knows is in its mean and variance.

    Noisy copies are weighed wave by wave, then known pixels by their covariance: k^3 for k known ones, up to 64 x 64.

    Args:
        centre: mean colour, (C,).
        colours: U, (C, C), orthonormal columns: colours that vary independently.
        variances: lambda, (C, H, W), positive.
    """

    centre: Tensor
    colours: Tensor
    variances: Tensor

    @classmethod
    def fit(cls, images: Tensor) -> GaussianField:
        """The likeliest variances of images (N, C, H, W), in the principal colours of their pixels."""
        check_images("images", images)
        pixels = images.double().transpose(0, 1).flatten(1)
        centre = pixels.mean(1)
        _, colours = torch.linalg.eigh(torch.cov(pixels, correction=0).view(len(pixels), -1))
        field = cls(centre, colours, torch.ones(images.shape[1:], dtype=torch.float64))
        variances = torch.stack([field._waves(part).square().sum(0) for part in images.double().split(512)]).sum(0)
        return cls(centre, colours, (variances / len(images)).clamp_min(VARIANCE_FLOOR))

    def circuit(self) -> Circuit:
        """Of the one code."""
        return Circuit(structures.factorized(1, num_categories=1), generator=torch.Generator().manual_seed(0))

    def log_noisy(self, seen: Observation) -> Tensor:
        """log p(noisy copies of the hidden pixels | known), (B, 1, 1)."""
        a, waves = seen.alpha_bar, self._waves(seen.x_t.double(), math.sqrt(seen.alpha_bar))
        spread = a * self.variances + 1 - a
        log_p = -(waves.square() / spread + (2 * math.pi * spread).log()).flatten(1).sum(1) / 2
        for part in self._parts(seen):
            log_p[part.rows] += part.log_p
        log_p -= log_known_copies(seen._replace(x_t=seen.x_t.double())) + self.log_known(seen)[:, 0, 0]
        return log_p[:, None, None].to(seen.x_t)

    def log_known(self, seen: Observation) -> Tensor:
        log_p = torch.zeros(len(seen.image), 1, 1, dtype=torch.float64)
        for part in self._parts(seen._replace(alpha_bar=0.0)):
            log_p[part.rows, 0, 0] = part.log_p
        return log_p

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        mean, variance = torch.empty_like(seen.x_t), torch.empty_like(seen.x_t)
        for part in self._parts(seen):
            shape = (len(part.rows), *seen.x_t.shape[1:])
            coloured = torch.einsum("ndp,cd->ncp", part.mean, self.colours) + self.centre[:, None]
            mean[part.rows] = coloured.reshape(shape).to(mean)
            spread = torch.einsum("dp,cd->cp", part.variance, self.colours**2).reshape(shape[1:])
            variance[part.rows] = spread.to(variance)
        return Moments(mean, variance).given(seen)

    def _parts(self, seen: Observation) -> Iterator[_Part]:
        """Exact conditioning, first on noisy copies of all pixels, then on the known ones, which overrule theirs."""
        a, root = seen.alpha_bar, math.sqrt(seen.alpha_bar)
        spread = self.variances * (1 - a) / (a * self.variances + 1 - a)
        down, across = (cosines(n) for n in seen.x_t.shape[2:])
        posterior = self._waves(seen.x_t.double(), root) * root * spread / (1 - a)
        mean = torch.einsum("nckl,hk,wl->nchw", posterior, down, across).flatten(2)  # (B, C, P)
        rows = torch.einsum("ik,jk,ckl->cijl", down, down, spread)
        covariance = torch.einsum("cijl,ml,nl->cimjn", rows, across, across).reshape(len(spread), *[mean.shape[2]] * 2)
        variance = covariance.diagonal(dim1=1, dim2=2)
        clean = self._coloured(torch.where(seen.known, seen.image, 0.0).double(), 1.0).flatten(2)
        masks, which = seen.known.expand(len(mean), -1, -1, -1)[:, 0].flatten(1).unique(dim=0, return_inverse=True)
        for number, mask in enumerate(masks):
            chosen = (which == number).nonzero()[:, 0]
            factor = torch.linalg.cholesky(covariance[:, mask][:, :, mask])  # (C, k, k)
            residual = (clean[chosen] - mean[chosen])[..., mask].permute(1, 2, 0)  # (C, k, n)
            white = torch.linalg.solve_triangular(factor, residual, upper=False)
            towards = torch.linalg.solve_triangular(factor, covariance[:, mask], upper=False)  # (C, k, P)
            change = (towards.mT @ white).permute(2, 0, 1)
            log_det = factor.diagonal(dim1=1, dim2=2).log().sum()
            log_p = -white.square().sum((0, 1)) / 2 - log_det - residual[..., 0].numel() * math.log(2 * math.pi) / 2
            yield _Part(chosen, mean[chosen] + change, (variance - towards.square().sum(1)).clamp_min(0), log_p)

    def _coloured(self, images: Tensor, scale: float) -> Tensor:
        """images - scale mean, in the colours U."""
        return torch.einsum("nchw,cd->ndhw", images - scale * self.centre[:, None, None], self.colours)

    def _waves(self, images: Tensor, scale: float = 1.0) -> Tensor:
        """Coefficients of images - scale mean, (N, C, H, W)."""
        down, across = (cosines(n) for n in images.shape[2:])
        return torch.einsum("nchw,hk,wl->nckl", self._coloured(images, scale), down, across)


def cosines(n: int) -> Tensor:
    """(n, n) orthonormal: column k is cos(pi k (i + 1/2) / n) at i = 0 ... n - 1 (the DCT of type II)."""
    place, wave = torch.arange(n, dtype=torch.float64) + 0.5, torch.arange(n, dtype=torch.float64)
    found = torch.cos(math.pi * place[:, None] * wave / n)
    return found / found.norm(dim=0)
