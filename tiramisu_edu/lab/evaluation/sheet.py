"""One picture that shows what the methods did: a row per method, a column per image."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..palette import new_figure, save_figure

HIDDEN_COLOUR = (0.84, 0.37, 0.0)  # vermillion of the colour-blind-safe palette


def as_levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8: 0 for -1 and 255 for 1, values outside clipped."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def damaged(images: Tensor, known: Tensor) -> Tensor:
    """The images in RGB with hidden pixels coloured, (B, 3, H, W)."""
    colour = torch.tensor(HIDDEN_COLOUR)[:, None, None] * 2 - 1
    return torch.where(known, images.expand(-1, 3, -1, -1), colour)


def save_sheet(path: str | Path, rows: dict[str, Tensor], title: str) -> Path:
    """Write a picture with one labelled row of images per entry, atomically; returns the path.

    Args:
        rows: label -> (B, 1 or 3, H, W) in [-1, 1]; all rows have the same B.
        title: above the picture; wrapped by the caller.
    """
    pictures = torch.stack([images.float().expand(-1, 3, -1, -1) for images in rows.values()])  # (R, B, 3, H, W)
    R, B, _, H, W = pictures.shape
    gap = max(1, H // 16)
    canvas = as_levels(F.pad(pictures, (0, gap, 0, gap), value=1.0))
    canvas = canvas.permute(0, 3, 1, 4, 2).reshape(R * (H + gap), B * (W + gap), 3)[:-gap, :-gap]
    labels, wanted = (0.3 + 0.08 * max(map(len, text.split("\n"))) for text in ("\n".join(rows), title))  # inches
    figure, axis = new_figure(max(labels + 0.75 * B, wanted), 0.4 + 0.76 * R)
    axis.imshow(canvas.numpy(), interpolation="nearest")
    axis.set_yticks([r * (H + gap) + H / 2 - 0.5 for r in range(R)], labels=list(rows), fontsize=9, parse_math=False)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, parse_math=False)  # a dollar sign is one
    return save_figure(figure, path, grid=False)
