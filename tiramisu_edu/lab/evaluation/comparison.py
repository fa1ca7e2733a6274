"""A method beside another: the same images, masks and noise, so that only the method differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...circuits.circuit import Circuit
from ...errors import TiramisuError
from ...inpainting import inpaint
from ...masks import mask_batch
from ...steering.beyond.difference import DifferenceGuide
from ...steering.evidence import Codebook, Observation
from ...world import World


class Cases(NamedTuple):
    """Damaged images: a batch of (image, mask) pairs. identity numbers the image, to draw whole images in intervals."""

    images: Tensor  # (B, C, H, W)
    labels: Tensor  # (B,) digits, or (B, F) states of the factors
    known: Tensor  # (B, 1, H, W)
    identity: Tensor  # (B,) long

    def split(self, size: int) -> Iterator[Cases]:
        return (Cases(*parts) for parts in zip(*(t.split(size) for t in self)))


class Completed(NamedTuple):
    """The completions of the cases by one method, and their cost.

    images: (B, C, H, W). seconds, guide_seconds: of all cases together, as in `InpaintResult`; the guide's part of
    them. forward, backward: network evaluations per image.
    """

    images: Tensor
    seconds: float = 0.0
    guide_seconds: float = 0.0
    forward: float = 0.0
    backward: float = 0.0

    @property
    def guide_share(self) -> float:
        """Share of the sampling time spent in the guide."""
        return self.guide_seconds / self.seconds if self.seconds else 0.0

    def guide_share_at(self, fraction: float, guided: float, steps: int) -> float:
        """The share with `fraction` of the steps guided, where `guided` were: every guided step costs the same."""
        seconds = self.guide_seconds * math.ceil(fraction * steps) / max(1, math.ceil(guided * steps))
        return seconds / (self.seconds - self.guide_seconds + seconds) if self.seconds else 0.0


def make_cases(world: World, masks: Sequence[str], num_images: int, *, split: str = "test", seed: int = 0) -> Cases:
    """`num_images` of a split, chosen by seed, each under each mask.

    Raises:
        TiramisuError: when the split has fewer images.
    """
    images, labels = world.images(split)
    if not 1 <= num_images <= len(images):
        raise TiramisuError(f"the {split} split has {len(images)} images: ask for 1 to {len(images)}, not {num_images}")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[:num_images]
    known = [mask_batch(name, num_images, *images.shape[-2:], generator=generator) for name in masks]
    chosen = chosen.repeat(len(masks))
    return Cases(images[chosen], labels[chosen], torch.cat(known), chosen)


def generators_for(cases: Cases, seed: int, first: int = 0) -> list[torch.Generator]:
    """One generator per case, by seed and position: a case's noise does not depend on the batch it is in."""
    return [torch.Generator().manual_seed(1_000_003 * seed + first + n) for n in range(len(cases.images))]


def run_method(
    world: World, cases: Cases, *, seed: int, device: torch.device, batch: int = 64, **options: Any
) -> Completed:
    """Complete all cases with one method; `options` are those of `inpaint`."""
    results, first = [], 0
    for part in cases.split(batch):
        task = world, part.images.to(device), part.known.to(device)
        results.append(inpaint(*task, generator=generators_for(part, seed, first), **options))
        first += len(part.images)
    images = torch.cat([result.images.cpu() for result in results])
    seconds, guide_seconds = (sum(getattr(r, name) for r in results) for name in ("seconds", "guide_seconds"))
    forward, backward = (sum(getattr(r, name) for r in results) / first for name in ("forward", "backward"))
    return Completed(images, seconds, guide_seconds, forward, backward)


def circuit_mean(circuit: Circuit, codebook: Codebook, images: Tensor, known: Tensor) -> Tensor:
    """E[x | known pixels] under a circuit, (N, C, H, W), of pictures under masks (N, 1, H, W) or one mask (1, H, W)."""
    guide, found = DifferenceGuide(circuit, codebook), []
    masks = known.expand(len(images), 1, -1, -1)
    for x, k in zip(images.to(circuit.device).split(64), masks.to(circuit.device).split(64)):
        seen = Observation(torch.zeros_like(x), 0.0, torch.where(k, x, 0.0), k)
        found.append(codebook.mean(guide.posterior(seen), seen).cpu())
    return torch.cat(found)


def circuit_samples(world: World, image: Tensor, known: Tensor, *, seed: int, circuit: Circuit | None = None) -> Tensor:
    """Exact samples of p_PC(hidden | known), each code as its mean: (B, C, H, W) on the CPU.

    Args:
        image: (B, C, H, W).
        known: bool (B, 1, H, W); False everywhere draws whole pictures.
        circuit: over the world's codebook; None: the world's own.
    """
    image, known = image.to(world.device), known.to(world.device)
    nothing_noisy = Observation(torch.zeros_like(image), 1e-9, image, known)
    generator = torch.Generator().manual_seed(seed)
    log_weights = world.codebook.log_weights(nothing_noisy)
    categories = (circuit or world.circuit).sample(1, log_weights, generator=generator)[0]
    return torch.where(known, image, world.codebook.image(categories, image.shape)).cpu()
