"""What `tiramisu-edu fuse` fuses: groups of references, and the regions that each of them rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ImageError, unknown_name
from ..steering.layouts import LAYOUTS, NOTHING, layout
from ..world import World
from .evaluation.sheet import HIDDEN_COLOUR
from .pictures import load_image, open_levels


def reference_groups(world: World, files: Sequence[Path] | None, pairs: int, *, seed: int) -> list[Tensor]:
    """Groups of references (R, C, H, W): the files given, or pairs of held-out pictures."""
    if files is None:
        held_out = world.images("test")[0]
        chosen = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))[: 2 * pairs]
        return list(held_out[chosen].split(2))
    shape = world.images("test", 1)[0].shape
    pictures = [load_image(path, (shape[2], shape[3]), shape[1]) for path in files]
    for picture in pictures:
        if picture.notice:
            print(f"notice: {picture.notice}")
    return [torch.cat([picture.image for picture in pictures])]


def read_regions(name: str, size: tuple[int, int]) -> Tensor:
    """A layout, or a label picture, as (H, W) long: the reference that rules each pixel.

    In a picture black is no region; the other grey levels are the references in rising order.

    Raises:
        TiramisuError: no such layout or file.
        ImageError: a picture of another size, or black everywhere.
    """
    if name in LAYOUTS:
        return layout(name, *size)
    if not Path(name).is_file():
        raise unknown_name("regions", name, [*LAYOUTS, "a label picture"])
    levels, notices = open_levels(name, labels=True)
    for notice in notices:
        print(f"notice: {name}: {notice}")
    if tuple(levels.shape) != size:
        raise ImageError(f"{name}: the label picture is {tuple(levels.shape)}, the world's pictures are {size}")
    present = levels.unique()
    if not present.any():
        raise ImageError(f"{name}: black everywhere, so no reference rules anything")
    return torch.where(levels > 0, torch.searchsorted(present[present > 0], levels), NOTHING)


def pasted(references: Tensor, regions: Tensor) -> Tensor:
    """(1, C, H, W): each reference in its region, the free part coloured (grey in a grey world)."""
    colour = torch.tensor(HIDDEN_COLOUR) * 2 - 1
    free = colour[:, None, None] if references.shape[1] == 3 else colour.mean()
    image = (free * torch.ones_like(references[:1])).clone()
    for number, reference in enumerate(references):
        image = torch.where(regions == number, reference, image)
    return image
