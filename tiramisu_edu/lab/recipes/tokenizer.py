"""The recipe of a tokenizer, 32 x 32 pictures as 8 x 8 codes: an autoencoder whose bottleneck is rounded to a codebook.

Rounding has no gradient. Three devices make training work: the gradient of the decoder's input is handed to the
encoder as if nothing had been rounded (straight through); the codebook follows the features that are rounded to it
as a moving average; and a code that nothing is rounded to is moved to where features are.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ...checkpoint import Checkpoint
from ...circuits.clustering import kmeans, nearest_centre
from ...errors import ImageError
from ...files import tensor_digest
from ...tokenizer import Tokenizer
from .training import Pictures, Training


@dataclass(frozen=True)
class TokenizerSettings:
    """How to train.

    Attributes:
        num_codes, code_size, width: of the `Tokenizer`.
        steps: optimiser steps.
        unquantised_steps: of these, the first ones train a plain autoencoder; k-means then makes the codebook.
        batch_size: images per step, drawn with replacement.
        learning_rate: highest rate of AdamW; half a cosine down to 0.
        commitment: weight of the pull of the features to their codes.
        average_decay: of the codebook's moving averages.
        revive_below: a code that gets fewer patches per batch, on average, is moved to a patch of the batch.
        settle: share of the steps at the end in which no code is moved.
        seed: of everything random.
    """

    num_codes: int = 256
    code_size: int = 8
    width: int = 96
    steps: int = 6000
    unquantised_steps: int = 300
    batch_size: int = 32
    learning_rate: float = 6e-3
    commitment: float = 0.25
    average_decay: float = 0.95
    revive_below: float = 0.5
    settle: float = 0.3
    seed: int = 0


def train_tokenizer(images: Tensor, settings: TokenizerSettings, *, checkpoint: str | Path | None = None) -> Tokenizer:
    """Train a tokenizer on images.

        loss = mean |decoder(h + sg(e_z - h)) - image|^2 + commitment * mean |h - sg(e_z)|^2    (sg: no gradient)

    Args:
        images: (M, C, H, H) in [-1, 1], sides multiples of 4.
        settings: see `TokenizerSettings`.
        checkpoint: file to go on from where it exists.

    Returns: the tokenizer in evaluation mode, its `spread` measured on training images.
    Raises:
        ImageError: where the images have too few patches to make the codebook from.
    Source: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017, with the codebook of its
        appendix A.1; dead codes revived as in Dhariwal et al., Jukebox, 2020.
    """
    s, generator = settings, torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(s.seed)
        sizes = {"num_codes": s.num_codes, "code_size": s.code_size, "width": s.width}
        tokenizer = Tokenizer(**sizes, channels=images.shape[1])
    codebook = Codebook(tokenizer, s, generator)
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=1.0)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: s.learning_rate * (1 + math.cos(math.pi * step / s.steps)) / 2
    )

    def loss(step: int) -> Tensor:
        if step == s.unquantised_steps:
            codebook.start(_some_features(tokenizer, images, generator))
        batch = images[torch.randint(len(images), (s.batch_size,), generator=generator)]
        features = tokenizer.embed(batch)
        rounded = features if step < s.unquantised_steps else codebook.round(features, step)
        straight_through = features + (rounded - features).detach()
        reconstruction = mse_loss(tokenizer.generate(straight_through), batch)
        return reconstruction + s.commitment * mse_loss(features, rounded.detach())

    request = {"settings": asdict(s), "images": tensor_digest({"images": images})}
    training = Training(tokenizer, optimiser, rate, generator, {"codebook": codebook})
    training.run("tokenizer", s.steps, loss, Checkpoint(checkpoint, request))
    _measure_spread(tokenizer, images[:2048])
    return tokenizer.eval().requires_grad_(False)


class Codebook:
    """The codes as moving averages: e_c = (sum of the features rounded to c) / (their number)."""

    def __init__(self, tokenizer: Tokenizer, settings: TokenizerSettings, generator: torch.Generator) -> None:
        self.tokenizer, self.settings, self.generator = tokenizer, settings, generator
        self.count = torch.zeros(settings.num_codes)
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
        self.count, self.total = state["count"], state["total"]

    def round(self, features: Tensor, step: int) -> Tensor:
        """The codes nearest to features (N, n, D), in the same shape; the codebook then follows the features."""
        flat = features.detach().flatten(0, 1)
        nearest, _ = nearest_centre(flat, self.tokenizer.codebook)
        rounded = self.tokenizer.codebook[nearest].view_as(features)
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
        fresh = len(features) / len(self.count)  # the count of an average code: time to prove itself
        self.tokenizer.codebook[dead] = chosen
        self.count[dead] = fresh
        self.total[dead] = chosen * fresh


@torch.no_grad()
def _some_features(tokenizer: Tokenizer, images: Tensor, generator: torch.Generator, count: int = 8192) -> Tensor:
    """`count` features (or all there are) of patches chosen at random, (P, D)."""
    chosen = images[torch.randperm(len(images), generator=generator)[:1024]]
    features = tokenizer.embed(chosen).flatten(0, 1)
    return features[torch.randperm(len(features), generator=generator)[:count]]


@torch.no_grad()
def _measure_spread(tokenizer: Tokenizer, images: Tensor) -> None:
    """Root mean squared distance of features to their codes, per number of a code."""
    features = tokenizer.embed(images)
    tokenizer.spread.copy_((features - tokenizer.codebook[tokenizer.encode(images)]).square().mean().sqrt())


def train_scene_tokenizer(
    scene: Pictures,
    path: str | Path,
    seed: int = 0,
    *,
    num_images: int = 16_384,
    settings: TokenizerSettings | None = None,
    num_validation: int = 2048,
    checkpoint: str | Path | None = None,
) -> dict[str, float]:
    """Train the tokenizer of a world on its training split, and save it.

    Args:
        scene: the world's pictures.
        path: the safetensors file to write.
        seed: of everything random; replaces the one in `settings`.
        num_images: the first so many images of the training split.
        settings: of the training; the defaults if None.
        num_validation: validation images for the report.
        checkpoint: file to go on from where it exists.

    Returns: `tokenizer_report` of the tokenizer as saved, and the "seconds" of processor time; its `facts` too.
    """
    started = time.process_time()
    settings = replace(settings or TokenizerSettings(), seed=seed)
    images, _ = scene.images("train", num_images)
    tokenizer = train_tokenizer(images, settings, checkpoint=checkpoint)
    seconds = round(time.process_time() - started, 1)
    report = tokenizer_report(tokenizer.half().float(), scene, num_validation) | {"seconds": seconds}
    tokenizer.save(path, {"settings": asdict(settings), "images": num_images, **report})
    return report


def tokenizer_report(tokenizer: Tokenizer, scene: Pictures, num_validation: int = 2048) -> dict[str, Any]:
    """What a tokenizer is worth on the first `num_validation` validation images: "psnr" of the decoded codes in
    decibels, "usage", the share of the codes that occur."""
    images, _ = scene.images("validation", num_validation)
    return {"psnr": tokenizer.psnr(images), "usage": tokenizer.usage(images)}
