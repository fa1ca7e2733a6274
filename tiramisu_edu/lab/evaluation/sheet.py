"""One picture that shows what the methods did: a row per method, a column per image."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...files import atomic_path

HIDDEN_COLOUR = (0.84, 0.37, 0.0)  # vermillion of the colour-blind-safe palette


def damaged(images: Tensor, known: Tensor) -> Tensor:
    """The images in RGB with hidden pixels coloured, (B, 3, H, W)."""
    colour = torch.tensor(HIDDEN_COLOUR)[:, None, None] * 2 - 1
    return torch.where(known, images.expand(-1, 3, -1, -1), colour)


def save_sheet(path: str | Path, rows: dict[str, Tensor], title: str) -> Path:
    """Write a PNG with one labelled row of images per entry, atomically.

    Args:
        rows: label -> (B, 1 or 3, H, W) in [-1, 1]; all rows have the same B.
        title: above the picture; wrapped by the caller.

    Returns:
        The path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.6 + 0.75 * columns, 0.35 + 0.76 * len(rows)), dpi=150)
    FigureCanvasAgg(figure)
    left = 1.6 / figure.get_figwidth()
    top = 1 - 0.35 / figure.get_figheight()
    axes = figure.subplots(
        len(rows), columns, squeeze=False, gridspec_kw={"left": left, "right": 0.995, "bottom": 0.01, "top": top}
    )
    figure.subplots_adjust(wspace=0.06, hspace=0.06)
    figure.text(left, 1 - 0.1 / figure.get_figheight(), title, va="top", fontsize=9)
    for (label, images), line in zip(rows.items(), axes):
        for image, axis in zip(images, line):
            pixels = ((image.float().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy()
            axis.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
        centre = line[0].get_position().y0 + line[0].get_position().height / 2
        figure.text(left - 0.015, centre, label, ha="right", va="center", fontsize=9)
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return path
