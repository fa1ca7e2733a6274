"""What a circuit is, in numbers and in the properties that make its queries exact.

>>> from tiramisu_edu.circuits import structures
>>> summary = summarize(structures.hmm(4, num_categories=2, num_latents=3))
>>> summary.num_units, summary.num_edges, summary.is_smooth
(22, 51, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .engines.plan import Parameter, compile_plan
from .inputs import get_family
from .regions import RegionGraph, num_products

if TYPE_CHECKING:
    from .circuit import Circuit


@dataclass(frozen=True)
class Summary:
    """The size of a circuit and its properties; units, products and edges are those of `to_reference`.

    Attributes:
        num_variables: D.
        num_categories: C.
        num_regions: regions, inputs and sums together.
        num_units: scalar inputs and sums, K per region.
        num_products: scalar products.
        num_edges: edges between scalar nodes: what one pass costs.
        num_parameters: numbers that learning sets, tied ones counted once.
        parameter_bytes: bytes of the stored tensors, fixed tables included.
        num_levels: batched matrix products of a forward pass.
        is_smooth: the partitions of every region have one scope.
        is_decomposable: the children of every partition share no variable.
        is_deterministic: at every x at most one term of each sum is positive; None where the structure does not
            decide it. False of a graph holds for parameters that are all positive.
        bytes_per_sample: bytes that a forward and backward pass holds for each row of evidence.
    """

    num_variables: int
    num_categories: int
    num_regions: int
    num_units: int
    num_products: int
    num_edges: int
    num_parameters: int
    parameter_bytes: int
    num_levels: int
    is_smooth: bool
    is_decomposable: bool
    is_deterministic: bool | None
    bytes_per_sample: int

    def __str__(self) -> str:
        deterministic = "perhaps deterministic" if self.is_deterministic is None else "deterministic"
        properties = [
            ("" if self.is_smooth else "not ") + "smooth",
            ("" if self.is_decomposable else "not ") + "decomposable",
            ("not " if self.is_deterministic is False else "") + deterministic,
        ]
        numbers = {
            "regions": (self.num_regions, f"in {_count(self.num_levels, 'level')}"),
            "units": (self.num_units, "inputs and sums"),
            "products": (self.num_products, ""),
            "edges": (self.num_edges, "the cost of one pass"),
            "parameters": (self.num_parameters, _bytes(self.parameter_bytes)),
        }
        width = max(len(f"{value:,}") for value, _ in numbers.values())
        return "\n".join(
            [
                f"{_count(self.num_variables, 'variable')} of {self.num_categories} categories",
                f"  {', '.join(properties)}",
                *(f"  {name:<10}  {value:>{width},}  {note}".rstrip() for name, (value, note) in numbers.items()),
                f"  a query holds {_bytes(self.bytes_per_sample)} per sample",
            ]
        )


def summarize(circuit: Circuit | RegionGraph) -> Summary:
    """The summary of a circuit, or of a structure whose parameters would be float32.

    Smoothness and decomposability are recomputed from the variables of the inputs, whatever the regions declare.

    Args:
        circuit: a circuit or its region graph.
    """
    if isinstance(circuit, RegionGraph):
        graph, plan, dtype = circuit, compile_plan(circuit), torch.float32
    else:
        graph, plan, dtype = circuit.graph, circuit.plan, circuit.dtype
    sums = [region for region in graph.regions if not region.is_input]
    partitions = [partition for region in sums for partition in region.partitions]
    scopes = _scopes(graph)
    is_deterministic = _is_deterministic(graph)
    if is_deterministic is False and not isinstance(circuit, RegionGraph) and _has_zeros(circuit):
        is_deterministic = None  # a zero may take away the second term
    return Summary(
        num_variables=graph.num_variables,
        num_categories=graph.num_categories,
        num_regions=len(graph.regions),
        num_units=graph.num_units,
        num_products=sum(num_products(graph, region) for region in sums),
        num_edges=graph.num_sum_edges + sum(len(p) * graph.regions[p[0]].num_units for p in partitions),
        num_parameters=graph.num_parameters,
        parameter_bytes=dtype.itemsize * sum(_num_stored(p) for p in plan.parameters),
        num_levels=len(plan.levels),
        is_smooth=all(len({_union(p, scopes) for p in region.partitions}) == 1 for region in sums),
        is_decomposable=all(len(_union(p, scopes)) == sum(len(scopes[c]) for c in p) for p in partitions),
        is_deterministic=is_deterministic,
        bytes_per_sample=dtype.itemsize * plan.floats_per_sample,
    )


def _bottom_up(graph: RegionGraph) -> list[int]:
    return sorted(range(len(graph.regions)), key=lambda i: graph.heights[i])


def _scopes(graph: RegionGraph) -> dict[int, frozenset[int]]:
    """Per region the variables of the inputs below it."""
    scopes: dict[int, frozenset[int]] = {}
    for index in _bottom_up(graph):
        region = graph.regions[index]
        children = [c for partition in region.partitions for c in partition]
        scopes[index] = frozenset(region.scope) if region.is_input else _union(children, scopes)
    return scopes


def _union(children: Sequence[int], scopes: dict[int, frozenset[int]]) -> frozenset[int]:
    return frozenset().union(*(scopes[c] for c in children))


# Where the units of a region are positive: all of them at every x, or unit j exactly where some variable is j.
FULL, SPLIT, UNKNOWN = "full", "split", "unknown"


def _is_deterministic(graph: RegionGraph) -> bool | None:
    """Whether the structure alone makes every sum deterministic, if no weight is zero; None if it cannot say."""
    support: dict[int, str] = {}
    verdicts: list[bool | None] = []
    for index in _bottom_up(graph):
        region = graph.regions[index]
        if region.is_input:
            support[index] = SPLIT if region.family == "indicator" else FULL
            continue
        products = [_product_support([support[c] for c in partition]) for partition in region.partitions]
        if num_products(graph, region) == 1:  # nothing to choose from
            verdicts.append(True)
            support[index] = FULL if products == [FULL] else UNKNOWN
        elif products == [SPLIT]:  # one term per value of a variable, so the values together cover every x
            verdicts.append(True)
            support[index] = FULL
        elif UNKNOWN in products:
            verdicts.append(None)
            support[index] = UNKNOWN
        else:  # two full terms meet everywhere, and a term of one partition meets some term of another
            verdicts.append(False)
            support[index] = FULL
    return False if False in verdicts else None if None in verdicts else True


def _product_support(children: list[str]) -> str:
    """Support of the products of a partition; two split children leave gaps, which is not followed up."""
    if UNKNOWN in children or children.count(SPLIT) > 1:
        return UNKNOWN
    return SPLIT if SPLIT in children else FULL


def _has_zeros(circuit: Circuit) -> bool:
    """Whether a parameter that is not fixed by its family is zero."""
    tables = zip(circuit.tables(), circuit.plan.parameters)
    return any(bool((theta == 0).any()) for theta, p in tables if p.family != "indicator")


def _num_stored(parameter: Parameter) -> int:
    """Entries of a parameter tensor: the table or weights themselves, or what its family makes a table from."""
    R, K, M = parameter.shape
    if parameter.family is None or not get_family(parameter.family).is_learned:
        return R * K * M
    return R * K * get_family(parameter.family).size(M)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _bytes(number: int) -> str:
    """A number of bytes in the largest unit that keeps it at one or above."""
    size, unit = float(number), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{number:,} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
