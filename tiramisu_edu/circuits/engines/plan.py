"""From a region graph to a list of levels: regions of equal height and shape, stacked to one batched product.

Messages live in one tensor per unit count K, shape (regions with K units + 1, K, B), in log space. The last row is
the constant log 1 = 0: where partitions of one level differ in their number of children, missing ones point at it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..regions import Region, RegionGraph


@dataclass(frozen=True)
class Level:
    """R regions computed together; their messages are rows `start … start + R - 1` of those with `num_units` units.

    A sum level mixes P * K_in product units, the s-th factors of which are the rows `children[s]` of the messages with
    K_in units. An input level mixes C indicators: `children` holds one row of variables, (1, R).
    """

    num_units: int
    num_regions: int
    start: int
    parameter: int  # index into `Plan.parameters`
    parameter_rows: Tensor | None  # (R,) long, None: all rows in order (nothing is tied)
    children: Tensor  # (S, R * P) long
    child_units: int  # K_in; C for an input level
    is_input: bool
    exclusive: bool  # no child has another parent, so its flow is written, not added

    @property
    def num_products(self) -> int:
        """M, the product units (or categories) that each region of the level mixes."""
        return self.children.shape[1] // self.num_regions * self.child_units

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.num_regions)


@dataclass(frozen=True)
class Parameter:
    """Shape (R, K_out, M): M product units of a sum, or C categories of an input of the given family."""

    shape: tuple[int, int, int]
    family: str | None  # None for sums


@dataclass(frozen=True)
class Plan:
    """Levels bottom-up, the parameters they use, and where each region's units and parameters are."""

    levels: tuple[Level, ...]
    parameters: tuple[Parameter, ...]
    num_rows: dict[int, int]  # K -> regions with K units
    region_parameter: tuple[tuple[int, int], ...]  # per region (parameter, row)


def compile_plan(graph: RegionGraph) -> Plan:
    """Group the regions of a graph into levels, children before parents."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, region in enumerate(graph.regions):
        if region.tied_to is None:
            groups.setdefault(_shape_key(graph, i), []).append(i)
    owner = {i: (g, row) for g, members in enumerate(groups.values()) for row, i in enumerate(members)}
    parameter = [owner[i if r.tied_to is None else r.tied_to] for i, r in enumerate(graph.regions)]

    stacks: dict[tuple[int, int], list[int]] = {}
    for i in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        stacks.setdefault((graph.heights[i], parameter[i][0]), []).append(i)

    num_parents = [0] * len(graph.regions)
    for child in (c for r in graph.regions for partition in r.partitions for c in partition):
        num_parents[child] += 1
    row: dict[int, int] = {}
    num_rows: dict[int, int] = {}
    for members in stacks.values():
        for i in members:
            units = graph.regions[i].num_units
            row[i] = num_rows.get(units, 0)
            num_rows[units] = row[i] + 1

    levels = []
    for (_, g), members in stacks.items():
        first, rows = graph.regions[members[0]], [parameter[i][1] for i in members]
        in_order = rows == list(range(len(list(groups.values())[g])))
        child_units = graph.num_categories if first.is_input else graph.regions[first.partitions[0][0]].num_units
        partitions = [p for i in members for p in graph.regions[i].partitions]
        levels.append(
            Level(
                num_units=first.num_units,
                num_regions=len(members),
                start=row[members[0]],
                parameter=g,
                parameter_rows=None if in_order else torch.tensor(rows),
                children=_children([graph.regions[i] for i in members], row, num_rows.get(child_units, 0)),
                child_units=child_units,
                is_input=first.is_input,
                exclusive=all(num_parents[c] == 1 for partition in partitions for c in partition),
            )
        )
    parameters = tuple(_parameter(graph, members) for members in groups.values())
    return Plan(tuple(levels), parameters, num_rows, tuple(parameter))


def _shape_key(graph: RegionGraph, i: int) -> tuple[object, ...]:
    region = graph.regions[i]
    if region.is_input:
        return (0, region.num_units, region.family)
    return (
        graph.heights[i],
        region.num_units,
        len(region.partitions),
        graph.regions[region.partitions[0][0]].num_units,
    )


def _parameter(graph: RegionGraph, members: list[int]) -> Parameter:
    first = graph.regions[members[0]]
    if first.is_input:
        return Parameter((len(members), first.num_units, graph.num_categories), first.family)
    num_products = len(first.partitions) * graph.regions[first.partitions[0][0]].num_units
    return Parameter((len(members), first.num_units, num_products), None)


def _children(members: list[Region], row: dict[int, int], constant: int) -> Tensor:
    """(S, R * P): the s-th factor of every partition, the constant row where a partition has fewer factors."""
    if members[0].is_input:
        return torch.tensor([[region.scope[0] for region in members]])
    partitions = [partition for region in members for partition in region.partitions]
    width = max(map(len, partitions))
    padded = [[row[c] for c in partition] + [constant] * (width - len(partition)) for partition in partitions]
    return torch.tensor(padded).T.contiguous()
