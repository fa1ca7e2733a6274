"""The walk from the root down: joint samples of p(x | w), and the most probable explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .plan import Level, Plan

Reached = tuple[Tensor, Tensor, Tensor]  # region within the level, sample of the evidence, unit; (n,) each
Generators = torch.Generator | Sequence[torch.Generator] | None  # a sequence: each of an equal share of the samples


def walk(
    plan: Plan, choose: Callable[[int, Reached], Tensor], shape: tuple[int, int], copies: int, device: torch.device
) -> Tensor:
    """States (D, copies * B), column s * B + b being copy s of the walk given evidence b.

    Args:
        choose: per number of a level and the units reached there, which product m of each goes on, or which category
            of an input, (n,) long.
        shape: (D, B).
    """
    num_variables, batch = shape
    num_columns = copies * batch
    unit = {k: torch.full((n + 1, num_columns), -1, device=device) for k, n in plan.num_rows.items()}  # -1: not reached
    unit[1][plan.levels[-1].start] = 0
    values = torch.full((num_variables, num_columns), -1, device=device)
    for number, level in reversed(list(enumerate(plan.levels))):
        chosen_unit = unit[level.num_units][level.rows]
        region, column = (chosen_unit >= 0).nonzero(as_tuple=True)
        if len(region) == 0:
            continue
        chosen = choose(number, (region, column % batch, chosen_unit[region, column]))
        if level.is_input:
            values[_row(level, 0, region), column] = chosen
            continue
        partition = region * level.num_partitions + chosen // level.child_units
        for slot in range(len(level.children)):
            unit[level.child_units][_row(level, slot, partition), column] = chosen % level.child_units
    return values


def draw(odds: Tensor, sample: Tensor, *, first: int, num_samples: int, generator: Generators) -> Tensor:
    """One index for each row of odds (n, M), with probability proportional to them: the inverse of their sums.

    Args:
        sample: (n,), which of `num_samples` each row belongs to, counted from `first`. What a generator draws for its
            share of them does not depend on the others.
    """
    sums = odds.cumsum(-1)
    total = sums[:, -1:]
    uniform = torch.empty_like(total)
    owners: Sequence[torch.Generator | None] = generator if isinstance(generator, Sequence) else [generator]
    share = (sample + first) // -(-num_samples // len(owners))
    drawn = [
        torch.rand(n, 1, generator=g, dtype=odds.dtype, device=odds.device if g is None else g.device).to(odds.device)
        for n, g in zip(share.bincount(minlength=len(owners)).tolist(), owners)
    ]
    uniform[share.argsort(stable=True)] = torch.cat(drawn)
    below_total = torch.nextafter(total, torch.zeros_like(total))
    return torch.searchsorted(sums, torch.minimum(uniform * total, below_total), right=True)[:, 0]


def _row(level: Level, slot: int, partition: Tensor) -> Tensor:
    rows = level.children[slot]
    return rows.start + partition if isinstance(rows, slice) else rows[partition]
