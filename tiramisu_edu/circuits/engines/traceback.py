"""Top-down passes: joint samples from p(x | w) and the most probable explanation."""

from __future__ import annotations

import torch
from torch import Tensor

from .messages import Evidence, Messages, Parameters
from .plan import Level, Plan
from .torch_engine import level_input, level_weight


class _Descent:
    """Which unit of which region the walk from the root has reached, per column: -1 where it has not."""

    def __init__(self, plan: Plan, num_variables: int, num_columns: int, device: torch.device):
        self.plan = plan
        self.unit = {
            k: torch.full((rows + 1, num_columns), -1, dtype=torch.long, device=device)
            for k, rows in plan.num_rows.items()
        }
        self.unit[1][plan.levels[-1].start] = 0
        self.values = torch.full((num_variables, num_columns), -1, dtype=torch.long, device=device)

    def reached(self, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """(n,) each: region within the level, column, unit."""
        unit = self.unit[level.num_units][level.rows]
        region, column = (unit >= 0).nonzero(as_tuple=True)
        return region, column, unit[region, column]

    def choose(self, level: Level, region: Tensor, column: Tensor, chosen: Tensor) -> None:
        """Walk on to the children of product `chosen`, or set the variable to category `chosen`."""
        if level.is_input:
            rows = level.children[0]
            variable = rows.start + region if isinstance(rows, slice) else rows[region]
            self.values[variable, column] = chosen
            return
        partition = region * level.num_partitions + chosen // level.child_units
        for rows in level.children:
            child = rows.start + partition if isinstance(rows, slice) else rows[partition]
            self.unit[level.child_units][child, column] = chosen % level.child_units


def sample(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    messages: Messages,
    num_samples: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Joint samples (D, num_samples * B), column s * B + b being sample s given evidence b.

    Top-down: at a sum the product m with probability theta_km exp(x_m) / u_k, at an input the category v with
    probability f_k(v) w(v) / u_k.
    """
    assert evidence.log_weights is not None
    num_variables, _, batch = evidence.log_weights.shape
    walk = _Descent(plan, num_variables, num_samples * batch, evidence.log_weights.device)
    for level in reversed(plan.levels):
        region, column, unit = walk.reached(level)
        if len(region):
            x, _ = level_input(level, messages, evidence)
            weight = level_weight(level, parameters)
            log_odds = weight[region, unit].log() + x[region, :, column % batch]
            odds = (log_odds - log_odds.amax(-1, keepdim=True)).exp_()
            walk.choose(level, region, column, torch.multinomial(odds, 1, generator=generator)[:, 0])
    return walk.values


def most_probable(plan: Plan, parameters: Parameters, evidence: Evidence) -> Tensor:
    """Max-product with traceback, (D, B): sums become maxima, the arg-maxima are walked top-down."""
    assert evidence.log_weights is not None
    num_variables, _, batch = evidence.log_weights.shape
    messages = Messages.of_ones(plan, parameters[0], batch)
    best: list[Tensor] = []
    for level in plan.levels:
        x, messages.log_scale[level.num_units][level.rows] = level_input(level, messages, evidence)
        units = level_weight(level, parameters).log().unbind(1)
        maxima = [(log_weight[:, :, None] + x).max(1) for log_weight in units]  # one unit at a time: no (R, K, M, B)
        messages.log_units[level.num_units][level.rows] = torch.stack([m.values for m in maxima], 1)
        best.append(torch.stack([m.indices for m in maxima], 1))
    walk = _Descent(plan, num_variables, batch, evidence.log_weights.device)
    for level, choice in zip(reversed(plan.levels), reversed(best)):
        region, column, unit = walk.reached(level)
        walk.choose(level, region, column, choice[region, unit, column])
    return walk.values
