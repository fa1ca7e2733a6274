"""Gaussian patch leaves: a circuit over patch codes that is exact about continuous pixels, without an autoencoder.

An image is cut into D patches of P numbers. With z_j the code of patch j and p_PC(z) the circuit,

    p(x) = sum_z p_PC(z) prod_j N(x_j; mu[j, z_j], diag s2[j, z_j])

so a noisy or known pixel is soft evidence on its patch's code, and given the code every pixel's posterior is Gaussian
in closed form. Partly known patches need nothing special.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..checks import check_images, instance, is_generator, positive_integer, positive_integers
from ..circuits.clustering import kmeans
from ..diffusion.noise import standard_normal
from ..errors import ImageError
from ..files import save_safetensors
from ..ranks import share, summed
from .evidence import Codebook, Moments, Observation

KIND, VERSION = "patch codebook", 1
_Own = TypeVar("_Own", bound="PatchCodebook")
VARIANCE_FLOOR = 1e-5  # a pixel that never changes would otherwise divide by zero


@dataclass(frozen=True)
class PatchCodebook(Codebook):
    """V codes per patch position, each a Gaussian with diagonal covariance.

        log w_j(v) = sum_hidden log N(x_t; sqrt(a) mu, a s2 + 1 - a) + sum_known log N(x; mu, s2)

    Args:
        means: mu, (D, V, P) in image units; P = channels * side * side, channels first.
        variances: s2, (D, V, P), positive.
        patch: the side of a patch in pixels.
        shape: (C, H, W) of the images.
    """

    means: Tensor
    variances: Tensor
    patch: int
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        C, H, W = (positive_integer("shape", size) for size in self.shape)
        patch, found = positive_integer("patch", self.patch), tuple(self.means.shape)
        D, P = (H // patch) * (W // patch), C * patch**2
        fits = len(found) == 3 and found[::2] == (D, P) and found == tuple(self.variances.shape)
        if H % patch or W % patch or not fits:
            raise ImageError(
                f"means and variances must be ({D}, V, {P}) for {patch} x {patch} patches of {C} x {H} x {W}"
            )
        if not bool((self.means.isfinite() & self.variances.isfinite() & (self.variances > 0)).all()):
            raise ImageError("means must be finite numbers, variances also positive")

    @property
    def num_codes(self) -> int:
        return self.means.shape[1]

    @classmethod
    def fit(cls, images: Tensor, *, patch: int, num_codes: int, generator: torch.Generator) -> PatchCodebook:
        """K-means per patch position; a code's variance is that of its patches, pulled a little to the position's own.

        Args:
            images: (N, C, H, W) in [-1, 1], sides divisible by `patch`.
            num_codes: V.
            generator: of k-means.

        Raises:
            ImageError: when the patches do not tile the images.
        """
        check_images("images", images)
        positive_integers(patch=patch, num_codes=num_codes)
        is_generator("generator", generator)
        shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
        points = to_patches(images, patch).transpose(0, 1)  # (D, N, P)
        centres, nearest = kmeans(points, num_codes, generator=generator)
        responsibility = torch.nn.functional.one_hot(nearest, num_codes).to(images)
        start, own = cls(centres, torch.ones_like(centres), patch, shape), share(torch.arange(len(images)))
        return start.maximise([(images[own], responsibility.permute(1, 0, 2)[own])])

    def maximise(self, parts: Iterable[tuple[Tensor, Tensor]], *, prior_weight: float = 1.0) -> PatchCodebook:
        """M-step: means and variances of the patches, weighted by the posterior of their codes.

        Args:
            parts: images (N, C, H, W) with q (N, D, V), p(z_j = v | image), batch by batch; of this process's share.
            prior_weight: samples' worth of the position's own variance added to each code's.
        """
        count, first, second = (torch.zeros_like(self.means, dtype=torch.float64) for _ in range(3))
        for images, marginals in parts:
            points = self._cut(images)
            q = marginals.permute(1, 2, 0).to(points)  # (D, V, N)
            count, first, second = count + q.sum(-1, keepdim=True), first + q @ points, second + q @ points**2
        summed([count, first, second])
        means = torch.where(count > 1e-6, first / count.clamp_min(1e-6), self.means)
        square = second - 2 * means * first + means**2 * count
        total = count.sum(1, keepdim=True)  # all codes together: the position's own variance
        own = second.sum(1, keepdim=True) / total - (first.sum(1, keepdim=True) / total) ** 2
        variances = (square.clamp_min(0) + prior_weight * own.clamp_min(0)) / (count + prior_weight)
        means, variances = means.to(self.means), variances.to(self.means)
        return PatchCodebook(means, variances.clamp_min(VARIANCE_FLOOR), self.patch, self.shape)

    def log_noisy(self, seen: Observation) -> Tensor:
        a, hidden = seen.alpha_bar, ~seen.known.expand_as(seen.x_t)
        means, variances = self.means.to(seen.x_t), self.variances.to(seen.x_t)
        return self._log_density(seen.x_t, hidden, math.sqrt(a) * means, a * variances + (1 - a))

    def log_known(self, seen: Observation) -> Tensor:
        return self.log_likelihoods(seen.visible, seen.known)

    def log_scale(self, seen: Observation) -> Tensor:
        """(B,): log p(x_t, known) - log Z."""
        return log_known_copies(seen)

    def log_likelihoods(self, image: Tensor, region: Tensor) -> Tensor:
        """log p(the patch's pixels in a region | v), 0 where it has none: (B, D, V).

        Args:
            image: (B, C, H, W).
            region: bool, broadcastable.
        """
        return self._log_density(image, region.expand_as(image), self.means.to(image), self.variances.to(image))

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        """E[x_0 | seen], known pixels exactly as given.

        Per code the posterior of a hidden pixel has gain k = sqrt(a) s2 / (a s2 + 1 - a) and mean
        mu + k (x_t - sqrt(a) mu); the codes are mixed by q.
        """
        gain, offset = self._gain(seen)
        q, x_t = marginals.to(seen.x_t).transpose(0, 1), self._cut(seen.x_t)
        return torch.where(seen.known, seen.image, self._join(q @ offset + (q @ gain) * x_t))

    def moments(self, marginals: Tensor, seen: Observation) -> Moments:
        """E[x_0 | seen] and Var[x_0 | seen], 0 for known pixels.

        E[x_0^2] = sum_v q (spread + (offset + gain x_t)^2) is a polynomial in x_t with coefficients summed over v.
        """
        gain, offset = self._gain(seen)
        q, x_t = marginals.to(seen.x_t).transpose(0, 1), self._cut(seen.x_t)
        mean = q @ offset + (q @ gain) * x_t
        square = q @ (self._spread(seen) + offset**2) + 2 * x_t * (q @ (offset * gain)) + x_t**2 * (q @ gain**2)
        return Moments(self._join(mean), self._join((square - mean**2).clamp_min(0))).given(seen)

    def categories(self, image: Tensor) -> Tensor:
        """The likeliest code of each patch of clean images, (B, D) long."""
        return self.log_likelihoods(image, torch.ones_like(image, dtype=torch.bool)).argmax(-1)

    def image(
        self, categories: Tensor, shape: torch.Size | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images (B, C, H, W) of codes (B, D): the means, or with a generator draws from the Gaussians.

        `shape` is not used; `PixelCodebook.image` has it too.
        """
        position = torch.arange(len(self.means), device=categories.device)
        values = self.means[position, categories]
        if generator is not None:
            values = values + standard_normal(values, generator) * self.variances[position, categories].sqrt()
        return from_patches(values, self.patch, self.shape)

    def tensors(self) -> dict[str, Tensor]:
        """Field -> the tensor that a file keeps."""
        return {name: x for name, x in vars(self).items() if isinstance(x, Tensor)}

    def to(self: _Own, device: torch.device) -> _Own:
        moved: dict[str, Any] = {name: x.to(device) for name, x in vars(self).items() if hasattr(x, "to")}
        return replace(self, **moved)

    def save(self, path: str | Path, *, half: bool = False, **facts: object) -> None:
        """Write the codebook to one safetensors file, atomically; `steering.low_rank.load_codebook` reads it.

        Args:
            half: in 16-bit floats.
            facts: JSON-able notes about the training.
        """
        metadata = {"patch": self.patch, "shape": list(self.shape), "facts": facts}
        tensors = {name: tensor.half() if half else tensor for name, tensor in self.tensors().items()}
        save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=metadata)

    def _gain(self, seen: Observation) -> tuple[Tensor, Tensor]:
        """gain and offset, (D, V, P): the posterior mean of a pixel under a code is offset + gain x_t."""
        root, means, variances = math.sqrt(seen.alpha_bar), self.means.to(seen.x_t), self.variances.to(seen.x_t)
        gain = root * variances / (root**2 * variances + (1 - seen.alpha_bar))
        return gain, means * (1 - gain * root)

    def _spread(self, seen: Observation) -> Tensor:
        """(D, V, P): the posterior variance of a hidden pixel under a code, s2 (1 - a) / (a s2 + 1 - a)."""
        noise, variances = 1 - seen.alpha_bar, self.variances.to(seen.x_t)
        return variances * noise / (seen.alpha_bar * variances + noise)

    def _log_density(self, images: Tensor, used: Tensor, means: Tensor, variances: Tensor) -> Tensor:
        """sum over the used pixels of log N(x; mu, s2), (B, D, V), with mu and s2 (D, V, P).

        A Gaussian log-density is linear in x^2, x and 1, so this is three matrix products.
        """
        weight = self._cut(used).to(images)
        x = self._cut(images) * weight
        precision = 1 / variances
        constant = (variances * (2 * math.pi)).log() + means**2 * precision
        linear = x @ (means * precision).mT - 0.5 * (x**2) @ precision.mT
        return (linear - 0.5 * weight @ constant.mT).transpose(0, 1)

    def _cut(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (D, B, P)."""
        instance("images", images, Tensor)
        if tuple(images.shape[1:]) != tuple(self.shape):
            raise ImageError(
                f"images must have the codebook's shape (B, C, H, W) = (B, *{self.shape}), not {tuple(images.shape)}"
            )
        return to_patches(images, self.patch).transpose(0, 1)

    def _join(self, patches: Tensor) -> Tensor:
        """(D, B, P) -> (B, C, H, W)."""
        return from_patches(patches.transpose(0, 1), self.patch, self.shape)


def log_known_copies(seen: Observation) -> Tensor:
    """(B,): the log density of the known pixels' noisy copies."""
    noise = 1 - seen.alpha_bar
    residual = seen.x_t - math.sqrt(seen.alpha_bar) * seen.image
    log_p = -(residual**2 / noise + math.log(2 * math.pi * noise)) / 2
    return torch.where(seen.known, log_p, 0.0).flatten(1).sum(1)


def to_patches(images: Tensor, patch: int) -> Tensor:
    """(N, C, H, W) -> (N, D, P), patches in reading order, P = channels x patch x patch.

    Raises:
        ImageError: when the sides are not multiples of `patch`.
    """
    N, C, H, W = images.shape
    if H % patch or W % patch:
        raise ImageError(f"{H} x {W} images cannot be cut into {patch} x {patch} patches")
    cut = images.reshape(N, C, H // patch, patch, W // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(N, (H // patch) * (W // patch), C * patch * patch)


def from_patches(patches: Tensor, patch: int, shape: tuple[int, int, int]) -> Tensor:
    """(N, D, P) -> (N, C, H, W), the inverse of `to_patches`."""
    C, H, W = shape
    cut = patches.reshape(len(patches), H // patch, W // patch, C, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), C, H, W)
