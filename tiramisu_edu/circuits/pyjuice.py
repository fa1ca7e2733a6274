"""Circuits from PyJuice (Liu, Ahmed, Van den Broeck 2024, arXiv 2406.00766): its files and its node graphs.

    circuit = load_pyjuice("model.jpc")       # PyJuice need not be installed
    circuit = from_pyjuice(root)              # root of a node graph; of a compiled model `model.root_ns`

Categorical, Bernoulli and Literal inputs become tables of C probabilities, C the largest number of categories; a
variable with fewer has zeros at the end, which EM keeps only at pseudocount 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import StructureError
from .circuit import Circuit
from .jpc_file import read_jpc
from .node_vectors import (
    Distribution,
    NodeVector,
    check,
    connections,
    factor_units,
    fail,
    region_sizes,
    weight_matrix,
)
from .regions import Region, RegionGraph

Piece = tuple[int, int]  # (vector, which of its regions)
TOLERANCE = 1e-3  # how far from one the sum of stored probabilities may be; float32 rounding is far below


def load_pyjuice(path: str | Path) -> Circuit:
    """The circuit in a `.jpc` file, as `pyjuice.save` writes it; nothing in the file is executed.

    Raises:
        FileError: when the file is missing, truncated, no `.jpc` file, or names anything but numbers and distributions.
        StructureError: when the circuit cannot be expressed; see `from_pyjuice`.
    """
    return _circuit(read_jpc(path))


def from_pyjuice(root_node: Any) -> Circuit:
    """The circuit under a PyJuice node with one unit. Of a compiled model, call its `update_parameters()` first.

    Dense vectors become one region each, block-sparse ones a region per block, unit-sparse ones a region per unit.
    Tied vectors stay tied.

    Raises:
        StructureError: for more than one root unit, inputs of several variables or of another distribution, weights
            that are missing, passed with every sample or do not sum to one, and whatever a `RegionGraph` refuses.
    """
    nodes = _children_first(root_node)
    index = {id(node): i for i, node in enumerate(nodes)}
    return _circuit([_vector(node, index) for node in nodes])


def _children_first(root: Any) -> list[Any]:
    """All nodes under the root, and those they borrow parameters from, each after its children."""
    order: list[Any] = []
    met: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            order.append(node)
        elif id(node) not in met:
            met.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.chs))
            if node._source_node is not None:
                stack.append((node._source_node, False))
    return order


def _vector(node: Any, index: dict[int, int]) -> NodeVector:
    parameters, edges, source = getattr(node, "_params", None), getattr(node, "edge_ids", None), node._source_node
    distribution = None
    if node.is_input():
        numbers = {name: value for name, value in vars(node.dist).items() if isinstance(value, int)}
        distribution = Distribution(type(node.dist).__name__, numbers)
    return NodeVector(
        kind="Input" if node.is_input() else "Product" if node.is_prod() else "Sum",
        num_blocks=node.num_node_blocks,
        block_size=node.block_size,
        children=tuple(index[id(child)] for child in node.chs),
        edge_ids=None if edges is None else edges.detach().cpu().numpy(),
        parameters=None if parameters is None else parameters.detach().float().cpu().numpy(),
        scope=tuple(node.scope.to_list()) if node.is_input() else (),
        distribution=distribution,
        source=None if source is None else index[id(source)],
        needs_outside_parameters=hasattr(node, "external_params"),
    )


def _circuit(vectors: list[NodeVector]) -> Circuit:
    check(vectors)
    if vectors[-1].num_units != 1:
        raise fail(len(vectors) - 1, f"the root must have one unit, not {vectors[-1].num_units}")
    graph, thetas = _Conversion(vectors).run()
    circuit = Circuit(graph)
    with torch.no_grad():
        for i, theta in thetas.items():
            parameter, row = circuit.plan.region_parameter[i]
            circuit.parameter_list[parameter][row].copy_(torch.from_numpy(theta))
    return circuit


class _Conversion:
    """Cuts node vectors into regions, bottom-up, leaving out what the root does not reach."""

    def __init__(self, vectors: list[NodeVector]):
        self.vectors = vectors
        self.sizes = region_sizes(vectors)
        self.num_categories = max(
            (_num_categories(v.distribution) for v in vectors if v.distribution is not None), default=1
        )
        self.regions: list[Region] = []
        self.index: dict[Piece, int] = {}
        self.owners: dict[Piece, int] = {}  # the first region with the parameters of this piece
        self.thetas: dict[int, np.ndarray] = {}
        self.tables: dict[int, np.ndarray] = {}  # all parameters of a vector, while its regions are made

    def run(self) -> tuple[RegionGraph, dict[int, np.ndarray]]:
        root = len(self.vectors) - 1
        partitions = self._reachable(root)
        for piece in sorted(partitions):
            self._add(piece, partitions[piece])
        if self.vectors[root].kind != "Sum":  # our root is always a sum: of one product with weight one
            factors = self._factors((root, 0)) if self.vectors[root].kind == "Product" else [(root, 0)]
            self._append((tuple(self.index[f] for f in factors),), 1)
            self.thetas[len(self.regions) - 1] = np.ones((1, 1))
        num_variables = 1 + max(v.scope[0] for v in self.vectors if v.kind == "Input")
        return RegionGraph(tuple(self.regions), num_variables, self.num_categories), self.thetas

    def _reachable(self, root: int) -> dict[Piece, list[Piece]]:
        """Per input or sum region that the root reaches the products (or inputs) it mixes, in order of its weights."""
        mixes: dict[Piece, list[Piece]] = {}
        waiting: Iterable[Piece] = [(root, 0)]
        if self.vectors[root].kind == "Product":
            waiting = self._factors((root, 0))
        stack = list(waiting)
        while stack:
            piece = stack.pop()
            if piece not in mixes:
                mixes[piece] = self._mixed(piece) if self.vectors[piece[0]].kind == "Sum" else []
                stack += [factor for product in mixes[piece] for factor in self._factors(product)]
        return mixes

    def _mixed(self, piece: Piece) -> list[Piece]:
        index, number = piece
        vector = self.vectors[index]
        children = [self.vectors[child] for child in vector.children]
        block = number * self.sizes[index] // vector.block_size  # of a whole vector the first: its blocks agree
        out: list[Piece] = []
        for child, linked in zip(vector.children, connections(vector, children)):
            units = np.repeat(linked[block], self.vectors[child].block_size)
            out += [(child, int(j)) for j in np.flatnonzero(units[:: self.sizes[child]])]
        return out

    def _factors(self, product: Piece) -> list[Piece]:
        """The regions that a product region multiplies; an input mixed by a sum is a product of one."""
        index, number = product
        vector = self.vectors[index]
        if vector.kind == "Input":
            return [product]
        units = factor_units(vector)[number * self.sizes[index]]
        return [(child, int(unit) // self.sizes[child]) for child, unit in zip(vector.children, units)]

    def _add(self, piece: Piece, mixes: Sequence[Piece]) -> None:
        index, number = piece
        size = self.sizes[index]
        vector = self.vectors[index]
        key = (index if vector.source is None else vector.source, number)
        partitions = tuple(tuple(self.index[factor] for factor in self._factors(product)) for product in mixes)
        self._append(partitions, size, vector.scope, self.owners.get(key))
        self.index[piece] = region = len(self.regions) - 1
        if key in self.owners:
            return
        self.owners[key] = region
        if key[0] not in self.tables:
            self.tables = {key[0]: self._table(key[0])}
        rows = self.tables[key[0]][number * size : (number + 1) * size]
        self.thetas[region] = _normalised(key[0], rows[:, self._columns(vector, mixes)] if mixes else rows)

    def _append(
        self, partitions: tuple[tuple[int, ...], ...], size: int, scope: Sequence[int] = (), tied_to: int | None = None
    ) -> None:
        if partitions:
            scope = sorted({v for child in partitions[0] for v in self.regions[child].scope})
        self.regions.append(Region(tuple(scope), size, partitions, tied_to=tied_to))

    def _columns(self, vector: NodeVector, mixes: Sequence[Piece]) -> np.ndarray:
        """Which columns of a sum's weight matrix belong to the products it mixes."""
        starts, start = {}, 0
        for child in vector.children:
            starts[child] = start
            start += self.vectors[child].num_units
        pieces = [np.arange(self.sizes[c]) + starts[c] + number * self.sizes[c] for c, number in mixes]
        return np.concatenate(pieces)

    def _table(self, index: int) -> np.ndarray:
        vector = self.vectors[index]
        if vector.parameters is None and not (vector.distribution and vector.distribution.name == "Literal"):
            raise fail(index, "it has no parameters: initialise them in PyJuice before saving")
        if vector.kind == "Sum":
            return weight_matrix(vector, [self.vectors[child] for child in vector.children])
        table = _input_table(vector)
        return np.pad(table, ((0, 0), (0, self.num_categories - table.shape[1])))


def _num_categories(distribution: Distribution) -> int:
    known = {"Categorical": lambda n: n["num_cats"], "Bernoulli": lambda n: 2, "Literal": lambda n: n["lit"] + 1}
    if distribution.name not in known:
        raise StructureError(
            f"PyJuice inputs of the distribution {distribution.name} are not supported, only {', '.join(known)}"
        )
    return known[distribution.name](distribution.numbers)


def _input_table(vector: NodeVector) -> np.ndarray:
    """(units, categories) probabilities of the inputs; a Bernoulli parameter is the probability of 1."""
    assert vector.distribution is not None
    name, count = vector.distribution.name, _num_categories(vector.distribution)
    if name == "Literal":
        return np.tile(np.eye(count)[-1], (vector.num_units, 1))
    assert vector.parameters is not None
    numbers = vector.parameters.astype(np.float64).reshape(vector.num_units, -1)
    return np.concatenate([1 - numbers, numbers], 1) if name == "Bernoulli" else numbers


def _normalised(index: int, rows: np.ndarray) -> np.ndarray:
    """Rows that sum to one exactly, float32 rounding taken out."""
    totals = rows.sum(1, keepdims=True)
    if not np.isfinite(rows).all() or (rows < 0).any() or (abs(totals - 1) > TOLERANCE).any():
        raise fail(index, f"its weights are no probabilities: they sum to {totals.min():.4g} … {totals.max():.4g}")
    return rows / totals
