"""Training a tokenizer: an autoencoder whose bottleneck is rounded to a codebook.

Rounding has no gradient. Three devices make training work: the gradient of the decoder's input is handed to the
encoder as if nothing had been rounded (straight through); the codebook follows the features that are rounded to it
as a moving average; and a code that nothing is rounded to is moved to where features are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from tqdm.auto import tqdm

from ...circuits.clustering import kmeans, nearest_centre
from ...errors import ImageError
from ...tokenizer import Tokenizer


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


def train_tokenizer(
    images: Tensor,
    settings: TokenizerSettings,
    *,
    callback: Callable[[int, float], None] | None = None,
    progress: bool = True,
) -> Tokenizer:
    """Train a tokenizer on images.

        loss = mean |decoder(h + sg(e_z - h)) - image|^2 + commitment * mean |h - sg(e_z)|^2    (sg: no gradient)

    Args:
        images: (M, C, H, H) in [-1, 1], sides multiples of 4.
        callback: called after each step with the number of steps done and the reconstruction loss.
        progress: show a progress bar.

    Returns: the tokenizer in evaluation mode, its `spread` measured on training images.
    Raises: ImageError where the images have too few patches to make the codebook from.
    Source: van den Oord et al., Neural Discrete Representation Learning, NeurIPS 2017, with the codebook of its
        appendix A.1; dead codes revived as in Dhariwal et al., Jukebox, 2020.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(settings.seed)
        tokenizer = Tokenizer(
            num_codes=settings.num_codes,
            code_size=settings.code_size,
            width=settings.width,
            channels=images.shape[1],
        )
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=settings.learning_rate)
    codebook = Codebook(tokenizer, settings, generator)
    bar = tqdm(range(settings.steps), desc="tokenizer", disable=not progress)
    for step in bar:
        if step == settings.unquantised_steps:
            codebook.start(_some_features(tokenizer, images, generator))
        batch = images[torch.randint(len(images), (settings.batch_size,), generator=generator)]
        features = tokenizer.embed(batch)
        rounded = features if step < settings.unquantised_steps else codebook.round(features, step)
        straight_through = features + (rounded - features).detach()
        reconstruction = mse_loss(tokenizer.generate(straight_through), batch)
        loss = reconstruction + settings.commitment * mse_loss(features, rounded.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = settings.learning_rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
        optimiser.step()
        bar.set_postfix(mse=f"{reconstruction.item():.4f}", refresh=False)
        if callback is not None:
            callback(step + 1, reconstruction.item())
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
