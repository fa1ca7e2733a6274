"""What `tiramisu-edu inpaint` repairs, how its methods compare, and the rows of its picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import unknown_name
from ..masks import MASKS, load_mask, mask_batch
from ..pictures import load_image
from ..steering.evidence import PixelCodebook
from ..world import World
from .evaluation.comparison import Cases, Completed, make_cases
from .evaluation.measures import MEASURES
from .evaluation.sheet import damaged
from .evaluation.significance import NOTE, interval, shown

COLUMNS = 12  # images shown in the picture


def repair_cases(world: World, mask: str, batch: int, *, image: Path | None, seed: int) -> tuple[Cases, bool]:
    """The damaged images, and whether the truth under the damage is known.

    Args:
        mask: a layout, or a picture file, white where to fill in.
        batch: held-out images, or completions of `image`.
        image: a picture file; None for held-out images.
        seed: of image choice and random masks.
    """
    example = world.images("test", 1)[0]
    (height, width), is_layout = example.shape[-2:], mask in MASKS
    if not is_layout and not Path(mask).exists():
        raise unknown_name("mask", mask, [*MASKS, "a picture file"])
    if image is None:
        cases = make_cases(world, [mask if is_layout else "left"], batch, seed=seed)
        drawn = cases.known if is_layout else load_mask(mask, height, width).expand_as(cases.known)
        return cases._replace(known=drawn), True
    pixels = own_picture(world, image, example.shape)
    generator = torch.Generator().manual_seed(seed)
    known = (
        mask_batch(mask, 1, height, width, generator=generator) if is_layout else load_mask(mask, height, width)[None]
    )
    number = min(batch, COLUMNS)
    nothing = torch.zeros(number, dtype=torch.long)
    copies = torch.arange(1, number + 1)
    return Cases(pixels.repeat(number, 1, 1, 1), nothing, known.repeat(number, 1, 1, 1), copies), False


def own_picture(world: World, path: Path, shape: torch.Size) -> Tensor:
    """A picture file as an image of a world, (1, C, H, W); prints what was changed to make it one."""
    picture = load_image(path, (shape[2], shape[3]), shape[1])
    if picture.notice:
        print(f"notice: {picture.notice}")
    image, codebook = picture.image, world.codebook
    if isinstance(codebook, PixelCodebook):
        image = codebook.image(codebook.categories(image), image.shape)
        if not torch.equal(image, picture.image):
            print(f"notice: {path}: its pixels are rounded to the world's {len(codebook.levels)} levels")
    return image


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
