"""The buffers of the fast engine, with views into them for every level, and both passes over them.

A chain of many small levels would spend more time on finding its operands than on arithmetic. Here they are found once
per plan and batch size; a query then runs up the tape and down again.
"""

from __future__ import annotations

import threading
from collections import Counter

import torch
from torch import Tensor

from .messages import Evidence, Parameters
from .plan import Level, Plan
from .steps import InputStep, Place, SumStep, by_partition, run_of

SPARE = 4  # tapes that are kept for later queries


class Tape:
    """All messages of a plan for one batch size, per unit count K (rows, B, K), and the steps that fill them.

    Args:
        keep: the products of every level for a backward pass; otherwise all levels share one buffer.
        is_hard: for hard evidence, in the order of `Plan.by_use`.
    """

    def __init__(self, plan: Plan, batch: int, like: Tensor, keep: bool, is_hard: bool):
        shapes = {k: (n + 1, batch, k) for k, n in plan.num_rows.items()}  # the last row is the constant 1
        is_inference = torch.is_inference_mode_enabled()  # its tensors can be changed in that mode only
        self.made_for, self.keep = (batch, like.dtype, like.device, keep, is_hard, is_inference), keep
        self.weights = like.new_empty(0)  # (B, D, C), made when soft evidence comes
        self.units = {k: like.new_ones(shape) for k, shape in shapes.items()}
        self.scales = {k: like.new_ones(n, batch, 1) for k, (n, _, _) in shapes.items()}
        zeros = {k: torch.zeros_like(scale, dtype=torch.float64) for k, scale in self.scales.items()}
        self.log_scales = {} if plan.is_simple else zeros
        self.flows = {k: like.new_empty(shape) for k, shape in shapes.items()} if keep else self.units
        sums = {number: level for number, level in enumerate(plan.levels) if not level.is_input}
        spare = like.new_empty(max(x.num_regions * x.num_products for x in sums.values()) * batch)
        on_cpu = plan.to(torch.device("cpu"))
        scaled = on_cpu.scaled_levels(like.dtype)
        levels = (on_cpu.by_use().to(like.device) if is_hard and plan.is_tree else plan).levels
        self.inputs = [self._input_step(level) for level in levels if level.is_input]
        self.sums = [self._sum_step(levels[number], number in scaled, spare) for number in sums]
        self.steps: list[InputStep | SumStep] = [*self.inputs, *self.sums]  # by level
        uses = Counter(level.parameter for level in sums.values())
        self.repeated = [number for number, times in uses.items() if times > 1]  # parameters that several levels share

    def _input_step(self, level: Level) -> InputStep:
        units, flows = self.units[level.num_units], self.flows[level.num_units]
        rows = torch.arange(level.num_regions) if level.parameter_rows is None else level.parameter_rows
        variables, run = level.children[0], run_of(level.children[0])
        return InputStep(
            level, units[level.rows], flows[level.rows], variables, rows.to(units.device), run, self.weights
        )

    def _sum_step(self, level: Level, is_scaled: bool, spare: Tensor) -> SumStep:
        k, j, P = level.num_units, level.child_units, level.num_partitions
        scale = self.scales[k][level.rows]
        R, batch, _ = scale.shape
        shared = spare[: R * batch * P * j].view(R, batch, P * j)
        product = torch.empty_like(shared) if self.keep else shared
        targets = tuple(Place.of(self.flows[j], rows, P, not level.exclusive) for rows in level.children)
        product_flow = shared
        if P == 1 and level.exclusive and all(place.rows is None for place in targets):
            product_flow, targets = targets[0].source, targets[1:]  # made where the first children expect it
        return SumStep(
            level,
            self.units[k][level.rows],
            self.flows[k][level.rows],
            product,
            product_flow,
            by_partition(product, P),
            by_partition(product_flow, P),
            is_scaled,
            scale,
            tuple(Place.of(self.units[j], rows, P) for rows in level.children),
            targets,
            self.log_scales[k][level.rows] if self.log_scales else None,
            tuple(Place.of(self.log_scales[j], rows, P) for rows in level.children) if self.log_scales else (),
        )

    def up(self, parameters: Parameters, evidence: Evidence) -> None:
        """Messages of all regions, children before parents."""
        if evidence.log_weights is not None:
            rows = evidence.log_weights.permute(2, 0, 1)
            if self.weights.shape != rows.shape:
                self.weights = torch.empty_like(rows)
            weights = torch.softmax(rows, -1, out=self.weights).transpose(0, 1)  # w / sum_v w_v: one pass over memory
        columns = [theta.mT for theta in parameters]  # (regions, M, K)
        for number in self.repeated:
            columns[number] = columns[number].contiguous()  # products with it are a sixth faster
        for inputs in self.inputs:
            if evidence.values is not None:
                inputs.look_up(columns, evidence.values)
            else:
                inputs.mix(columns, weights)
        for step in self.sums:
            step.multiply()
            step.mix(columns)

    def down(self, parameters: Parameters, gradients: Parameters | None, marginals: Tensor | None) -> None:
        """Flows of all regions, from the root's down; arguments as in `fast.backward`."""
        for step in reversed(self.sums):
            step.down(parameters, gradients)
        for inputs in self.inputs:
            if inputs.table_rows is None:
                inputs.down(parameters, gradients, marginals)
            elif gradients is not None:
                inputs.count_values(gradients)

    def is_above(self, bound: float) -> bool:
        """Whether every unit in the scale of its products surely is: by the smallest of each region, all samples."""
        pairs = [(self.units[k].flatten(1).amin(1), self.scales[k].flatten(1).amin(1)) for k in self.units]
        return float(torch.cat([units * scales for units, scales in pairs]).amin()) > bound

    def lowest(self) -> Tensor:
        """The smallest unit of each sample in the scale of its products, (B,); NaN if any is."""
        return torch.stack(
            [(self.units[k].amin(-1, keepdim=True) * self.scales[k]).amin((0, 2)) for k in self.units]
        ).amin(0)

    def log_root(self) -> Tensor:
        """log u of the root with all scales put back, (B,), summed in float64; infinite where it is impossible."""
        root = self.sums[-1]
        if root.log_scale is None:
            log_scale = torch.cat(list(self.scales.values())).log().sum(0, dtype=torch.float64)
        else:
            log_scale = root.log_scale[0]
        return (root.units[0].log() + log_scale)[:, 0]

    def forget(self, samples: Tensor) -> None:
        """Make samples harmless: a later backward pass finds flows of 0 and nothing that is no number."""
        for step in self.sums if self.keep else []:
            step.product[:, samples] = 0.0
        for units in self.units.values():
            units[:, samples] = 1.0


class Tapes:
    """The tapes of one circuit: each is lent to one query at a time, the last few that come back are kept.

    Fresh memory costs more than the arithmetic done in it. A thread that finds no tape to its measure makes its own.
    """

    def __init__(self) -> None:
        self._spare: list[Tape] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Tapes], tuple[()]]:
        return Tapes, ()  # a copy starts empty

    def take(self, plan: Plan, batch: int, like: Tensor, keep: bool, is_hard: bool) -> Tape:
        made_for = batch, like.dtype, like.device, keep, is_hard, torch.is_inference_mode_enabled()
        with self._lock:
            for i, tape in enumerate(self._spare):
                if tape.made_for == made_for:
                    return self._spare.pop(i)
        return Tape(plan, batch, like.detach(), keep, is_hard)

    def give_back(self, tape: Tape) -> None:
        with self._lock:
            self._spare = [tape, *self._spare[: SPARE - 1]]
