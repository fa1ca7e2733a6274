"""Gaussian patch leaves whose pixels are correlated: a diagonal and a few factors, in closed form all the same.

    p(x_j | z_j = v) = N(mu, diag s2 + F F^T),   x_j = mu + F f + s e   with f ~ N(0, I) of R numbers, e ~ N(0, I)

Given f the pixels of a patch are independent, so what is known or noisy of them is evidence on f:

    M = I + F^T W F,   h = F^T W (y - mu),   p(f | seen) = N(M^-1 h, M^-1)

with W the precision of what is seen of a pixel besides f: 1 / s2 of a known one, a / (a s2 + 1 - a) of a noisy one,
which is seen as y = x_t / sqrt(a).
By Woodbury's identity and the matrix determinant lemma

    log p(seen | v) = log of the diagonal Gaussian + (h^T M^-1 h - log |M|) / 2
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diffusion.noise import standard_normal
from ..files import loaded
from ..ranks import share, summed
from .evidence import Codebook, Moments, Observation
from .mixture import gaussian_geometric_mean
from .patches import KIND, VARIANCE_FLOOR, VERSION, PatchCodebook

ROUNDS = 8  # of factors and diagonal, each found given the other


@dataclass(frozen=True)
class LowRankCodebook(PatchCodebook):
    """V codes per patch position, each a Gaussian with R common factors beside its diagonal.

    Args:
        means, variances, patch, shape: see `PatchCodebook`.
        factors: F, (D, V, P, R).
    """

    factors: Tensor

    @classmethod
    def of(cls, book: PatchCodebook, rank: int) -> LowRankCodebook:
        """A diagonal codebook with R = `rank` factors of 0, for `maximise` to fill."""
        return cls(**vars(book), factors=torch.zeros(*book.means.shape, rank).to(book.means))

    @classmethod
    def one_gaussian(cls, images: Tensor, rank: int) -> LowRankCodebook:
        """One Gaussian of whole pictures (N, C, S, S): a patch as large as the picture, with one code."""
        C, S, _ = images.shape[1:]
        own = share(torch.arange(len(images))).split(256)
        start = PatchCodebook(torch.zeros(1, 1, C * S * S), torch.ones(1, 1, C * S * S), S, (C, S, S))
        start = start.to(images.device)
        parts = ((images[rows], images.new_ones(len(rows), 1, 1)) for rows in own)
        return cls.of(start, rank).maximise(parts, prior_weight=0.0)

    def log_noisy(self, seen: Observation) -> Tensor:
        """log p(noisy copies | v, known): with `log_known` the chain rule gives log p of all that is seen."""
        change = self._correlation(seen) - self._correlation(seen, noisy=False)
        return super().log_noisy(seen) + change.to(seen.x_t)

    def log_likelihoods(self, image: Tensor, region: Tensor) -> Tensor:
        seen = Observation(image, 0.0, image, region.expand_as(image))
        return super().log_likelihoods(image, region) + self._correlation(seen, noisy=False).to(image)

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        """E[x_0 | seen]: of a code mu + F E[f | seen], and for the rest of the pixel the gain of a diagonal leaf."""
        q, (gain, _) = marginals.to(seen.x_t), self._gain(seen)
        loadings = self._loadings(seen, gain).mT.flatten(1, 2)  # (D, V R, P)
        f = torch.empty(*q.shape, self.factors.shape[-1]).to(q)  # (B, D, V, R)
        for rows, factor, h in self._factors_of(seen):
            f[rows] = torch.cholesky_solve(h, factor).permute(3, 0, 1, 2).to(q)
        common = self._join((q[..., None] * f).flatten(2).transpose(0, 1) @ loadings)
        return super().mean(marginals, seen) + torch.where(seen.known, 0.0, common)

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        """E[x_0 | seen] and Var[x_0 | seen]; of a code the variance has the share of f beside that of the diagonal."""
        q, (gain, offset) = marginals.to(seen.x_t).transpose(0, 1), self._gain(seen)
        own, x_t, loadings = self._spread(seen), self._cut(seen.x_t), self._loadings(seen, gain)
        mean, square = torch.empty_like(x_t), torch.empty_like(x_t)  # (D, B, P)
        for rows, factor, h in self._factors_of(seen):
            f = torch.cholesky_solve(h, factor).mT.to(q)  # (D, V, n, R)
            spread = torch.linalg.solve_triangular(factor, loadings.mT.to(factor), upper=False).square().sum(2).to(q)
            of_code = (f @ loadings.mT).transpose(1, 2) + offset[:, None] + gain[:, None] * x_t[:, rows, None]
            mean[:, rows] = torch.einsum("dnv,dnvp->dnp", q[:, rows], of_code)
            square[:, rows] = torch.einsum("dnv,dnvp->dnp", q[:, rows], of_code**2) + q[:, rows] @ (own + spread)
        return Moments(self._join(mean), self._join((square - mean**2).clamp_min(0))).given(seen)

    def image(
        self, categories: Tensor, shape: torch.Size | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        values = super().image(categories, generator=generator)
        if generator is None:
            return values
        F = self.factors[torch.arange(len(self.means), device=categories.device), categories]  # (B, D, P, R)
        f = standard_normal(F.new_empty(*F.shape[:2], F.shape[-1], 1), generator)
        return values + self._join((F @ f)[..., 0].transpose(0, 1))

    def maximise(self, parts: Iterable[tuple[Tensor, Tensor]], *, prior_weight: float = 1.0) -> LowRankCodebook:
        """M-step of means and covariances, weighted by the posterior of the codes; F and s2 then by principal axes.

            C = sum_n q_n (x_n - mu) (x_n - mu)^T / sum_n q_n,   S = s C s (s: 1 / standard deviation)
            F = s^-1 U sqrt(lambda - 1) of the R largest eigenvalues of S,   s2 = diag(C - F F^T), and again

        `prior_weight` samples of the position's own covariance are added to each code's.
        """
        count, first = (torch.zeros_like(self.means, dtype=torch.float64) for _ in range(2))
        second = torch.zeros(*self.means.shape, self.means.shape[-1]).to(first)  # (D, V, P, P)
        for images, marginals in parts:
            points, weights = self._cut(images).double(), marginals.permute(1, 2, 0).double()  # (D, N, P), (D, V, N)
            count, first = count + weights.sum(-1, keepdim=True), first + weights @ points
            for total, x, q in zip(second, points, weights):
                total += (q[:, None] * x.T) @ x
        summed([count, first, second])
        means = torch.where(count > 1e-6, first / count.clamp_min(1e-6), self.means)
        found = []
        for n, s1, s2, m in zip(count[..., :1, None], first, second, means):
            mean = s1.sum(0) / n.sum()
            own = s2.sum(0) / n.sum() - mean[:, None] * mean
            cross = s1[:, :, None] * m[:, None, :]
            scatter = s2 - cross - cross.mT + n * m[:, :, None] * m[:, None, :]
            covariance = (scatter + prior_weight * own) / (n + prior_weight)
            found.append(principal_factors(covariance, self.factors.shape[-1]))
        factors, variances = (torch.stack(of_positions).to(self.means) for of_positions in zip(*found))
        return replace(self, means=means.to(self.means), variances=variances, factors=factors)

    def _loadings(self, seen: Observation, gain: Tensor) -> Tensor:
        """(D, V, P, R): how the posterior mean of a hidden pixel changes with f."""
        return self.factors.to(gain) * (1 - gain * math.sqrt(seen.alpha_bar))[..., None]

    def _correlation(self, seen: Observation, *, noisy: bool = True) -> Tensor:
        """What correlation adds to the log density of independent pixels, (B, D, V) float64."""
        found = torch.zeros(len(seen.x_t), *self.means.shape[:2], dtype=torch.float64, device=seen.x_t.device)
        for rows, factor, h in self._factors_of(seen, noisy=noisy):
            white = torch.linalg.solve_triangular(factor, h, upper=False)
            log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            found[rows] = (white.square().sum(2) / 2 - log_det[..., None]).permute(2, 0, 1)
        return found

    def _factors_of(self, seen: Observation, *, noisy: bool = True) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of the pictures of each mask: their rows, the Cholesky factor of M (D, V, R, R), and h (D, V, R, n)."""
        a = seen.alpha_bar if noisy else 0.0
        F, mu, s2 = self.factors.double(), self.means.double(), self.variances.double()
        of_known, of_noisy = 1 / s2, a / (a * s2 + 1 - a)  # W, (D, V, P)
        values = torch.where(seen.known, seen.image.double(), seen.x_t.double() / math.sqrt(a) if a else 0.0)
        masks, which = seen.known.expand_as(seen.x_t).unique(dim=0, return_inverse=True)
        for number, mask in enumerate(masks):
            if not (noisy or mask.any()):
                continue  # nothing is seen
            rows = (which == number).nonzero()[:, 0]
            W = torch.where(self._cut(mask[None]), of_known, of_noisy)
            weighted = W[..., None] * F
            M = weighted.mT @ F + torch.eye(F.shape[-1]).to(F)
            products = weighted.mT.flatten(1, 2) @ self._cut(values[rows]).mT  # (D, V R, n), F^T W y
            h = products.unflatten(1, M.shape[1:3]) - weighted.mT @ mu[..., None]
            yield rows, torch.linalg.cholesky(M), h


def principal_factors(covariance: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """F (V, P, rank) and s2 (V, P) with F F^T + diag s2 close to covariances (V, P, P) and equal on the diagonal."""
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    variances = diagonal.clamp_min(VARIANCE_FLOOR)
    for _ in range(ROUNDS):
        scale = variances.sqrt()[..., None]
        values, axes = torch.linalg.eigh(covariance / (scale * scale.mT))
        factors = scale * axes[..., -rank:] * (values[..., None, -rank:] - 1).clamp_min(0).sqrt()
        variances = (diagonal - factors.square().sum(-1)).clamp_min(VARIANCE_FLOOR)
    return factors, variances


@dataclass(frozen=True)
class PooledCodebook(LowRankCodebook):
    """Patches tied by a circuit and one Gaussian of whole pictures: the geometric mean of what both say of each pixel.

        p(x) proportional to p_patches(x | seen)^(1/2) p_whole(x | seen)^(1/2), each by its exact mean and variance

    A named approximation: both posteriors are exact, their mean is the posterior of neither. The circuit knows kinds of
    things and not how neighbouring patches go on, the Gaussian the reverse; what is certain to one of them counts more.

    Args:
        means, variances, patch, shape, factors: of the patches, see `LowRankCodebook`. Evidence and draws are theirs.
        whole: one Gaussian, see `LowRankCodebook.one_gaussian`.
    """

    whole: PatchCodebook

    mean = Codebook.mean  # that of `moments`; one of patches alone has a shorter way

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        whole = self.whole.moments(marginals.new_ones(len(marginals), 1, 1), seen)
        return gaussian_geometric_mean(super().moments(marginals, seen), whole, 0.5).given(seen)

    def tensors(self) -> dict[str, Tensor]:
        whole = {f"whole.{name}": tensor for name, tensor in self.whole.tensors().items()}
        return super().tensors() | whole


def load_codebook(path: str | Path) -> PatchCodebook:
    """The codebook that was saved: with diagonal leaves, with factors, or pooled with one Gaussian of whole pictures.

    Raises:
        FileError: when the file is no such codebook.
    """
    with loaded(path, kind=KIND, version=VERSION) as (tensors, metadata):
        channels, height, width = metadata["shape"]
        return _codebook(tensors, metadata["patch"], (channels, height, width))


def _codebook(tensors: dict[str, Tensor], patch: int, shape: tuple[int, int, int]) -> PatchCodebook:
    """The kind of codebook that has these tensors; a name "whole.means" is of the Gaussian of whole pictures."""
    own: dict[str, Any] = {name: tensor.float() for name, tensor in tensors.items() if "." not in name}
    own["variances"] = own["variances"].clamp_min(VARIANCE_FLOOR)
    if whole := {name.removeprefix("whole."): tensor for name, tensor in tensors.items() if "." in name}:
        return PooledCodebook(patch=patch, shape=shape, whole=_codebook(whole, shape[1], shape), **own)
    return (LowRankCodebook if "factors" in own else PatchCodebook)(patch=patch, shape=shape, **own)
