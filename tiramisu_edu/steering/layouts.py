"""Which reference rules where: the published layouts of semantic fusion for any size, and label images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import instance
from ..errors import ImageError, TiramisuError, known_name
from ..masks import Box, inside_boxes

NOTHING = -1
"""Label of pixels that no reference rules."""
MOST_REFERENCES = 8

_UPPER = Box(0, 160, 0, 64), Box(0, 64, 0, 256), Box(0, 160, 192, 256)
_EYE, _MOUTH = (Box(64, 128, 64, 128),), (Box(176, 208, 96, 160),)
# Per reference its boxes on a 256 x 256 canvas, as the published implementation states them.
LAYOUTS: dict[str, tuple[tuple[Box, ...], ...]] = {
    "left-right": ((Box(0, 256, 0, 128),), (Box(0, 256, 128, 256),)),
    "up-down": ((Box(0, 128, 0, 256),), (Box(128, 256, 0, 256),)),
    "two-windows1": ((Box(64, 128, 32, 96),), (Box(160, 224, 96, 160),)),
    "two-windows2": ((Box(32, 96, 64, 192),), (Box(160, 224, 64, 192),)),
    "two-windows3": ((Box(64, 192, 32, 96),), (Box(64, 192, 160, 224),)),
    "eye-mouth": (_EYE, _MOUTH),
    "upper-lower": (_UPPER, _MOUTH),
}


def layout(name: str, height: int, width: int) -> Tensor:
    """The named layout as a label image (H, W) long: the number of the reference that rules a pixel, or NOTHING.

    Raises:
        TiramisuError: for an unknown name.
    """
    labels = torch.full((height, width), NOTHING)
    for number, boxes in enumerate(LAYOUTS[known_name("layout", name, LAYOUTS)]):
        labels[inside_boxes(boxes, height, width)] = number
    return labels


def check_regions(regions: str | Tensor, num_references: int, size: tuple[int, int]) -> Tensor:
    """Regions as (R, 1, H, W) bool, one per reference.

    Args:
        regions: the name of a layout, or a label image (H, W) of integers with NOTHING where none rules.
        num_references: R.
        size: (H, W) of the world's images.

    Raises:
        TiramisuError: for an unknown layout, or one for another number of references.
        ImageError: for labels of another size or type, a region that is empty, or a label that names no reference.
    """
    instance("regions", regions, str, Tensor)
    if isinstance(regions, str):
        if regions in LAYOUTS and num_references != (wanted := len(LAYOUTS[regions])):
            raise TiramisuError(f"layout {regions!r} is for {wanted} references, not {num_references}")
        regions = layout(regions, *size)
    if regions.shape != torch.Size(size) or regions.is_floating_point() or regions.dtype == torch.bool:
        raise ImageError(f"regions must be integer labels {size}, not {regions.dtype} {tuple(regions.shape)}")
    unknown = (regions < NOTHING) | (regions >= num_references)
    if unknown.any():
        row, column = unknown.nonzero()[0].tolist()
        raise ImageError(
            f"the label at row {row}, column {column} is {int(regions[row, column])}: expected 0 to "
            f"{num_references - 1}, the number of a reference, or {NOTHING} for none"
        )
    split = regions == torch.arange(num_references, device=regions.device)[:, None, None]
    for number, region in enumerate(split):
        if not region.any():
            raise ImageError(f"the region of reference {number} is empty: leave that reference out, or give it pixels")
    return split[:, None]
