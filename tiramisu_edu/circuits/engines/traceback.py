"""The walk from the root down: joint samples of p(x | w), and the most probable explanation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .plan import Plan

Reached = tuple[Tensor, Tensor, Tensor]  # region within the level, sample of the evidence, unit; (n,) each


def walk(
    plan: Plan,
    odds: Callable[[int, Reached], Tensor],
    pick: Callable[[Tensor], Tensor],
    given: Tensor,
    copies: int = 1,
) -> Tensor:
    """States (copies, B, D) that the walk reaches.

    Args:
        odds: number of a level and the units reached there -> (n, M), how likely each product below a unit is.
        pick: odds -> which product, or which category of an input, is taken, (n,) long.
        given: the evidence, (D, C, B).
    """
    (num_variables, _, batch), device = given.shape, given.device
    num_columns = copies * batch  # column s * B + b: copy s given evidence b
    unit = {k: torch.full((n + 1, num_columns), -1, device=device) for k, n in plan.num_rows.items()}  # -1: not reached
    unit[1][plan.levels[-1].start] = 0
    values = torch.full((num_variables, num_columns), -1, device=device)
    for number, level in reversed(list(enumerate(plan.levels))):
        chosen_unit = unit[level.num_units][level.rows]
        region, column = (chosen_unit >= 0).nonzero(as_tuple=True)
        if len(region) == 0:
            continue
        chosen = pick(odds(number, (region, column % batch, chosen_unit[region, column])))
        if level.is_input:
            values[level.children[0, region], column] = chosen
            continue
        partition = region * level.num_partitions + chosen // level.child_units
        unit[level.child_units][level.children[:, partition], column] = chosen % level.child_units
    return values.T.reshape(copies, batch, num_variables)


def draw(odds: Tensor, generator: torch.Generator | None) -> Tensor:
    """One index for each row of odds (n, M), with probability proportional to them: the inverse of their sums."""
    sums = odds.cumsum(-1)
    total = sums[:, -1:]
    place = odds.device if generator is None else generator.device
    uniform = torch.rand(total.shape, generator=generator, dtype=odds.dtype, device=place).to(odds.device)
    below_total = torch.nextafter(total, torch.zeros_like(total))
    return torch.searchsorted(sums, torch.minimum(uniform * total, below_total), right=True)[:, 0]
