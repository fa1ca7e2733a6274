"""Circuits from `.jpc` files of PyJuice (Liu, Ahmed, Van den Broeck 2024, arXiv 2406.00766).

    circuit = load_pyjuice("model.jpc")       # PyJuice need not be installed

A file lists vectors of nodes, each with a number of units over one scope. They become

    inputs    a region with a table of C probabilities per unit, C the largest number of categories, zeros at the end
    sums      a region with one weight matrix, zero where two blocks have no edge
    products  a partition of the sums above them. Unit k of a PyJuice product may multiply any unit of a factor, ours
              always unit k: where these differ, a sum region with weights 1 and 0 puts the factor's units in order

EM keeps these zeros only at pseudocount 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import StructureError, TiramisuError
from .circuit import Circuit
from .jpc_file import NodeVector, read_jpc
from .regions import Region, RegionGraph

TOLERANCE = 1e-3  # how far from one the sum of stored probabilities may be; float32 rounding is far below
MAX_NUMBERS = 2**32  # of all tables and weight matrices together: 16 GiB of float32


def load_pyjuice(path: str | Path) -> Circuit:
    """The circuit in a `.jpc` file, as `pyjuice.save` writes it; nothing in the file is executed.

    Inputs may be Categorical, Bernoulli or Literal. Tied vectors stay tied.

    Raises:
        FileError: when the file is missing, truncated, no `.jpc` file, or names anything but numbers and distributions.
        StructureError: for more than one root unit, inputs of several variables or of another distribution, weights
            that are missing, passed with every sample or do not sum to one, and whatever a `RegionGraph` refuses.
    """
    vectors = read_jpc(path)
    try:
        for index in range(len(vectors)):
            _check(index, vectors)
        return _Conversion(vectors).run()
    except TiramisuError:
        raise
    except (ValueError, IndexError) as error:  # of numpy: shapes or edges that lead nowhere
        raise StructureError(f"the node vectors of {path} do not fit together: {error}") from error


def _fail(index: int, why: str) -> StructureError:
    return StructureError(f"PyJuice node vector {index}: {why}")


def _num_categories(vector: NodeVector) -> int:
    name, numbers = vector.distribution, vector.numbers
    known = {"Categorical": numbers.get("num_cats", 0), "Bernoulli": 2, "Literal": numbers.get("lit", 0) + 1}
    if name not in known:
        raise StructureError(f"PyJuice inputs of the distribution {name} are not supported, only {', '.join(known)}")
    return known[name]


def _factor_units(product: NodeVector) -> np.ndarray:
    """(units, children): which unit of each child a unit multiplies."""
    if len(product.edges) == product.num_units:
        return product.edges
    within = np.arange(product.block_size)[None, :, None]
    return (product.edges[:, None, :] * product.block_size + within).reshape(product.num_units, -1)


def _check(index: int, vectors: Sequence[NodeVector]) -> None:
    """What neither numpy nor `RegionGraph` would notice."""
    v = vectors[index]
    children = [vectors[child] for child in v.children]
    if v.num_blocks < 1 or v.block_size < 1:
        raise _fail(index, f"it has {v.num_blocks} blocks of {v.block_size} units")
    if v.needs_outside_parameters:
        raise _fail(index, "weights that are passed with every sample are not supported")
    if v.kind == "Input" and len(v.scope) != 1:
        raise _fail(index, f"an input must have one variable, not {len(v.scope)}")
    if v.kind != "Input" and not children:
        raise _fail(index, "it has no children")
    if v.edges.ndim != 2 or (v.edges < 0).any():
        raise _fail(index, f"edge ids of shape {v.edges.shape} or below 0")
    if v.kind == "Product" and (v.edges.shape[1] != len(children) or len(v.edges) not in (v.num_blocks, v.num_units)):
        raise _fail(index, f"edge ids of shape {v.edges.shape} for {v.num_blocks} blocks, {len(children)} children")
    sizes = {child.block_size for child in children}
    by_block = v.kind == "Product" and len(v.edges) == v.num_blocks
    if (v.kind == "Sum" and len(sizes) > 1) or (by_block and sizes != {v.block_size}):
        raise _fail(index, f"its children differ in block size: {sorted(sizes)}")
    if v.source is not None:
        source = vectors[v.source] if 0 <= v.source < len(vectors) else None
        if source is None or source.source is not None:
            raise _fail(index, f"tied to vector {v.source}, which has no parameters of its own")
        below = [[vectors[c].num_blocks for c in x.children] for x in (v, source)]
        shapes = [(x.kind, x.num_blocks, x.block_size) for x in (v, source)]
        if shapes[0] != shapes[1] or below[0] != below[1] or not np.array_equal(v.edges, source.edges):
            raise _fail(index, f"tied to vector {v.source} of another shape")


class _Conversion:
    """Makes the regions bottom-up, leaving out vectors that the root does not reach."""

    def __init__(self, vectors: Sequence[NodeVector]):
        self.vectors = vectors
        self.num_categories = max((_num_categories(v) for v in vectors if v.kind == "Input"), default=1)
        self.regions: list[Region] = []
        self.tables: list[np.ndarray] = []  # per region, its probabilities
        self.region_of: dict[int, int] = {}  # by vector
        self.ordered: dict[tuple[int, bytes], int] = {}  # regions that put a vector's units in order
        self.owner: dict[int, int] = {}  # by vector with parameters, the first region that uses them

    def run(self) -> Circuit:
        root = len(self.vectors) - 1
        if self.vectors[root].num_units != 1:
            raise _fail(root, f"the root must have one unit, not {self.vectors[root].num_units}")
        numbers = sum(v.num_units * sum(self.vectors[c].num_units for c in v.children) for v in self.vectors)
        numbers += sum(v.num_units * self.num_categories for v in self.vectors if v.kind == "Input")
        if numbers > MAX_NUMBERS:
            raise StructureError(f"without sparsity it would have {numbers:,} weights, more than {MAX_NUMBERS:,}")
        reached = {root}
        for index in reversed(range(root + 1)):
            reached |= set(self.vectors[index].children) if index in reached else set()
        for index in sorted(reached):
            if self.vectors[index].kind == "Input":
                self._add(index, (), self.vectors[index].scope)
            elif self.vectors[index].kind == "Sum":
                below = self.vectors[index].children
                size = max(self.vectors[c].num_units for c in below)
                self._add(index, tuple(self._factors(c, size) for c in below))
        if self.vectors[root].kind != "Sum":  # our root is always a sum
            self._mix(root)
        num_variables = 1 + max(v.scope[0] for v in self.vectors if v.kind == "Input")
        circuit = Circuit(RegionGraph(tuple(self.regions), num_variables, self.num_categories))
        for index, table in enumerate(self.tables):
            circuit.set_region_table(index, torch.from_numpy(table))
        return circuit

    def _add(self, index: int, partitions: tuple[tuple[int, ...], ...], scope: tuple[int, ...] = ()) -> None:
        """The region of an input or a sum."""
        vector = self.vectors[index]
        source = index if vector.source is None else vector.source
        tied_to = self.owner.get(source)
        table = self._table(source) if tied_to is None else self.tables[tied_to]
        self.region_of[index] = self._append(partitions, table, scope, tied_to)
        self.owner.setdefault(source, self.region_of[index])

    def _mix(self, index: int) -> int:
        """A sum region with the units of an input or a product."""
        size = self.vectors[index].num_units
        return self._append((self._factors(index, size),), np.eye(size, dtype=np.float32))

    def _append(
        self,
        partitions: tuple[tuple[int, ...], ...],
        table: np.ndarray,
        scope: tuple[int, ...] = (),
        tied_to: int | None = None,
    ) -> int:
        if partitions:
            scope = tuple(sorted({v for child in partitions[0] for v in self.regions[child].scope}))
        self.regions.append(Region(scope, len(table), partitions, tied_to=tied_to))
        self.tables.append(table)
        return len(self.regions) - 1

    def _factors(self, index: int, size: int) -> tuple[int, ...]:
        """The regions of `size` units whose product is a vector; units beyond its own get the weight 0 above."""
        vector = self.vectors[index]
        is_product = vector.kind == "Product"
        units = _factor_units(vector) if is_product else np.arange(vector.num_units)[:, None]
        units = np.pad(units, ((0, size - len(units)), (0, 0)))
        children = vector.children if is_product else (index,)
        return tuple(self._in_order(child, column) for child, column in zip(children, units.T))

    def _in_order(self, index: int, units: np.ndarray) -> int:
        """The region whose unit k is unit `units[k]` of a vector."""
        if index not in self.region_of:
            self.region_of[index] = self._mix(index)  # a product of products
        region = self.region_of[index]
        if np.array_equal(units, np.arange(self.vectors[index].num_units)):
            return region
        key = index, units.tobytes()
        if key not in self.ordered:
            table = np.eye(self.vectors[index].num_units, dtype=np.float32)[units]
            self.ordered[key] = self._append(((region,),), table)
        return self.ordered[key]

    def _table(self, index: int) -> np.ndarray:
        """The probabilities of a vector, one row per unit, each summing to one exactly."""
        vector = self.vectors[index]
        if vector.parameters is None and vector.distribution != "Literal":
            raise _fail(index, "it has no parameters: initialise them in PyJuice before saving")
        rows = self._weights(vector) if vector.kind == "Sum" else self._input_table(vector)
        totals = rows.sum(1, keepdims=True, dtype=np.float64)
        if not np.isfinite(rows).all() or (rows < 0).any() or (abs(totals - 1) > TOLERANCE).any():
            raise _fail(index, f"its weights are no probabilities: they sum to {totals.min():.4g} … {totals.max():.4g}")
        return (rows / totals).astype(np.float32)

    def _weights(self, vector: NodeVector) -> np.ndarray:
        """(units, children * units of the largest child): zero where there is no edge, or no such unit."""
        assert vector.parameters is not None
        children = [self.vectors[child] for child in vector.children]
        b, c = vector.block_size, children[0].block_size
        blocks = np.zeros((vector.num_blocks, b, sum(child.num_blocks for child in children), c), np.float32)
        blocks[vector.edges[0], :, vector.edges[1]] = vector.parameters.reshape(-1, b, c)
        sizes = [child.num_units for child in children]
        parts = np.split(blocks.reshape(vector.num_units, -1), np.cumsum(sizes)[:-1], axis=1)
        return np.concatenate([np.pad(part, ((0, 0), (0, max(sizes) - part.shape[1]))) for part in parts], 1)

    def _input_table(self, vector: NodeVector) -> np.ndarray:
        if vector.distribution == "Literal":
            return np.tile(np.eye(self.num_categories)[vector.numbers["lit"]], (vector.num_units, 1))
        assert vector.parameters is not None
        table = vector.parameters.astype(np.float64).reshape(vector.num_units, -1)
        if vector.distribution == "Bernoulli":  # the parameter is the probability of 1
            table = np.concatenate([1 - table, table], 1)
        return np.pad(table, ((0, 0), (0, self.num_categories - table.shape[1])))
