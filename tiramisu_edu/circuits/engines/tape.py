"""The buffers of the fast engine, and views into them for every level: laid out once, used for all later queries.

A chain of many small levels would spend more time on finding its operands than on arithmetic. Here they are found once
per plan and batch size; a query then runs down the tape and back.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .plan import WIDEST, Level, Plan, Rows, as_rows, indices

SPARE = 4  # tapes that are kept for later queries
SMALL = 0.45  # a product that no level has scaled, as a power of the smallest normal number: 9e-18 in float32


class Place(NamedTuple):
    """Some regions' messages or flows: a view (R, B, K) of them, or rows of a tensor (rows, B, K) that are no run."""

    source: Tensor
    rows: Tensor | None
    num_partitions: int = 1  # P > 1: seen as (R, P, B, K)
    is_shared: bool = False  # other regions write there too

    @classmethod
    def of(cls, source: Tensor, rows: Rows, num_partitions: int, is_shared: bool = False) -> Place:
        if isinstance(rows, slice):
            return cls(_by_region(source[rows], num_partitions), None, num_partitions, is_shared)
        return cls(source, rows.to(source.device), num_partitions, is_shared)

    def read(self) -> Tensor:
        if self.rows is None:
            return self.source
        return _by_region(self.source.index_select(0, self.rows), self.num_partitions)

    def write(self, values: Tensor) -> None:
        if self.rows is None:
            self.source.add_(values) if self.is_shared else self.source.copy_(values)
            return
        values = values if self.num_partitions == 1 else values.flatten(0, 1)
        write = self.source.index_add_ if self.is_shared else self.source.index_copy_
        write(0, self.rows, values)


def _by_region(rows: Tensor, num_partitions: int) -> Tensor:
    return rows if num_partitions == 1 else rows.unflatten(0, (-1, num_partitions))


@dataclass
class InputStep:
    """An input level: its messages and flows, (R, B, K), and under hard evidence the rows of its table last read."""

    level: Level
    units: Tensor
    flow: Tensor
    variables: Tensor  # (R,) long, in the order of the messages
    parameter_rows: Tensor  # (R,) long, likewise
    table_rows: Tensor | None = None  # (R * B,) long, of the table seen as (all regions * C, K)
    is_missing: Tensor | None = None  # (R * B,) bool; None: nothing is missing


class SumStep(NamedTuple):
    """A sum level: its messages and flows (R, B, K), its products (R, B, M), and the places of its children.

    `parts` and `part_flow` are the same products and their flows by partition, (R, P, B, J), or (R, B, J) if P is 1.
    """

    level: Level
    units: Tensor
    flow: Tensor
    product: Tensor
    product_flow: Tensor  # the flows of the first children themselves, where the children's rows are runs
    parts: Tensor
    part_flow: Tensor
    is_scaled: bool
    scale: Tensor  # (R, B, 1), what the products were divided by; of many factors 1, or tiny where they are too small
    wide_scale: Tensor | None  # (R, B, 1) float64, the largest product of many factors, in simple plans
    factors: tuple[Place, ...]  # the children's units
    targets: tuple[Place, ...]  # the children's flows, other than `product_flow`
    log_scale: Tensor | None  # (R, B, 1) float64, the log of all that was divided by so far; None in simple plans
    log_factors: tuple[Place, ...]  # the children's log scales


class Tape:
    """All messages of a plan for one batch size, per unit count K (rows, B, K), and the steps that fill them.

    Args:
        keep: the products of every level for a backward pass; otherwise all levels share one buffer.
        is_hard: put input regions in the order in which their parents list them, so that more children are read and
            written as runs. Soft evidence needs them by variable, because a copy of it in any other order costs more.
    """

    def __init__(self, plan: Plan, batch: int, like: Tensor, keep: bool, is_hard: bool):
        shapes = {k: (n + 1, batch, k) for k, n in plan.num_rows.items()}  # the last row is the constant 1
        self.made_for = batch, like.dtype, like.device, keep, is_hard
        self.dtype, self.keep = like.dtype, keep
        self.weights: Tensor | None = None  # (B, D, C), made when soft evidence comes
        self.units = {k: like.new_ones(shape) for k, shape in shapes.items()}
        self.scales = {k: like.new_ones(n, batch, 1) for k, (n, _, _) in shapes.items()}
        zeros = {k: torch.zeros_like(scale, dtype=torch.float64) for k, scale in self.scales.items()}
        self.log_scales = {} if plan.is_simple else zeros
        self.flows = {k: like.new_empty(shape) for k, shape in shapes.items()} if keep else self.units
        self.inputs: list[InputStep] = []
        self.sums: list[SumStep] = []
        self.steps: list[InputStep | SumStep] = []  # all of them, by level
        scaled = _scaled_levels(plan, like.dtype)
        moved = _order_of_use(plan) if is_hard and plan.is_tree else {}
        spare = like.new_empty(max(x.num_regions * x.num_products for x in plan.levels if not x.is_input) * batch)
        for number, level in enumerate(plan.levels):
            if level.is_input:
                k = level.num_units
                own = level, self.units[k][level.rows], self.flows[k][level.rows]
                self.inputs.append(InputStep(*own, *_in_order(level, moved.get(k), like.device)))
            else:
                children = [_moved(rows, moved.get(level.child_units)) for rows in level.children]
                self.sums.append(self._sum_step(level, children, number in scaled, plan.is_simple, spare))
            self.steps.append(self.inputs[-1] if level.is_input else self.sums[-1])

    def _sum_step(self, level: Level, children: list[Rows], is_scaled: bool, is_simple: bool, spare: Tensor) -> SumStep:
        k, j, R, P = level.num_units, level.child_units, level.num_regions, level.num_partitions
        batch = self.made_for[0]
        shape = R, batch, P * j
        shared = spare[: math.prod(shape)].view(shape)
        product = torch.empty_like(shared) if self.keep else shared
        factors = tuple(Place.of(self.units[j], rows, P) for rows in children)
        targets = tuple(Place.of(self.flows[j], rows, P, not level.exclusive) for rows in children)
        product_flow = shared
        if P == 1 and level.exclusive and all(place.rows is None for place in targets):
            product_flow, targets = targets[0].source, targets[1:]  # made where the first children expect it
        scale = self.scales[k][level.rows]
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
            torch.ones_like(scale, dtype=torch.float64) if is_simple and len(children) > WIDEST else None,
            factors,
            targets,
            None if is_simple else self.log_scales[k][level.rows],
            () if is_simple else tuple(Place.of(self.log_scales[j], rows, P) for rows in children),
        )

    def is_above(self, bound: float) -> bool:
        """Whether every unit in the scale of its products surely is: by the smallest of each region, all samples."""
        pairs = [(self.units[k].flatten(1).amin(1), self.scales[k].flatten(1).amin(1)) for k in self.units]
        return float(torch.cat([units * scales for units, scales in pairs]).amin()) > bound

    def lowest(self) -> Tensor:
        """The smallest unit in the scale of its products, per unit count and sample, (n, B); NaN if any is."""
        return torch.stack([(self.units[k].amin(-1, keepdim=True) * self.scales[k]).amin((0, 2)) for k in self.units])

    def log_root(self) -> Tensor:
        """log u of the root with all scales put back, (B,), summed in float64; infinite where it is impossible."""
        root = self.sums[-1]
        if root.log_scale is not None:
            return (root.units[0].log() + root.log_scale[0])[:, 0]
        log_scale = torch.cat(list(self.scales.values())).log().sum(0, dtype=torch.float64)
        for step in self.sums:
            if step.wide_scale is not None:
                log_scale += (step.wide_scale.log() - step.scale.log()).sum(0)
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
        made_for = batch, like.dtype, like.device, keep, is_hard
        with self._lock:
            for i, tape in enumerate(self._spare):
                if tape.made_for == made_for:
                    return self._spare.pop(i)
        return Tape(plan, batch, like.detach(), keep, is_hard)

    def give_back(self, tape: Tape) -> None:
        with self._lock:
            self._spare = [tape, *self._spare[: SPARE - 1]]


def by_partition(product: Tensor, num_partitions: int) -> Tensor:
    """Products (R, B, M) seen as (R, P, B, J); as they are if P is 1."""
    if num_partitions == 1:
        return product
    R, B, M = product.shape
    return product.view(R, B, num_partitions, M // num_partitions).transpose(1, 2)


def _scaled_levels(plan: Plan, dtype: torch.dtype) -> set[int]:
    """Which sum levels divide their products by a scale: where those of their parents would else become too small.

    Each variable is taken to make the messages above it smaller by 1 / C, and units of scaled products to be 1 / M.
    `SMALL` says how small is too small.
    """
    most = SMALL * -math.log(torch.finfo(dtype).tiny)
    num_factors = {k: torch.ones(n + 1) for k, n in plan.num_rows.items()}  # by row, of the products above it
    for level in plan.levels:
        for rows in () if level.is_input else level.children:
            num_factors[level.child_units][indices(rows)] = len(level.children)
    lost, scaled = {k: torch.zeros(n + 1) for k, n in plan.num_rows.items()}, set()  # nats, by row
    for number, level in enumerate(plan.levels):
        if level.is_input:
            lost[level.num_units][level.rows] = math.log(level.child_units)
            continue
        total = torch.stack([lost[level.child_units][indices(rows)] for rows in level.children]).sum(0)
        total = total.view(level.num_regions, -1).amax(1)
        if (total * num_factors[level.num_units][level.rows]).amax() > most:
            scaled.add(number)
            total.fill_(math.log(level.num_products))
        lost[level.num_units][level.rows] = total
    return scaled


def _order_of_use(plan: Plan) -> dict[int, Tensor]:
    """Per unit count the new place of each row: inputs as their parents list them, slot by slot; all others stay."""
    moved = {k: torch.arange(n + 1) for k, n in plan.num_rows.items()}
    sums = [level for level in plan.levels if not level.is_input]
    for level in (level for level in plan.levels if level.is_input):
        used = torch.cat([indices(rows) for x in sums if x.child_units == level.num_units for rows in x.children])
        own = torch.arange(level.start, level.start + level.num_regions)
        moved[level.num_units][used[(used >= level.start) & (used <= own[-1])]] = own
    return moved


def _moved(rows: Rows, moved: Tensor | None) -> Rows:
    return rows if moved is None else as_rows(moved[indices(rows)].tolist())


def _in_order(level: Level, moved: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Variables and parameter rows (R,) of an input level whose message rows are moved."""
    variables = indices(level.children[0])
    rows = torch.arange(level.num_regions) if level.parameter_rows is None else level.parameter_rows.cpu()
    if moved is not None:
        order = moved[level.rows].argsort()
        variables, rows = variables[order], rows[order]
    return variables.to(device), rows.to(device)
