"""What the procedural worlds share: a factor model, a way to draw its states, and where each factor shows.

A generator gives what photographs cannot: rules that a completion keeps or breaks, the exact posterior of the hidden
factors, and any number of fresh images. `Scene.seen` tells apart, for a mask, the factors that are evidence for that
posterior and those that are hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...checks import positive_integer
from ...errors import ImageError, known_name
from ...masks import mask
from .drawing import UNITS, rgb
from .factors import FactorModel

SPLITS = {"train": 65_536, "validation": 2_048, "test": 2_048}  # images by default
BLOCK = 1_024  # images that share a seed
CHUNK = 128  # images drawn at once

# A factor is evidence where half of one of its boxes is known: enough to name a colour or a shape. It is hidden only
# where practically nothing of any box is; the 2 % allow for a corner that the jitter rarely reaches. Between the two
# it is neither evidence nor scored, because a glimpse may or may not give it away.
SEEN, HIDDEN = 0.5, 0.02


@dataclass(frozen=True)
class Parts:
    """The states of a batch by the names of the factors.

    Args:
        model: of the factors.
        states: (N, F) long.
    """

    model: FactorModel
    states: Tensor

    def has(self, name: str, *values: str) -> Tensor:
        """(N,) float32, an opacity: 1 where the factor has one of these values, else 0."""
        f = self.model.index(name)
        numbers = [self.model.factors[f].values.index(value) for value in values]
        return torch.isin(self.states[:, f], torch.tensor(numbers)).float()

    def colour(self, name: str, palette: Mapping[str, Sequence[float]]) -> Tensor:
        """(N, 3) in the palette's units: the colour of the factor's value."""
        f = self.model.index(name)
        return rgb([palette[word] for word in self.model.factors[f].values])[self.states[:, f]]


Draw = Callable[[Tensor, int, torch.Generator], Tensor]


class Box(NamedTuple):
    """A part of the picture in units, x to the right and y down."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Scene:
    """A world made of factors.

    Args:
        name: what the world is called; part of its seeds.
        model: what may be together.
        boxes: for each factor the boxes in which it shows, jitter included; each is enough to read it. A shape has one
            box, a colour may have small ones too, where a narrow mask would show it.
        draw: (states (N, F) long, size, generator) -> images (N, 3, size, size) in [-1, 1].
        canonical: states (N, F) -> states that agree with their pictures, where independent factors combine what
            cannot be (a red hat, and no hat). Coherent states stay as they are.
    """

    name: str
    model: FactorModel
    boxes: Mapping[str, tuple[Box, ...]]
    draw: Draw
    canonical: Callable[[Tensor], Tensor] = lambda states: states

    # Images.

    def render(self, states: Tensor, *, size: int = UNITS, generator: torch.Generator) -> Tensor:
        """Pictures of any states, coherent or not.

        Args:
            states: (N, F) long.
            size: height and width in pixels, a multiple of 32.
            generator: of the jitter of place, colour and light, and of the pixel noise.

        Returns: images (N, 3, size, size) float32 in [-1, 1].
        Raises:
            ImageError: for another size.
            EvidenceError: for states that do not exist.
        """
        if size < UNITS or size % UNITS:
            raise ImageError(f"size {size} is no multiple of {UNITS}; use {UNITS}, {2 * UNITS}, ...")
        self.model.violations(states)  # refuses states that do not exist
        return torch.cat([self.draw(chunk, size, generator) for chunk in states.split(CHUNK)])

    def sample(
        self, count: int, *, generator: torch.Generator, size: int = UNITS, independent: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Fresh images (count, 3, size, size) and their states (count, F).

        `independent` draws every factor by itself, rules or not: what a judge is trained on, so that it reads what is
        there and not what would match.
        """
        draw = self.model.sample_independent if independent else self.model.sample
        states = self.canonical(draw(count, generator))
        return self.render(states, size=size, generator=generator), states

    def images(self, split: str, count: int | None = None, *, size: int = UNITS) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split and their states, always the same ones.

        Blocks of 1024 images have a seed each, made of the world's name, the split and the block's number: a shorter
        count is a prefix, and no two splits share a seed.

        Args:
            split: "train", "validation" or "test".
            count: 65 536, 2 048 and 2 048 where None; more are possible.

        Returns: images (count, 3, size, size) float32 in [-1, 1], states (count, F) long.
        Raises:
            TiramisuError: for an unknown split or a count below 1.
        """
        known_name("split", split, SPLITS)
        count = positive_integer("count", SPLITS[split] if count is None else count)
        starts = range(0, count, BLOCK)
        parts = [self._block(split, start // BLOCK, min(BLOCK, count - start), size) for start in starts]
        pictures, states = (torch.cat(column) for column in zip(*parts))
        return pictures, states

    def redrawn(self, split: str, index: Tensor, states: Tensor) -> Tensor:
        """Pictures of a split with other factors in the same place, light, shades and noise, (N, 3, 32, 32).

        Args:
            index: (N,) long, different numbers of pictures.
            states: (N, F) long, the factors to draw.
        """
        pictures = torch.empty(len(index), 3, UNITS, UNITS)
        for number in (index // BLOCK).unique().tolist():
            own = index // BLOCK == number
            place = index[own] % BLOCK
            pictures[own] = self._block(split, number, int(place.max()) + 1, UNITS, (place, states[own]))[0][place]
        return pictures

    def _block(
        self, split: str, number: int, count: int, size: int, changes: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The first `count` images of a block. Whole chunks are drawn, so that a prefix uses the same numbers.

        changes: numbers of pictures in the block, and the states to draw instead of theirs.
        """
        digest = hashlib.sha256(f"{self.name}/{split}/{number}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        states = self.model.sample(BLOCK, generator)
        if changes is not None:
            states[changes[0]] = changes[1]
        whole = -(-count // CHUNK) * CHUNK
        return self.render(states[:whole], size=size, generator=generator)[:count], states[:count]

    # What a mask shows.

    def seen(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """Which factors a mask shows and which it hides.

        share_f = max over its boxes of the known share of the box    seen_f = 1[share_f >= SEEN]
        hidden_f = 1[share_f <= HIDDEN]

        Args:
            known: (B, 1, H, W) bool, True where the pixel is given.

        Returns: seen, hidden (B, F) bool, never both; where neither holds the factor is partly visible.
        Raises:
            ImageError: for a mask of another shape or type.
        """
        if known.ndim != 4 or known.shape[1] != 1 or known.dtype != torch.bool:
            raise ImageError(f"known is {known.dtype} {tuple(known.shape)}; needed is torch.bool (B, 1, H, W)")
        shares = [
            torch.stack([_known_share(known[:, 0].double(), box) for box in self.boxes[name]]).amax(0)
            for name in self.model.names
        ]
        share = torch.stack(shares, dim=1)  # (B, F)
        return share >= SEEN, share <= HIDDEN

    def visibility(self, mask_names: Sequence[str]) -> dict[str, dict[str, str]]:
        """For documents: table[mask][factor] is "seen", "part" or "hidden". Random masks have no such row."""
        table = {}
        for name in mask_names:
            seen, hidden = self.seen(mask(name, UNITS, UNITS)[None])
            words = ["seen" if s else "hidden" if h else "part" for s, h in zip(seen[0], hidden[0])]
            table[name] = dict(zip(self.model.names, words))
        return table


def _known_share(known: Tensor, box: Box) -> Tensor:
    """(B,): how much of a box's area is known, for known (B, H, W) in {0, 1}."""
    rows = _overlap(box.top, box.bottom, known.shape[1])
    cols = _overlap(box.left, box.right, known.shape[2])
    return torch.einsum("bhw,h,w->b", known, rows, cols) / (rows.sum() * cols.sum())


def _overlap(start: float, stop: float, pixels: int) -> Tensor:
    """(pixels,): the share of each pixel's length inside [start, stop) units."""
    edges = torch.arange(pixels + 1, dtype=torch.float64) * UNITS / pixels
    inside = edges[1:].clamp(max=stop) - edges[:-1].clamp(min=start)
    return inside.clamp(min=0) * pixels / UNITS
