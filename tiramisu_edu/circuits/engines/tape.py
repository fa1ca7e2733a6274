"""The buffers of the linear engine, and views into them for every level: laid out once, used for all later queries.

A chain of many small levels would spend more time on finding its operands than on arithmetic. Here they are found once
per plan and batch size; a query then runs down the tape and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .plan import Level, Plan, Rows, as_rows


class Place(NamedTuple):
    """Some regions' messages or flows: a view (R, B, K), or the rows of a tensor (rows, B, K) where they are no run."""

    source: Tensor
    rows: Tensor | None

    @classmethod
    def of(cls, source: Tensor, rows: Rows) -> Place:
        return cls(source[rows], None) if isinstance(rows, slice) else cls(source, rows.to(source.device))

    def read(self) -> Tensor:
        return self.source if self.rows is None else self.source.index_select(0, self.rows)

    def write(self, values: Tensor) -> None:
        if self.rows is None:
            self.source.copy_(values)
        else:
            self.source.index_copy_(0, self.rows, values)


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
    """A sum level: its messages and flows (R, B, K), its products (R, B, M), and the places of its children."""

    level: Level
    units: Tensor
    flow: Tensor
    product: Tensor
    product_flow: Tensor  # the flows of the first children themselves, where the children's rows are runs
    scale: Tensor  # (R, B, 1)
    factors: tuple[Place, ...]  # the children's units
    targets: tuple[Place, ...]  # the children's flows, other than `product_flow`


class Tape:
    """All messages of a plan for one batch size, per unit count K (rows, B, K), and the steps that fill them.

    Args:
        keep: the products of every level for a backward pass; otherwise all levels share one buffer.
        is_hard: put input regions in the order in which their parents list them, so that more children are read and
            written as runs. Soft evidence needs them by variable, because a copy of it in any other order costs more.
    """

    def __init__(self, plan: Plan, batch: int, like: Tensor, keep: bool, is_hard: bool):
        shapes = {k: (n + 1, batch, k) for k, n in plan.num_rows.items()}  # the last row is the constant 1
        self.dtype = like.dtype
        self.units = {k: like.new_ones(shape) for k, shape in shapes.items()}
        self.scales = {k: like.new_ones(n, batch, 1) for k, (n, _, _) in shapes.items()}
        self.flows = {k: like.new_empty(shape) for k, shape in shapes.items()} if keep else self.units
        self.inputs: list[InputStep] = []
        self.sums: list[SumStep] = []
        moved = _order_of_use(plan) if is_hard else {}
        spare = like.new_empty(max(x.num_regions * x.num_products for x in plan.levels if not x.is_input) * batch)
        for level in plan.levels:
            k = level.num_units
            own = level, self.units[k][level.rows], self.flows[k][level.rows]
            if level.is_input:
                self.inputs.append(InputStep(*own, *_in_order(level, moved.get(k), like.device)))
                continue
            children = [_moved(rows, moved.get(level.child_units)) for rows in level.children]
            shape = level.num_regions, batch, level.num_products
            shared = spare[: math.prod(shape)].view(shape)
            factors = tuple(Place.of(self.units[level.child_units], rows) for rows in children)
            targets = tuple(Place.of(self.flows[level.child_units], rows) for rows in children)
            product_flow = shared
            if all(place.rows is None for place in targets):  # made where the first children expect it
                product_flow, targets = targets[0].source, targets[1:]
            product = like.new_empty(shape) if keep else shared
            self.sums.append(SumStep(*own, product, product_flow, self.scales[k][level.rows], factors, targets))

    def lowest(self) -> float:
        """The smallest unit of all regions and samples, in the scale of its products; NaN if any is."""
        lowest = [(self.units[k].amin(-1, keepdim=True) * self.scales[k]).amin() for k in self.units]
        return float(torch.stack(lowest).amin())

    def log_root(self, plan: Plan) -> Tensor:
        """log u of the root with all scales put back, (B,), summed in float64."""
        log_scale = torch.cat(list(self.scales.values())).log().sum(0, dtype=torch.float64)
        return (self.units[1][plan.levels[-1].start].log() + log_scale)[:, 0]


def _order_of_use(plan: Plan) -> dict[int, Tensor]:
    """Per unit count the new place of each row: inputs as their parents list them, slot by slot; all others stay."""
    moved = {k: torch.arange(n + 1) for k, n in plan.num_rows.items()}
    sums = [level for level in plan.levels if not level.is_input]
    for level in (level for level in plan.levels if level.is_input):
        used = torch.cat([_indices(rows) for x in sums if x.child_units == level.num_units for rows in x.children])
        own = torch.arange(level.start, level.start + level.num_regions)
        moved[level.num_units][used[(used >= level.start) & (used <= own[-1])]] = own
    return moved


def _moved(rows: Rows, moved: Tensor | None) -> Rows:
    return rows if moved is None else as_rows(moved[_indices(rows)].tolist())


def _in_order(level: Level, moved: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Variables and parameter rows (R,) of an input level whose message rows are moved."""
    variables = _indices(level.children[0])
    rows = torch.arange(level.num_regions) if level.parameter_rows is None else level.parameter_rows.cpu()
    if moved is not None:
        order = moved[level.rows].argsort()
        variables, rows = variables[order], rows[order]
    return variables.to(device), rows.to(device)


def _indices(rows: Rows) -> Tensor:
    return torch.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows.cpu()
