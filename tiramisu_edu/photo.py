"""A photograph of any size with holes: each is completed at the size of a model, and blended back.

Around a hole a window with the proportions of the model's pictures is cut out, shrunk to the model's size and
completed; the result is enlarged again and moved to meet the photograph at the edge of the hole. Only hidden pixels are
written: nothing else changes by a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, label
from torch import Tensor
from torch.nn.functional import interpolate

CONTEXT = 2  # sides of a window, in sides of its hole, where the photograph is large enough
Complete = Callable[[Tensor, Tensor], Tensor]
"""(image (1, C, h, w) in [-1, 1], known (1, 1, h, w) bool) -> image without holes."""


def complete_photo(
    photo: np.ndarray, hidden: np.ndarray, size: tuple[int, int], channels: int, complete: Complete
) -> np.ndarray:
    """The photograph with its hidden pixels filled in, hole by hole, the largest first.

    Args:
        photo: (H, W, C) uint8, C = 1 or 3.
        hidden: (H, W) bool.
        size: (height, width) of the model's pictures.
        channels: 1 or 3, of the model's pictures.
        complete: the model.

    Returns: like `photo`, equal to it where nothing is hidden.
    """
    pixels, left = photo.copy(), hidden.copy()
    for window, filled in windows(hidden, size):
        inside = filled & left[window.inside]
        if inside.any():
            pixels[window.inside][inside] = _painted(pixels, left, window, size, channels, complete)[inside]
            left[window.inside] &= ~inside
    return pixels


class Window(NamedTuple):
    """A rectangle that may reach beyond the photograph.

    Attributes:
        inside: rows and columns of the part that does not.
        beyond: rows and columns missing ((above, below), (left, right)).
        scale: its side in sides of the model's pictures, at least 1.
    """

    inside: tuple[slice, slice]
    beyond: tuple[tuple[int, int], tuple[int, int]]
    scale: float


def windows(hidden: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[Window, np.ndarray]]:
    """A window around each hole, and which of its pixels inside belong to holes that it holds whole; largest first.

    Args:
        hidden: (H, W) bool.
        size: of the model's pictures.
    """
    labels, _ = label(hidden)
    boxes: list[tuple[slice, slice]] = find_objects(labels)
    order = sorted(range(len(boxes)), key=lambda n: -max(part.stop - part.start for part in boxes[n]))
    for n in order:
        window = _around(boxes[n], hidden.shape, size)
        within = [
            k + 1
            for k, box in enumerate(boxes)
            if all(whole.start <= part.start and part.stop <= whole.stop for whole, part in zip(window.inside, box))
        ]
        yield window, np.isin(labels[window.inside], within)


def _around(box: tuple[slice, slice], photo: tuple[int, ...], size: tuple[int, int]) -> Window:
    """A window with the hole in its middle: no smaller than the model's picture, and as large as the hole at least."""
    hole = max((part.stop - part.start) / side for part, side in zip(box, size))
    largest = min(whole / side for whole, side in zip(photo, size))
    scale = max(1.0, hole, min(CONTEXT * hole, largest))
    inside, beyond = [], []
    for part, whole, side in zip(box, photo, size):
        length = math.ceil(side * scale)
        start = (part.start + part.stop - length) // 2
        start = min(max(start, 0), whole - length) if length <= whole else (whole - length) // 2
        inside.append(slice(max(start, 0), min(start + length, whole)))
        beyond.append((max(-start, 0), max(start + length - whole, 0)))
    return Window((inside[0], inside[1]), (beyond[0], beyond[1]), scale)


def _painted(
    pixels: np.ndarray, left: np.ndarray, window: Window, size: tuple[int, int], channels: int, complete: Complete
) -> np.ndarray:
    """The window's part inside the photograph, (h, w, C) uint8; its hidden pixels from the model.

    With `up` the model's picture, enlarged by a factor s, p the nearest known pixel and d the distance to it,

        up + exp((1 - d) / s) (photo - up) averaged around p

    meets the photograph at the hole's edge, and is the model's alone further inside.
    """
    image = np.pad(pixels[window.inside].astype(np.float32) / 127.5 - 1, (*window.beyond, (0, 0)))
    known = np.pad(~left[window.inside], window.beyond).astype(np.float32)
    photo, seen = torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(known)[None, None]
    share = interpolate(seen, size, mode="area")
    small = interpolate(photo * seen, size, mode="area") / share.clamp_min(1e-6)
    small = small.mean(1, keepdim=True) if channels == 1 else small.expand(-1, 3, -1, -1)
    found = complete(small.clamp(-1, 1), share > 1 - 1e-6).float().cpu()
    up = interpolate(found, known.shape, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).numpy()
    up = up.mean(2, keepdims=True) if image.shape[2] == 1 else np.broadcast_to(up, image.shape)
    width = window.scale / 8
    gap = gaussian_filter((image - up) * known[..., None], (width, width, 0))
    gap /= np.maximum(gaussian_filter(known, width), 1e-6)[..., None]
    distance, nearest = distance_transform_edt(known == 0, return_indices=True)
    blended = up + np.exp((1 - distance) / window.scale)[..., None] * gap[tuple(nearest)]
    levels = ((blended.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    (above, _), (before, _) = window.beyond
    height, width = left[window.inside].shape
    return levels[above : above + height, before : before + width]
