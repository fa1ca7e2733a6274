"""What a circuit *is*, apart from how it is computed: regions, partitions, and the checks that make it a circuit.

A region holds K units over one scope (a set of variables). It is either an *input* region, whose units are
distributions of one variable, or a *sum* region. A partition multiplies one unit vector of each of its child
regions, elementwise, and a sum region mixes the units of all its partitions with a dense weight matrix:

    u_k(x) = sum_p sum_j theta[k, p, j] prod_{c in partition p} u^c_j(x)

(the layer form of Peharz et al. 2020, "Einsum networks", with elementwise products).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from ..errors import StructureError
from .inputs import FAMILIES


@dataclass(frozen=True)
class Region:
    """K units over one scope.

    Args:
        scope: the variables, sorted.
        num_units: K.
        partitions: per partition the indices of its child regions; empty for an input region.
        family: of an input region, a name in `inputs.FAMILIES`.
        tied_to: index of the region whose parameters this one uses, or None for its own.
    """

    scope: tuple[int, ...]
    num_units: int
    partitions: tuple[tuple[int, ...], ...] = ()
    family: str = "categorical"
    tied_to: int | None = None

    @property
    def is_input(self) -> bool:
        return not self.partitions


@dataclass(frozen=True)
class RegionGraph:
    """A smooth and decomposable directed acyclic graph of regions; the root is the last region and has one unit.

    Args:
        regions: in any order; every region except the root is a child of some partition.
        num_variables: D.
        num_categories: C, the same for every variable.

    Raises:
        StructureError: naming the region, when the graph is cyclic, not smooth, not decomposable or inconsistent.
    """

    regions: tuple[Region, ...]
    num_variables: int
    num_categories: int

    def __post_init__(self) -> None:
        if not self.regions:
            raise StructureError("a region graph needs at least one region")
        for index, region in enumerate(self.regions):
            _check_region(self, index, region)
        _ = self.heights  # refuses a cycle
        for index, region in enumerate(self.regions):
            _check_partitions(self, index, region)
        _check_root(self)

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """Per region, the length of the longest path down to an input region."""
        below = {i: [c for p in region.partitions for c in p] for i, region in enumerate(self.regions)}
        heights: dict[int, int] = {}
        try:
            for index in TopologicalSorter(below).static_order():
                heights[index] = 1 + max((heights[c] for c in below[index]), default=-1)
        except CycleError as error:
            raise _fail(self, error.args[1][0], "it is its own descendant: the graph has a cycle") from None
        return tuple(heights[i] for i in range(len(self.regions)))

    @property
    def root(self) -> Region:
        return self.regions[-1]

    @property
    def num_sum_edges(self) -> int:
        """Weights of all sum units, tied ones counted at each use."""
        return sum(r.num_units * num_products(self, r) for r in self.regions if not r.is_input)

    @property
    def num_stored(self) -> int:
        """How many numbers a file of the circuit holds: `num_parameters`, and what is fixed."""
        own = [r for r in self.regions if r.tied_to is None]
        return sum(r.num_units * (self.num_categories if r.is_input else num_products(self, r)) for r in own)

    @property
    def num_parameters(self) -> int:
        """Distinct numbers that learning sets: sum weights and tables of the inputs, tied ones counted once."""
        fixed = [r for r in self.regions if r.tied_to is None and r.is_input and r.family == "indicator"]
        return self.num_stored - sum(r.num_units for r in fixed) * self.num_categories

    def to_json(self) -> str:
        """The graph as text, for `from_json` and for files."""
        fields = [dataclasses.astuple(region) for region in self.regions]
        return json.dumps([self.num_variables, self.num_categories, fields], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RegionGraph:
        """The graph that `to_json` wrote.

        Raises:
            StructureError: when the text is not such a graph.
        """
        try:
            num_variables, num_categories, fields = json.loads(text)
            regions = tuple(
                Region(tuple(scope), units, tuple(tuple(p) for p in partitions), family, tied_to)
                for scope, units, partitions, family, tied_to in fields
            )
        except (ValueError, TypeError) as error:
            raise StructureError(f"not a region graph: {error}") from None
        return cls(regions, num_variables, num_categories)


def num_products(graph: RegionGraph, region: Region) -> int:
    """How many product units a sum region mixes: its partitions times their units."""
    return sum(graph.regions[partition[0]].num_units for partition in region.partitions)


def _fail(graph: RegionGraph, index: int, why: str) -> StructureError:
    region = graph.regions[index]
    scope = ", ".join(map(str, region.scope[:6])) + (", …" if len(region.scope) > 6 else "")
    return StructureError(f"region {index} (variables {scope}): {why}")


def _check_region(graph: RegionGraph, index: int, region: Region) -> None:
    scope = region.scope
    if not scope or list(scope) != sorted(set(scope)):
        raise _fail(graph, index, "its scope must be a sorted, non-empty set of variables")
    if scope[0] < 0 or scope[-1] >= graph.num_variables:
        raise _fail(graph, index, f"its scope leaves 0 … {graph.num_variables - 1}")
    if region.num_units < 1:
        raise _fail(graph, index, f"it needs at least one unit, not {region.num_units}")
    if region.is_input and len(scope) != 1:
        raise _fail(graph, index, f"an input region has one variable, not {len(scope)}")
    if region.family not in FAMILIES:
        raise _fail(graph, index, f"unknown input family {region.family!r}; known: {', '.join(FAMILIES)}")
    if region.is_input and region.family == "indicator" and region.num_units != graph.num_categories:
        raise _fail(graph, index, "an indicator region has one unit per category")
    for child in (c for partition in region.partitions for c in partition):
        if not 0 <= child < len(graph.regions):
            raise _fail(graph, index, f"its child {child} does not exist")
    if any(not partition for partition in region.partitions):
        raise _fail(graph, index, "it has an empty partition")


def _check_partitions(graph: RegionGraph, index: int, region: Region) -> None:
    for partition in region.partitions:
        scopes = [graph.regions[c].scope for c in partition]
        union = sorted(v for scope in scopes for v in scope)
        if len(union) != len(set(union)):
            twice = next(v for v in union if union.count(v) > 1)
            raise _fail(graph, index, f"not decomposable: children {partition} share variable {twice}")
        if tuple(union) != region.scope:
            raise _fail(graph, index, f"not smooth: children {partition} cover variables {union}")
        if len({graph.regions[c].num_units for c in partition}) != 1:
            raise _fail(graph, index, f"children {partition} of one product differ in their number of units")
    if len({graph.regions[partition[0]].num_units for partition in region.partitions}) > 1:
        raise _fail(graph, index, "its partitions differ in their number of units")
    if region.tied_to is not None:
        _check_tie(graph, index, region, region.tied_to)


def _check_tie(graph: RegionGraph, index: int, region: Region, owner: int) -> None:
    target = graph.regions[owner] if 0 <= owner < len(graph.regions) else None
    if target is None or target.tied_to is not None:
        raise _fail(graph, index, f"tied to {owner}, which is not a region with parameters of its own")
    shapes = {(r.is_input, r.family, r.num_units, num_products(graph, r)) for r in (region, target)}
    if len(shapes) > 1:
        raise _fail(graph, index, f"tied to region {owner} of another shape")


def _check_root(graph: RegionGraph) -> None:
    last = len(graph.regions) - 1
    if len(graph.root.scope) != graph.num_variables:  # all of them different, and in the range
        raise _fail(graph, last, f"the root must cover all {graph.num_variables} variables")
    if graph.root.num_units != 1 or graph.root.is_input:
        raise _fail(graph, last, "the root must be a sum region of one unit")
    used = {c for region in graph.regions for partition in region.partitions for c in partition}
    if last in used:
        raise _fail(graph, last, "the root cannot be a child")
    if unused := set(range(last)) - used:
        raise _fail(graph, min(unused), "it is the child of no partition")
