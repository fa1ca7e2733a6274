"""From a region graph to a list of levels: regions of equal height and shape, stacked to one batched product.

The messages of all regions with K units are rows of one tensor. One more row, the last, is the constant 1: where
partitions of one level differ in their number of children, missing ones point at it.
Rows are ordered so that, wherever possible, the s-th children of a level lie side by side and are read without a copy.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, zip_longest

import torch
from torch import Tensor

from ..regions import RegionGraph
from ..regions import num_products as products_of

WIDEST = 8  # factors that are multiplied in the engine's own floats; products of more are made in float64
SMALL = 0.45  # a product that no level has scaled, as a power of the smallest normal number: 9e-18 in float32


@dataclass(frozen=True)
class Level:
    """R regions computed together; their messages are rows `start … start + R - 1` of those with `num_units` units.

    A sum level mixes M = P * K_in product units, the s-th factors of which are the rows `children[s]` of the messages
    with K_in units, one per partition. An input level mixes the C indicators of its variables, `children[0]`.
    """

    num_units: int
    num_regions: int  # R
    start: int
    parameter: int  # index into `Plan.parameters`
    parameter_rows: Tensor | None  # (R,) long, None: all rows in order (nothing is tied)
    shared_row: int | None  # the one row that all regions of a tied level share, if so
    children: Tensor  # (S, R P) long
    num_partitions: int  # P, of each region
    child_units: int  # K_in; C for an input level
    is_input: bool
    exclusive: bool  # no child (variable) has another parent (input), so its flow is written, not added

    @property
    def num_products(self) -> int:
        """M, the product units (or categories) that each region of the level mixes."""
        return self.num_partitions * self.child_units

    def to(self, device: torch.device) -> Level:
        """The same level with its indices on a device."""
        own = None if self.parameter_rows is None else self.parameter_rows.to(device)
        return replace(self, children=self.children.to(device), parameter_rows=own)

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
    """Levels bottom-up, the parameters they use, and where each region's parameters are."""

    levels: tuple[Level, ...]
    parameters: tuple[Parameter, ...]
    num_rows: dict[int, int]  # K -> regions with K units
    region_parameter: tuple[tuple[int, int], ...]  # per region (parameter, row)

    @cached_property
    def is_tree(self) -> bool:
        """Whether no region has two parents and no variable two input regions."""
        return all(level.exclusive for level in self.levels)

    @cached_property
    def is_simple(self) -> bool:
        """Whether this is a tree, and each region has one partition into a few."""
        return self.is_tree and all(x.num_partitions == 1 and len(x.children) <= WIDEST for x in self.levels)

    def by_use(self) -> Plan:
        """The same tree with its input regions in the order in which their parents list them: more children are runs.

        For hard evidence. A copy of soft evidence in any other order than by variable costs more than it saves.
        """
        place = {k: torch.arange(n + 1) for k, n in self.num_rows.items()}
        for level in self.levels:
            if level.is_input:
                parents = [x for x in self.levels if not x.is_input and x.child_units == level.num_units]
                used = torch.cat([x.children.flatten() for x in parents])
                own = torch.arange(level.num_regions) + level.start
                place[level.num_units][used[(used >= own[0]) & (used <= own[-1])]] = own
        return replace(self, levels=tuple(_moved(level, place) for level in self.levels))

    def scaled_levels(self, dtype: torch.dtype) -> set[int]:
        """Which sum levels divide their products by a scale: where those of their parents would else become too small.

        Each variable is taken to make the messages above it smaller by 1 / C, and units of scaled products to be 1 / M.
        `SMALL` says how small is too small.
        """
        most = SMALL * -math.log(torch.finfo(dtype).tiny)
        num_factors = {k: torch.ones(n + 1) for k, n in self.num_rows.items()}  # by row, of the products above it
        lost = {k: torch.zeros(n + 1) for k, n in self.num_rows.items()}  # nats, by row
        for level in (level for level in self.levels if not level.is_input):
            num_factors[level.child_units][level.children] = len(level.children)
        scaled = set()
        for number, level in enumerate(self.levels):
            nats = torch.full((level.num_regions,), math.log(level.num_products))
            if not level.is_input:
                below = lost[level.child_units][level.children].sum(0).view(level.num_regions, -1).amax(1)
                if (below * num_factors[level.num_units][level.rows]).amax() > most:
                    scaled.add(number)
                else:
                    nats = below
            lost[level.num_units][level.rows] = nats
        return scaled

    @cached_property
    def floats_per_sample(self) -> int:
        """Numbers that a forward and backward pass holds per sample: messages, flows, and what forward keeps."""
        units = sum(k * (rows + 1) for k, rows in self.num_rows.items())
        return 3 * units + sum(level.num_regions * level.num_products for level in self.levels)

    def to(self, device: torch.device) -> Plan:
        """The same plan with its indices on a device."""
        return replace(self, levels=tuple(level.to(device) for level in self.levels))


def _moved(level: Level, place: dict[int, Tensor]) -> Level:
    """A level after rows have moved: of an input level its variables, of a sum level its children."""
    if not level.is_input:
        return replace(level, children=place[level.child_units][level.children])
    order = place[level.num_units][level.rows].argsort()
    rows = torch.arange(level.num_regions) if level.parameter_rows is None else level.parameter_rows
    return replace(level, children=level.children[:, order], parameter_rows=rows[order])


def unit_weight(level: Level, parameters: list[Tensor], region: Tensor, unit: Tensor) -> Tensor:
    """(n, M): the parameters of single units, given by their region within the level and their number, (n,) each."""
    row = region if level.parameter_rows is None else level.parameter_rows[region]
    return parameters[level.parameter][row, unit]


def laid_out(table: Tensor) -> Tensor:
    """An input table (R, K, C), units innermost in memory: hard evidence reads whole rows of them. On a GPU as is."""
    return table.contiguous() if table.is_cuda else table.mT.contiguous().mT


def compile_plan(graph: RegionGraph) -> Plan:
    """Group the regions of a graph into levels, children before parents."""
    regions, stacks = graph.regions, _ordered_stacks(graph)
    groups: dict[tuple[object, ...], list[int]] = {}  # regions whose parameters lie in one tensor
    row: dict[int, int] = {}
    num_rows: dict[int, int] = {}
    for i in chain(*stacks):
        row[i] = num_rows.get(regions[i].num_units, 0)
        num_rows[regions[i].num_units] = row[i] + 1
        if regions[i].tied_to is None:
            groups.setdefault(_shape_key(graph, i), []).append(i)
    place = {i: (g, n) for g, members in enumerate(groups.values()) for n, i in enumerate(members)}
    owned = tuple(place[_owner(graph, i)] for i in range(len(regions)))
    parameters = tuple(_parameter(graph, members) for members in groups.values())

    exclusive, levels = _exclusive(graph), []
    for members in stacks:
        first, (parameter, _) = regions[members[0]], owned[members[0]]
        partitions = [partition for i in members for partition in regions[i].partitions]
        child_units = regions[partitions[0][0]].num_units if partitions else graph.num_categories
        children = [tuple(row[c] for c in partition) for partition in partitions]
        slots = zip_longest(*(children or [regions[i].scope for i in members]), fillvalue=num_rows.get(child_units))
        rows = [owned[i][1] for i in members]
        is_tied = rows != list(range(parameters[parameter].shape[0]))
        levels.append(
            Level(
                num_units=first.num_units,
                num_regions=len(members),
                start=row[members[0]],
                parameter=parameter,
                parameter_rows=torch.tensor(rows) if is_tied else None,
                shared_row=rows[0] if is_tied and len(set(rows)) == 1 else None,
                children=torch.tensor(list(slots)),
                num_partitions=max(1, len(first.partitions)),
                child_units=child_units,
                is_input=first.is_input,
                exclusive=all(exclusive[i] for i in members),
            )
        )
    return Plan(tuple(levels), parameters, num_rows, owned)


def _ordered_stacks(graph: RegionGraph) -> list[list[int]]:
    """The members of each level, bottom-up; inputs by variable, sums as their parents' partitions list them."""
    stacks: dict[tuple[object, ...], list[int]] = {}
    for i in sorted(range(len(graph.regions)), key=lambda i: (graph.heights[i], graph.regions[i].scope[0], i)):
        stacks.setdefault((graph.heights[i], *_shape_key(graph, _owner(graph, i))), []).append(i)
    place: dict[int | None, int] = {}
    for members in reversed(stacks.values()):
        if not graph.regions[members[0]].is_input:
            members.sort(key=lambda i: place.get(i, -1))
        for child in chain(*zip_longest(*(p for i in members for p in graph.regions[i].partitions))):
            place.setdefault(child, len(place))
    return list(stacks.values())


def _exclusive(graph: RegionGraph) -> list[bool]:
    """Of each region whether no child of it has another parent; of an input whether its variable has no other."""
    parents = Counter(c for region in graph.regions for partition in region.partitions for c in partition)
    inputs = Counter(region.scope[0] for region in graph.regions if region.is_input)
    return [
        inputs[r.scope[0]] == 1 if r.is_input else all(parents[c] == 1 for partition in r.partitions for c in partition)
        for r in graph.regions
    ]


def _owner(graph: RegionGraph, i: int) -> int:
    """The region whose parameters region i uses."""
    tied_to = graph.regions[i].tied_to
    return i if tied_to is None else tied_to


def _shape_key(graph: RegionGraph, i: int) -> tuple[object, ...]:
    """Equal for regions whose parameters lie in one tensor."""
    region = graph.regions[i]
    if region.is_input:
        return (0, region.num_units, region.family)
    num_partitions, child_units = len(region.partitions), graph.regions[region.partitions[0][0]].num_units
    return (graph.heights[i], region.num_units, num_partitions, child_units)


def _parameter(graph: RegionGraph, members: list[int]) -> Parameter:
    first = graph.regions[members[0]]
    num_products = graph.num_categories if first.is_input else products_of(graph, first)
    return Parameter((len(members), first.num_units, num_products), first.family if first.is_input else None)
