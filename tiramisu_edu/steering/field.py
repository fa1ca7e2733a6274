"""A stationary Gaussian: what neighbouring pixels have in common, the same at every place of the picture.

    x - mean = sum over colours c and waves k, l of  z_ckl U_c cos(pi k (row + 1/2) / H) cos(pi l (column + 1/2) / W)

with independent z_ckl ~ N(0, lambda_ckl) and orthonormal waves and colours U. C H W variances, 12 kB for 32 x 32
pixels, shared over all positions: they do not learn a few photographs by heart, as a circuit over patches
does. A smooth fill (Laplace) is the same model with lambda = 1 / (4 - 2 cos(pi k / H) - 2 cos(pi l / W)) in place of
the fitted variances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_images
from ..circuits import structures
from ..circuits.circuit import Circuit
from .evidence import Codebook, Moments, Observation
from .patches import VARIANCE_FLOOR


@dataclass(frozen=True)
class GaussianField(Codebook):
    """A codebook with one variable and one code: all that it knows is in its mean and variance, nothing in log weights.

    Noisy copies are weighed wave by wave, then known pixels by the precision of the others: h^3 for h hidden ones.

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
        white = cls(centre, colours, torch.ones(images.shape[1:], dtype=torch.float64))
        variances = torch.stack([white._waves(part).square().sum(0) for part in images.double().split(512)]).sum(0)
        return cls(centre, colours, (variances / len(images)).clamp_min(VARIANCE_FLOOR))

    def circuit(self) -> Circuit:
        """Of the one code."""
        one = Circuit(structures.factorized(1, num_categories=1), generator=torch.Generator().manual_seed(0))
        return one.to(self.centre.device)

    def log_noisy(self, seen: Observation) -> Tensor:
        return seen.x_t.new_zeros(len(seen.x_t), 1, 1)

    def log_known(self, seen: Observation) -> Tensor:
        return self.log_noisy(seen)

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        return self._moments(seen, with_variance=False).mean

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        return self._moments(seen, with_variance=True)

    def _moments(self, seen: Observation, with_variance: bool) -> Moments:
        """Exact conditioning, first on noisy copies of all pixels, then on the known ones, which overrule theirs.

        With S = W diag(spread) W^T given the copies, L = S^-1 and r the known pixels minus their mean, 0 where hidden:

            mean_h - L_hh^-1 (L r)_h,   variance diag L_hh^-1

        Args:
            with_variance: whether the variance takes known pixels into account, at the price of an inverse.
        """
        a, root = seen.alpha_bar, math.sqrt(seen.alpha_bar)
        spread, (down, across) = self.variances * (1 - a) / (a * self.variances + 1 - a), _axes(seen.x_t)
        mean = self._pixels(self._waves(seen.x_t.double(), root) * root * spread / (1 - a))
        variance = torch.einsum("ckl,hk,wl->chw", spread, down**2, across**2).flatten(1).repeat(len(mean), 1, 1)
        residual = torch.where(seen.known, self._coloured(seen.image.double(), 1.0) - mean, 0.0)
        pull = self._pixels(torch.einsum("nchw,hk,wl->nckl", residual, down, across) / spread).flatten(2)
        mean = mean.flatten(2)
        masks, which = seen.known.expand(len(mean), -1, -1, -1)[:, 0].flatten(1).unique(dim=0, return_inverse=True)
        for number, known in enumerate(masks):
            if not known.any():
                continue
            rows, hidden = (which == number).nonzero(), (~known).nonzero()[:, 0]
            factor = torch.linalg.cholesky(_between(1 / spread, ~known.view(spread.shape[1:])))
            white = torch.linalg.solve_triangular(factor, pull[rows, :, hidden].permute(2, 1, 0), upper=False)
            mean[rows, :, hidden] -= torch.linalg.solve_triangular(factor.mT, white, upper=True).permute(2, 1, 0)
            if with_variance:
                variance[rows, :, hidden] = torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2).mT
        mean = torch.einsum("ndp,cd->ncp", mean, self.colours) + self.centre[:, None]
        variance = torch.einsum("ndp,cd->ncp", variance, self.colours**2)
        return Moments(*(x.to(seen.x_t).view_as(seen.x_t) for x in (mean, variance))).given(seen)

    def _coloured(self, images: Tensor, scale: float) -> Tensor:
        """images - scale mean, in the colours U."""
        return torch.einsum("nchw,cd->ndhw", images - scale * self.centre[:, None, None], self.colours)

    def _waves(self, images: Tensor, scale: float = 1.0) -> Tensor:
        """Coefficients of images - scale mean, (N, C, H, W)."""
        return torch.einsum("nchw,hk,wl->nckl", self._coloured(images, scale), *_axes(images))

    def _pixels(self, waves: Tensor) -> Tensor:
        """Pictures of coefficients, (N, C, H, W), in the colours U and without the mean."""
        return torch.einsum("nckl,hk,wl->nchw", waves, *_axes(waves))


def _between(variances: Tensor, chosen: Tensor) -> Tensor:
    """W diag(variances) W^T between the chosen (H, W) of all pixels, (C, h, h)."""
    down, across = _axes(chosen)
    rows = torch.einsum("ik,jk,ckl->cijl", down, down, variances)
    columns = (across[:, None] * across).flatten(0, 1).mT  # (W, W W)
    table = (rows @ columns).unflatten(3, (len(across), len(across)))  # (C, H, H, W, W)
    i, j = chosen.nonzero(as_tuple=True)
    return table[:, i[:, None], i, j[:, None], j]


def _axes(pictures: Tensor) -> list[Tensor]:
    """The waves down and across pictures (..., H, W), where they are."""
    return [cosines(n).to(pictures.device) for n in pictures.shape[-2:]]


def cosines(n: int) -> Tensor:
    """(n, n) orthonormal: column k is cos(pi k (i + 1/2) / n) at i = 0 ... n - 1 (the DCT of type II)."""
    place, wave = torch.arange(n, dtype=torch.float64) + 0.5, torch.arange(n, dtype=torch.float64)
    found = torch.cos(math.pi * place[:, None] * wave / n)
    return found / found.norm(dim=0)
