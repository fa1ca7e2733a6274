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

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import StructureError, TiramisuError
from .circuit import Circuit
from .jpc_file import NodeVector, read_jpc
from .regions import Region, RegionGraph

TOLERANCE = 1e-3  # how far from one the sum of stored probabilities may be; float32 rounding is far below
MAX_NUMBERS = 2**32  # of all tables and weight matrices together: 16 GiB of float32
Factors = tuple[tuple[int, ...], np.ndarray]  # vectors whose units are multiplied, and which units, (products, vectors)


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
        for index, vector in enumerate(vectors):
            for is_wrong, sentence in _faults(vector, vectors):
                if is_wrong:
                    raise _fail(index, sentence)
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


def _faults(v: NodeVector, vectors: Sequence[NodeVector]) -> Iterator[tuple[bool, str]]:
    """What neither numpy nor `RegionGraph` would notice: whether it is so, and the sentence; one by one."""
    children, shape = [vectors[child] for child in v.children], v.edges.shape
    yield v.num_blocks < 1 or v.block_size < 1, f"it has {v.num_blocks} blocks of {v.block_size} units"
    yield v.needs_outside_parameters, "weights that are passed with every sample are not supported"
    yield v.kind == "Input" and len(v.scope) != 1, f"an input must have one variable, not {len(v.scope)}"
    yield v.kind != "Input" and not children, "it has no children"
    yield v.edges.ndim != 2 or bool((v.edges < 0).any()), f"edge ids of shape {shape} or below 0"
    sizes, by_block = {child.block_size for child in children}, len(v.edges) == v.num_blocks
    if v.kind == "Product":
        misfit = shape[1] != len(children) or not (by_block or len(v.edges) == v.num_units)
        yield misfit, f"edge ids of shape {shape} for {v.num_blocks} blocks, {len(children)} children"
    differ = len(sizes) > 1 if v.kind == "Sum" else v.kind == "Product" and by_block and sizes != {v.block_size}
    yield differ, f"its children differ in block size: {sorted(sizes)}"
    if v.source is not None:
        is_owner = 0 <= v.source < len(vectors) and vectors[v.source].source is None
        yield not is_owner, f"tied to vector {v.source}, which has no parameters of its own"
        both = [
            (x.kind, x.num_blocks, x.block_size, x.edges.tolist(), [vectors[c].num_blocks for c in x.children])
            for x in (v, vectors[v.source])
        ]
        yield both[0] != both[1], f"tied to vector {v.source} of another shape"


class _Conversion:
    """Makes the regions bottom-up, leaving out vectors that the root does not reach."""

    def __init__(self, vectors: Sequence[NodeVector]):
        self.vectors = vectors
        self.num_categories = max((_num_categories(v) for v in vectors if v.kind == "Input"), default=1)
        self.tied = {i for own, v in enumerate(vectors) if v.source is not None for i in (own, v.source)}
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
            if self.vectors[index].kind != "Product":
                self._add(index)
        if self.vectors[root].kind != "Sum":  # our root is always a sum
            self._mix(root)
        num_variables = 1 + max(v.scope[0] for v in self.vectors if v.kind == "Input")
        circuit = Circuit(RegionGraph(tuple(self.regions), num_variables, self.num_categories))
        for index, table in enumerate(self.tables):
            circuit.set_region_table(index, torch.from_numpy(table))
        return circuit

    def _add(self, index: int) -> None:
        """The region of an input or a sum."""
        vector = self.vectors[index]
        source = index if vector.source is None else vector.source
        tied_to = self.owner.get(source)
        factors, column = ([], np.empty(0)) if vector.kind == "Input" else self._products(index)
        size = sum(len(units) for _, units in factors)
        table = self._table(source, column, size) if tied_to is None else self.tables[tied_to]
        self.region_of[index] = self._append(table, factors, vector.scope, tied_to)
        self.owner.setdefault(source, self.region_of[index])

    def _mix(self, index: int) -> int:
        """A sum region with the units of an input or a product."""
        return self._append(np.eye(self.vectors[index].num_units, dtype=np.float32), [self._multiplied(index)])

    def _append(
        self, table: np.ndarray, factors: list[Factors], scope: tuple[int, ...] = (), tied_to: int | None = None
    ) -> int:
        partitions = tuple(tuple(map(self._in_order, vectors, units.T)) for vectors, units in factors)
        if partitions:
            scope = tuple(sorted({v for child in partitions[0] for v in self.regions[child].scope}))
        self.regions.append(Region(scope, len(table), partitions, tied_to=tied_to))
        self.tables.append(table)
        return len(self.regions) - 1

    def _in_order(self, index: int, units: np.ndarray) -> int:
        """The region whose unit k is unit `units[k]` of a vector."""
        if index not in self.region_of:
            self.region_of[index] = self._mix(index)  # a product of products
        size = self.vectors[index].num_units
        if np.array_equal(units, np.arange(size)):
            return self.region_of[index]
        key = index, units.tobytes()
        if key not in self.ordered:
            everything = (index,), np.arange(size)[:, None]
            self.ordered[key] = self._append(np.eye(size, dtype=np.float32)[units], [everything])
        return self.ordered[key]

    def _multiplied(self, index: int) -> Factors:
        """The vectors whose units the units of a vector multiply, and which of them: of no product, its own."""
        vector = self.vectors[index]
        if vector.kind == "Product":
            return vector.children, _factor_units(vector)
        return (index,), np.arange(vector.num_units)[:, None]

    def _products(self, index: int) -> tuple[list[Factors], np.ndarray]:
        """The products below a sum: one partition for all that multiply the same vectors, and equal ones only once.

        So thousands of sparse products make a few regions. Sums that share weights keep every child apart.

        Returns:
            the partitions, all as long as the longest; and of each unit of each child in turn, its place in them.
        """
        parts = [self._multiplied(child) for child in self.vectors[index].children]
        keys: list[object] = [n if index in self.tied else vectors for n, (vectors, _) in enumerate(parts)]
        different = list(dict.fromkeys(keys))
        group = np.repeat([different.index(key) for key in keys], [len(units) for _, units in parts])
        factors, column = [], np.zeros_like(group)
        for number, key in enumerate(different):
            units = np.concatenate([units for (_, units), own in zip(parts, keys) if own == key])
            found = np.arange(len(units))
            if index not in self.tied:
                units, found = np.unique(units, axis=0, return_inverse=True)
            factors.append((parts[keys.index(key)][0], units))
            column[group == number] = found.reshape(-1)
        size = max(len(units) for _, units in factors)
        factors = [(vectors, np.pad(units, ((0, size - len(units)), (0, 0)))) for vectors, units in factors]
        return factors, size * group + column

    def _table(self, index: int, column: np.ndarray, size: int) -> np.ndarray:
        """The probabilities of a vector, one row per unit, each summing to one exactly."""
        vector = self.vectors[index]
        if vector.parameters is None and vector.distribution != "Literal":
            raise _fail(index, "it has no parameters: initialise them in PyJuice before saving")
        rows = self._weights(vector, column, size) if vector.kind == "Sum" else self._input_table(vector)
        totals = rows.sum(1, keepdims=True, dtype=np.float64)
        if not np.isfinite(rows).all() or (rows < 0).any() or (abs(totals - 1) > TOLERANCE).any():
            raise _fail(index, f"its weights are no probabilities: they sum to {totals.min():.4g} … {totals.max():.4g}")
        return (rows / totals).astype(np.float32)

    def _weights(self, vector: NodeVector, column: np.ndarray, size: int) -> np.ndarray:
        """(units, size): zero where there is no edge."""
        assert vector.parameters is not None
        b, c = vector.block_size, self.vectors[vector.children[0]].block_size
        rows = np.arange(vector.num_units).reshape(-1, b, 1)[vector.edges[0]]
        columns = column.reshape(-1, 1, c)[vector.edges[1]]
        weights = np.zeros((vector.num_units, size), np.float32)
        np.add.at(weights, (rows, columns), vector.parameters.reshape(-1, b, c))
        return weights

    def _input_table(self, vector: NodeVector) -> np.ndarray:
        if vector.distribution == "Literal":
            return np.tile(np.eye(self.num_categories)[vector.numbers["lit"]], (vector.num_units, 1))
        assert vector.parameters is not None
        table = vector.parameters.astype(np.float64).reshape(vector.num_units, -1)
        if vector.distribution == "Bernoulli":  # the parameter is the probability of 1
            table = np.concatenate([1 - table, table], 1)
        return np.pad(table, ((0, 0), (0, self.num_categories - table.shape[1])))
