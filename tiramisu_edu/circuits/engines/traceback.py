"""The walk from the root down: joint samples of p(x | w), and the most probable explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .plan import Plan

Reached = tuple[Tensor, Tensor, Tensor]  # region within the level, sample of the evidence, unit; (n,) each
Pick = Callable[[Tensor, Tensor], Tensor]  # odds (n, M), sample of each row (n,) -> which one is taken, (n,) long
Generators = torch.Generator | Sequence[torch.Generator] | None  # a sequence: each of an equal share of the samples


def walk(
    plan: Plan,
    odds: Callable[[int, Reached], Tensor],
    pick: Pick,
    given: Tensor,
    copies: int = 1,
    first: int = 0,
) -> Tensor:
    """States (copies, B, D) that the walk reaches.

    Args:
        odds: number of a level and the units reached there -> (n, M), how likely each product below a unit is.
        pick: which product, or which category of an input, is taken.
        given: the evidence, (D, C, B), of samples counted from `first`.
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
        sample = column % batch
        chosen = pick(odds(number, (region, sample, chosen_unit[region, column])), first + sample)
        if level.is_input:
            values[level.children[0, region], column] = chosen
            continue
        partition = region * level.num_partitions + chosen // level.child_units
        unit[level.child_units][level.children[:, partition], column] = chosen % level.child_units
    return values.T.reshape(copies, batch, num_variables)


def draw(odds: Tensor, sample: Tensor, *, owners: Sequence[torch.Generator | None], share: int) -> Tensor:
    """One index for each row of odds (n, M), with probability proportional to them: the inverse of their sums.

    Args:
        sample: (n,), which sample of the evidence each belongs to.
        owners: generators, each of `share` samples that follow one another; what it draws does not depend on others.
    """
    sums = odds.cumsum_(-1)
    total = sums[:, -1:]
    uniform = torch.empty_like(total)
    owner = sample // share
    drawn = [
        torch.rand(n, 1, generator=g, dtype=odds.dtype, device=odds.device if g is None else g.device).to(odds.device)
        for n, g in zip(owner.bincount(minlength=len(owners)).tolist(), owners)
    ]
    uniform[owner.argsort(stable=True)] = torch.cat(drawn)
    below_total = torch.nextafter(total, torch.zeros_like(total))
    return torch.searchsorted(sums, torch.minimum(uniform * total, below_total), right=True)[:, 0]
