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
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import check_images
from ..circuits import structures
from ..circuits.circuit import Circuit
from .evidence import Codebook, Moments, Observation
from .patches import VARIANCE_FLOOR, log_known_copies


class _Part(NamedTuple):
    """The pictures of one mask, of P pixels, h of them hidden, in the colours U.

    rows: which. mean: given noisy copies and known pixels, (n, C, P). log_p: log p(known | noisy copies), (n,).
    alone: variance given the noisy copies alone, (C, P). hidden: (P,). factor: Cholesky's of the precision of those
    pixels, (C, h, h); None where nothing is known.
    """

    rows: Tensor
    mean: Tensor
    log_p: Tensor
    alone: Tensor
    hidden: Tensor
    factor: Tensor | None

    def variance(self) -> Tensor:
        """Of the hidden pixels given all that is seen, at their places in (C, P)."""
        if self.factor is None:
            return self.alone
        found = torch.zeros_like(self.alone)
        found[:, self.hidden] = torch.cholesky_inverse(self.factor).diagonal(dim1=1, dim2=2)
        return found


@dataclass(frozen=True)
class GaussianField(Codebook):
    """A codebook with one variable and one code: all that it knows is in its mean and variance.

    Noisy copies are weighed wave by wave, then known pixels by the precision of the others: h^3 for h hidden ones.

    Args:
        centre: mean colour, (C,).
        colours: U, (C, C), orthonormal columns: colours that vary independently.
        variances: lambda, (C, H, W), positive.
    """

    centre: Tensor
    colours: Tensor
    variances: Tensor
    kept: dict[bool, tuple[Any, Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        """log p(noisy copies of the hidden pixels | known), (B, 1, 1)."""
        a, waves = seen.alpha_bar, self._waves(seen.x_t.double(), math.sqrt(seen.alpha_bar))
        spread = a * self.variances + 1 - a
        log_p = -(waves.square() / spread + (2 * math.pi * spread).log()).flatten(1).sum(1) / 2
        for part in self._parts(seen):
            log_p[part.rows] += part.log_p
        log_p -= log_known_copies(seen._replace(x_t=seen.x_t.double())) + self.log_known(seen)[:, 0, 0]
        return log_p[:, None, None].to(seen.x_t)

    def log_known(self, seen: Observation) -> Tensor:
        log_p = self.centre.new_zeros(len(seen.image), 1, 1)
        for part in self._parts(seen._replace(alpha_bar=0.0)):
            log_p[part.rows, 0, 0] = part.log_p
        return log_p

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        mean = torch.empty_like(seen.x_t).flatten(2)
        for part in self._parts(seen):
            mean[part.rows] = (torch.einsum("ndp,cd->ncp", part.mean, self.colours) + self.centre[:, None]).to(mean)
        return torch.where(seen.known, seen.image, mean.view_as(seen.x_t))

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        variance = torch.empty_like(seen.x_t).flatten(2)
        for part in self._parts(seen):
            variance[part.rows] = torch.einsum("dp,cd->cp", part.variance(), self.colours**2).to(variance)
        return Moments(self.mean(marginals, seen), variance.view_as(seen.x_t)).given(seen)

    def _parts(self, seen: Observation) -> Iterator[_Part]:
        """Exact conditioning, first on noisy copies of all pixels, then on the known ones, which overrule theirs.

        With S = W diag(spread) W^T given the copies, L = S^-1 and r the known pixels minus their mean, 0 where hidden:

            mean_h - L_hh^-1 (L r)_h,   log p = -(r^T L r - (L r)_h^T L_hh^-1 (L r)_h + log det S L_hh + k log 2 pi) / 2
        """
        a, root = seen.alpha_bar, math.sqrt(seen.alpha_bar)
        spread, (down, across) = self._spread(a), _axes(seen.x_t)
        mean = self._pixels(self._waves(seen.x_t.double(), root) * root * spread / (1 - a))
        alone = torch.einsum("ckl,hk,wl->chw", spread, down**2, across**2).flatten(1)
        residual = torch.where(seen.known, self._coloured(seen.image.double(), 1.0) - mean, 0.0)
        waves = torch.einsum("nchw,hk,wl->nckl", residual, down, across)
        pull, square = self._pixels(waves / spread).flatten(2), (waves.square() / spread).flatten(1).sum(1)
        mean, log_det = mean.flatten(2), spread.log().sum()
        masks, which = seen.known.expand(len(mean), -1, -1, -1)[:, 0].flatten(1).unique(dim=0, return_inverse=True)
        for number, known in enumerate(masks):
            rows, hidden = (which == number).nonzero()[:, 0], ~known
            if not known.any():
                yield _Part(rows, mean[rows], torch.zeros(len(rows)).to(mean), alone, hidden, None)
                continue
            factor = self._factor(a, known)
            white = torch.linalg.solve_triangular(factor, pull[rows][..., hidden].permute(1, 2, 0), upper=False)
            given = mean[rows]
            given[..., hidden] -= torch.linalg.solve_triangular(factor.mT, white, upper=True).permute(2, 0, 1)
            log_dets = log_det + 2 * factor.diagonal(dim1=1, dim2=2).log().sum()
            constant = log_dets + len(factor) * int(known.sum()) * math.log(2 * math.pi)
            yield _Part(rows, given, -(square[rows] - white.square().sum((0, 1)) + constant) / 2, alone, hidden, factor)

    def _spread(self, alpha_bar: float) -> Tensor:
        """Variances of the waves given noisy copies, (C, H, W)."""
        return self.variances * (1 - alpha_bar) / (alpha_bar * self.variances + 1 - alpha_bar)

    def _factor(self, alpha_bar: float, known: Tensor) -> Tensor:
        """Cholesky's of the precision of the hidden pixels, (C, h, h). Two are kept: of the last step, and at 0."""
        place, key = alpha_bar == 0, (alpha_bar, known.cpu().numpy().tobytes())
        found = self.kept.get(place)
        if found is None or found[0] != key:
            self.kept.pop(place, None)
            precision = _between(1 / self._spread(alpha_bar), known.view(self.variances.shape[1:]).logical_not())
            found = self.kept[place] = key, torch.linalg.cholesky(precision)
        return found[1]

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
