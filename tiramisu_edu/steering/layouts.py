"""Which reference rules where: the published layouts of semantic fusion for any size, and label images."""

from __future__ import annotations

import torch
from torch import Tensor

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
        ImageError: where H x W is so small that two regions meet.
    """
    boxes = LAYOUTS[known_name("layout", name, LAYOUTS)]
    return labels_of(torch.stack([inside_boxes(own, height, width) for own in boxes]))


def labels_of(regions: Tensor) -> Tensor:
    """The label image (H, W) of regions (R, H, W) bool, one per reference.

    Raises:
        ImageError: when two regions share a pixel.
    """
    twice = regions.sum(0) > 1
    if twice.any():
        row, column = twice.nonzero()[0].tolist()
        rivals = " and ".join(str(r) for r in regions[:, row, column].nonzero()[:, 0].tolist())
        raise ImageError(
            f"the regions of references {rivals} overlap in {int(twice.sum())} pixels, the first at row {row}, column "
            f"{column}: a pixel can follow one reference only"
        )
    return torch.where(regions.any(0), regions.byte().argmax(0), NOTHING)


def check_regions(regions: str | Tensor, num_references: int, size: tuple[int, int]) -> Tensor:
    """Regions of any form as (R, 1, H, W) bool, one per reference.

    Args:
        regions: the name of a layout, a label image (H, W) of integers with NOTHING where none rules, or (R, H, W)
            bool.
        num_references: R.
        size: (H, W) of the world's images.

    Raises:
        TiramisuError: for an unknown layout, or one for another number of references.
        ImageError: for regions of another size or type, that overlap, that are empty, or that name no reference.
    """
    if isinstance(regions, str):
        if regions in LAYOUTS and num_references != len(LAYOUTS[regions]):
            wanted = len(LAYOUTS[regions])
            raise TiramisuError(f"layout {regions!r} is for {wanted} references, not {num_references}")
        labels = layout(regions, *size)
    elif not isinstance(regions, Tensor):
        raise ImageError(f"regions must be the name of a layout or a tensor, not a {type(regions).__name__}")
    elif regions.dtype == torch.bool and regions.ndim == 3:
        if len(regions) != num_references:
            raise ImageError(f"{len(regions)} regions for {num_references} references: give one for each")
        labels = labels_of(regions)
    else:
        labels = regions
    if labels.shape != torch.Size(size) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ImageError(
            f"regions must be integer labels {size} or bool (references, {size[0]}, {size[1]}), not {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    unknown = (labels < NOTHING) | (labels >= num_references)
    if unknown.any():
        row, column = unknown.nonzero()[0].tolist()
        raise ImageError(
            f"the label at row {row}, column {column} is {int(labels[row, column])}: expected 0 to "
            f"{num_references - 1}, the number of a reference, or {NOTHING} for none"
        )
    split = labels == torch.arange(num_references, device=labels.device)[:, None, None]
    for number, region in enumerate(split):
        if not region.any():
            raise ImageError(f"the region of reference {number} is empty: leave that reference out, or give it pixels")
    return split[:, None]
