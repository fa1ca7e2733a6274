"""What `tiramisu-edu inpaint` repairs, how its methods compare, and the rows of its picture; what `fuse` fuses.

The latter are groups of references, and the regions that each of them rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ImageError, unknown_name
from ..steering.layouts import LAYOUTS, NOTHING, layout
from ..world import World
from .evaluation.comparison import Cases, Completed, make_cases
from .evaluation.measures import MEASURES
from .evaluation.sheet import HIDDEN_COLOUR, damaged
from .evaluation.significance import NOTE, interval, shown
from .photo_files import is_layout, load_mask
from .pictures import load_image, open_levels

COLUMNS = 12  # images shown in the picture


def repair_cases(world: World, mask: str, batch: int, *, seed: int) -> Cases:
    """Held-out images, damaged.

    Args:
        mask: a layout, or a picture file, white where to fill in.
        batch: how many.
        seed: of image choice and random masks.
    """
    if is_layout(mask):
        return make_cases(world, [mask], batch, seed=seed)
    cases = make_cases(world, ["left"], batch, seed=seed)
    return cases._replace(known=load_mask(mask, *cases.images.shape[-2:]).expand_as(cases.known))


def sheet_rows(
    cases: Cases, methods: Mapping[str, Completed], measured: Mapping[str, dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The rows of the picture; where the truth is known, each label has the method's share of right answers."""
    rows = {"truth": cases.images[:COLUMNS]} if measured else {}
    rows["damaged"] = damaged(cases.images, cases.known)[:COLUMNS]
    for label, done in methods.items():
        right = [measured[label][name] for name in ("determined", "agreement") if name in measured.get(label, {})]
        score = f"\n{shown(float(right[0].nanmean()), '.0%')} right" if right else ""
        rows[label.replace(" + ", "\n+ ") + score] = done.images[:COLUMNS]
    return rows


def comparison(measured: Mapping[str, dict[str, Tensor]], cases: Cases) -> dict[str, dict]:
    """Print a line per method: means of the first two measures, and the paired difference to the first method.

    Returns:
        label -> measure -> "mean", "difference", "low" and "high" of its interval, those of them that there are; empty
        where there is no truth to compare with.
    """
    if not measured:
        return {}
    base_name, base = next(iter(measured.items()))
    columns = list(base)[:2]
    heads = [f"{MEASURES[name].title:>22}  {f'minus {base_name} [95 %]':>30}" for name in columns]
    print(f"\n{'':26}" + "".join(heads))
    report: dict[str, dict] = {}
    short = False
    for label, values in measured.items():
        line, report[label] = f"{label:26}", {}
        for name in columns:
            found, text = {"mean": float(values[name].nanmean())}, ""
            if values is not base:
                mean, low, high = gap = interval(values[name] - base[name], cases.identity)
                found |= {"difference": mean, "low": low, "high": high}
                text, short = f"{gap:+.3f}", short or math.isnan(low)
            report[label][name] = {key: number for key, number in found.items() if not math.isnan(number)}
            line += f"{shown(float(values[name].nanmean()), '.3f'):>22}  {text:>30}"
        print(line)
    if short:
        print(NOTE)
    return report


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
