"""The recipe of a tokenizer, 32 x 32 pictures as 8 x 8 codes: an autoencoder whose bottleneck is rounded to a codebook.

Rounding has no gradient. Three devices make training work: the gradient of the decoder's input is handed to the
encoder as if nothing had been rounded (straight through); the codebook follows the features that are rounded to it
as a moving average; and a code that nothing is rounded to is moved to where features are.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ...checkpoint import Checkpoint
from ...circuits.clustering import kmeans, nearest_centre
from ...errors import ImageError
from ...ranks import gathered, share
from ...tokenizer import PATCH, Tokenizer
from ..memory import PROGRAM
from ..worlds.stored import Pictures, pictures_digest
from .training import Clock, Job, Source, Training, adamw, own_rows, seeded

HELD_OUT = 2048  # pictures on which a trained tokenizer is measured


@dataclass(frozen=True)
class TokenizerSettings:
    """How to train.

    Attributes:
        num_codes, code_size, width: of the `Tokenizer`.
        images: the first so many of the training split.
        steps: optimiser steps.
        unquantised_steps: of these, the first ones train a plain autoencoder; k-means then makes the codebook.
        batch_size: images per step, drawn with replacement.
        learning_rate: highest rate of AdamW; half a cosine down to 0.
        commitment: weight of the pull of the features to their codes.
        average_decay: of the codebook's moving averages.
        revive_below: a code that gets fewer patches per batch, on average, is moved to a patch of the batch.
        settle: share of the steps at the end in which no code is moved.
        seed: of everything random.
        minutes: after which training ends, the rate having fallen in time; None for no limit.
    """

    num_codes: int = 256
    code_size: int = 8
    width: int = 96
    images: int = 16_384
    steps: int = 6000
    unquantised_steps: int = 300
    batch_size: int = 32
    learning_rate: float = 6e-3
    commitment: float = 0.25
    average_decay: float = 0.95
    revive_below: float = 0.5
    settle: float = 0.3
    seed: int = 0
    minutes: float | None = None


def train_tokenizer(
    images: Pictures, settings: TokenizerSettings, *, device: str = "cpu", checkpoint: str | Path | None = None
) -> Tokenizer:
    """Train a tokenizer on images.

        loss = mean |decoder(h + sg(e_z - h)) - image|^2 + commitment * mean |h - sg(e_z)|^2    (sg: no gradient)

    Args:
        images: (M, C, H, H) in [-1, 1], sides multiples of 4.
        settings: see `TokenizerSettings`.
        device: where to train.
        checkpoint: file to go on from where it exists.

    Returns: the tokenizer on the CPU, in evaluation mode, its `spread` measured on training images.
    Raises:
        ImageError: where the images have too few patches to make the codebook from.
    Source: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017, with the codebook of its
        appendix A.1; dead codes revived as in Dhariwal et al., Jukebox, 2020.
    """
    s, generator = settings, torch.Generator().manual_seed(settings.seed)
    with seeded(s.seed):
        sizes = {"num_codes": s.num_codes, "code_size": s.code_size, "width": s.width}
        tokenizer = Tokenizer(**sizes, channels=images.shape[1]).to(device)
    codebook = Codebook(tokenizer, s, generator)
    clock, own = Clock(s.steps, s.minutes), own_rows(s.batch_size)
    rate = adamw(tokenizer, lambda step: s.learning_rate * (1 + math.cos(math.pi * clock.at(step) / s.steps)) / 2)

    def loss(step: int) -> Tensor:
        if step == s.unquantised_steps:
            codebook.start(_some_features(tokenizer, images, generator))
        batch = images[torch.randint(len(images), (s.batch_size,), generator=generator)[own]].to(device)
        features = tokenizer.embed(batch)
        rounded = features if step < s.unquantised_steps else codebook.round(features, clock.at(step))
        straight_through = features + (rounded - features).detach()
        reconstruction = mse_loss(tokenizer.generate(straight_through), batch)
        return (reconstruction + s.commitment * mse_loss(features, rounded.detach())) * (len(own) / s.batch_size)

    request = {"settings": asdict(s), "images": pictures_digest(images)}
    training = Training(tokenizer, rate, generator, clock, {"codebook": codebook})
    training.run("tokenizer", loss, Checkpoint(checkpoint, request))
    _measure_spread(tokenizer, images[:HELD_OUT].to(device))
    return tokenizer.eval().requires_grad_(False).cpu()


class Codebook:
    """The codes as moving averages: e_c = (sum of the features rounded to c) / (their number)."""

    def __init__(self, tokenizer: Tokenizer, settings: TokenizerSettings, generator: torch.Generator) -> None:
        self.tokenizer, self.settings, self.generator = tokenizer, settings, generator
        self.count = torch.zeros(settings.num_codes, device=tokenizer.codebook.device)
        self.total = torch.zeros_like(tokenizer.codebook)

    def start(self, features: Tensor) -> None:
        """K-means of features (P, D)."""
        if len(features) < self.settings.num_codes:
            raise ImageError(f"{len(features)} patches cannot make {self.settings.num_codes} codes: use more images")
        centres, nearest = kmeans(features[None], self.settings.num_codes, generator=self.generator)
        self.tokenizer.codebook.copy_(centres[0])
        self.count = torch.bincount(nearest[0], minlength=self.settings.num_codes).float()
        self.total = centres[0] * self.count[:, None]

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": self.count, "total": self.total}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        device = self.tokenizer.codebook.device
        self.count, self.total = state["count"].to(device), state["total"].to(device)

    def round(self, features: Tensor, step: int) -> Tensor:
        """The codes nearest to features (N, n, D), in the same shape; the codebook then follows the features.

        The features are those of this process's rows of the batch; the codebook follows those of all processes.
        """
        flat = gathered(features.detach(), self.settings.batch_size).flatten(0, 1)
        nearest, _ = nearest_centre(flat, self.tokenizer.codebook)
        rounded = share(self.tokenizer.codebook[nearest].unflatten(0, (self.settings.batch_size, -1)))
        self._follow(flat, nearest)
        if step < (1 - self.settings.settle) * self.settings.steps:
            self._revive(flat)
        return rounded

    def _follow(self, features: Tensor, nearest: Tensor) -> None:
        count = torch.bincount(nearest, minlength=len(self.count)).float()
        total = torch.zeros_like(self.total).index_add_(0, nearest, features)
        self.count.lerp_(count, 1 - self.settings.average_decay)
        self.total.lerp_(total, 1 - self.settings.average_decay)
        alive = self.count > 1e-3  # the average of nothing stays where it was
        self.tokenizer.codebook[alive] = self.total[alive] / self.count[alive, None]

    def _revive(self, features: Tensor) -> None:
        dead = (self.count < self.settings.revive_below).nonzero()[:, 0]
        if len(dead) == 0:
            return
        chosen = features[torch.randint(len(features), (len(dead),), generator=self.generator)]
        fresh = len(features) / len(self.count)  # the count of an average code, so that it is not moved again at once
        self.tokenizer.codebook[dead] = chosen
        self.count[dead] = fresh
        self.total[dead] = chosen * fresh


@torch.no_grad()
def _some_features(tokenizer: Tokenizer, images: Pictures, generator: torch.Generator) -> Tensor:
    """8192 features (or all there are) of patches chosen at random, (P, D)."""
    chosen = images[torch.randperm(len(images), generator=generator)[:1024]]
    features = tokenizer.embed(chosen.to(tokenizer.codebook.device)).flatten(0, 1)
    return features[torch.randperm(len(features), generator=generator)[:8192]]


@torch.no_grad()
def _measure_spread(tokenizer: Tokenizer, images: Tensor) -> None:
    """Root mean squared distance of features to their codes, per number of a code."""
    features = tokenizer.embed(images)
    tokenizer.spread.copy_((features - tokenizer.codebook[tokenizer.encode(images)]).square().mean().sqrt())


def tokenizer_memory(settings: TokenizerSettings, count: int, size: int) -> float:
    """About how many bytes `train_tokenizer` takes for `count` pictures of size x size, as measured.

    Steps need activations and gradients; the measures at the end encode `HELD_OUT` pictures at once.
    """
    s, places = settings, (size // PATCH) ** 2
    of_steps = s.batch_size * places * (40 * s.width + 3 * s.num_codes)
    of_measures = min(HELD_OUT, count) * (places * (4 * s.width + s.num_codes) + 2 * 3 * size**2)
    return PROGRAM + 4 * (of_steps + of_measures)


def train_world_tokenizer(job: Job, settings: TokenizerSettings) -> dict[str, float]:
    """Train the tokenizer of a world on its training split, and save it.

    Returns: `tokenizer_report` of the tokenizer as saved; it is part of its `facts` too.
    """
    settings = replace(settings, seed=job.seed)
    images = job.source.images("train", settings.images)[0]
    tokenizer = train_tokenizer(images, settings, device=job.device, checkpoint=job.checkpoint)
    report = tokenizer_report(tokenizer.half().float(), job.source, min(settings.images, HELD_OUT))
    tokenizer.save(job.path, {"settings": asdict(settings), "images": len(images), **report})
    return report


def tokenizer_report(tokenizer: Tokenizer, source: Source, num_validation: int) -> dict[str, float]:
    """What a tokenizer is worth on the first `num_validation` validation images: "psnr" of the decoded codes in
    decibels, "usage", the share of the codes that occur."""
    images = source.images("validation", num_validation)[0][:]
    return {"psnr": psnr(tokenizer, images), "usage": usage(tokenizer, images)}


def usage(tokenizer: Tokenizer, images: Tensor) -> float:
    """Share of the V codes that occur in these images."""
    return len(tokenizer.encode(images).unique()) / tokenizer.num_codes


@torch.no_grad()
def psnr(tokenizer: Tokenizer, images: Tensor) -> float:
    """Peak signal-to-noise ratio of decode(encode(images)), all pixels together, in decibels (range 2)."""
    parts = images.split(tokenizer.batch)
    squares = [(tokenizer.decode(tokenizer.encode(part)) - part).square().double().sum() for part in parts]
    return float(10 * torch.log10(4 * images.numel() / torch.stack(squares).sum()))
