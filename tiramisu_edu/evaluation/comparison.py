"""A steered sampler beside its base: the same images, masks and noise, so that only the guide differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..errors import TiramisuError
from ..inpainting import inpaint
from ..steering.evidence import Observation
from .masks import mask_batch
from .metrics import hidden_mse, label_agreement
from .significance import PairedInterval, paired_interval

if TYPE_CHECKING:
    from ..zoo import World


class Cases(NamedTuple):
    """Damaged images: a batch of (image, mask) pairs. identity numbers the image, to draw whole images in intervals."""

    images: Tensor  # (B, C, H, W)
    labels: Tensor  # (B,)
    known: Tensor  # (B, 1, H, W)
    identity: Tensor  # (B,) long

    def split(self, size: int) -> Iterator[Cases]:
        return (Cases(*parts) for parts in zip(*(t.split(size) for t in self)))


@dataclass
class Scores:
    """One method's numbers, case by case, and what they cost."""

    agreement: list[Tensor] = field(default_factory=list)
    mse: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    guide_seconds: float = 0.0

    def add(self, world: World, cases: Cases, images: Tensor) -> None:
        images = images.cpu()
        self.agreement.append(label_agreement(world.judge, images, cases.labels))
        self.mse.append(hidden_mse(images, cases.images, cases.known))

    def measure(self, name: str) -> Tensor:
        """(N,) all cases of `agreement` or `mse`."""
        return torch.cat(getattr(self, name))

    @property
    def guide_share(self) -> float:
        """Share of the sampling time spent in the guide."""
        return self.guide_seconds / self.seconds if self.seconds else 0.0


LOWER_IS_BETTER = {"agreement": False, "mse": True}


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
    world: World,
    cases: Cases,
    scores: Scores,
    *,
    sampler: str,
    guide: str,
    num_inference_steps: int,
    guided_fraction: float | None,
    eta: float,
    seed: int,
    device: torch.device,
    batch: int = 64,
) -> Tensor:
    """Complete all cases with one method, add to its scores, and return the completions (B, C, H, W)."""
    done, first = [], 0
    for part in cases.split(batch):
        result = inpaint(
            world,
            part.images.to(device),
            part.known.to(device),
            sampler=sampler,
            guide=guide,
            num_inference_steps=num_inference_steps,
            guided_fraction=guided_fraction,
            eta=eta,
            generator=generators_for(part, seed, first),
        )
        scores.add(world, part, result.images)
        scores.seconds += result.seconds
        scores.guide_seconds += result.guide_seconds
        done.append(result.images.cpu())
        first += len(part.images)
    return torch.cat(done)


def circuit_samples(world: World, cases: Cases, *, seed: int, device: torch.device) -> Tensor:
    """Exact samples of p_PC(hidden | known), one per case, (B, C, H, W)."""
    image, known = cases.images.to(device), cases.known.to(device)
    nothing_noisy = Observation(torch.zeros_like(image), 1e-9, image, known)
    generator = torch.Generator().manual_seed(seed)
    categories = world.circuit.sample(1, world.codebook.log_weights(nothing_noisy), generator=generator)[0]
    return torch.where(known, image, world.codebook.image(categories, image.shape)).cpu()


def difference(steered: Scores, base: Scores, measure: str, identity: Tensor, seed: int = 0) -> PairedInterval:
    """Mean of steered minus base with its paired 95 % bootstrap interval over images."""
    repeats = len(steered.measure(measure)) // len(identity)
    return paired_interval(
        steered.measure(measure),
        base.measure(measure),
        torch.Generator().manual_seed(seed),
        clusters=identity.repeat(repeats),
        lower_is_better=LOWER_IS_BETTER[measure],
    )
