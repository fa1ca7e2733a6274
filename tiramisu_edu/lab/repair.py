"""What `tiramisu-edu inpaint` repairs, how its methods compare, and the rows of its picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..errors import unknown_name
from ..masks import MASKS
from ..world import World
from .evaluation.comparison import Cases, Completed, make_cases
from .evaluation.measures import MEASURES
from .evaluation.sheet import damaged
from .evaluation.significance import NOTE, interval, shown
from .photo_files import load_mask

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


def is_layout(mask: str) -> bool:
    """Whether a mask is a layout; else it is a file.

    Raises:
        TiramisuError: it is neither.
    """
    if mask not in MASKS and not Path(mask).exists():
        raise unknown_name("mask", mask, [*MASKS, "a picture file"])
    return mask in MASKS


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
