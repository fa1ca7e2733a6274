"""Vectors of nodes, as PyJuice describes a circuit, and how finely each must be cut to become our regions.

A node vector holds `num_blocks` blocks of `block_size` units. Block e[i, s] of the s-th child is the s-th factor of
block i of a product; an edge (i, j) of a sum connects all units of its block i with all of the j-th block of its
children, counted through. Where factors are in order and sums are full, a whole vector is one region; else each block
is one, and where single units are picked (PyJuice's sparse products) each unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import StructureError

WHOLE, BLOCKS, UNITS = range(3)


@dataclass(frozen=True)
class Distribution:
    """Name of an input distribution of PyJuice, and the whole numbers that it carries (such as `num_cats`)."""

    name: str
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class NodeVector:
    """Inputs, products or sums over one scope.

    Args:
        kind: `Input`, `Product` or `Sum`.
        children: indices of earlier vectors.
        edge_ids: of a product (num_blocks or num_units, children), of a sum (2, edges), both counted from 0.
        parameters: of a sum (edges, block_size, block size of the children), of an input all numbers in one row.
        scope: of an input, its variables.
        source: index of the vector whose parameters this one uses, or None.
        needs_outside_parameters: its weights come with every sample and are not stored.
    """

    kind: str
    num_blocks: int
    block_size: int
    children: tuple[int, ...] = ()
    edge_ids: np.ndarray | None = None
    parameters: np.ndarray | None = None
    scope: tuple[int, ...] = ()
    distribution: Distribution | None = None
    source: int | None = None
    needs_outside_parameters: bool = False

    @property
    def num_units(self) -> int:
        return self.num_blocks * self.block_size

    @property
    def edges(self) -> np.ndarray:
        assert self.edge_ids is not None
        return self.edge_ids


def fail(index: int, why: str) -> StructureError:
    return StructureError(f"PyJuice node vector {index}: {why}")


def check(vectors: Sequence[NodeVector]) -> None:
    """Whether the vectors fit together, as far as the conversion relies on it.

    Raises:
        StructureError: naming the vector.
    """
    for index, vector in enumerate(vectors):
        children = [vectors[child] for child in vector.children]
        if vector.num_blocks < 1 or vector.block_size < 1:
            raise fail(index, f"it has {vector.num_blocks} blocks of {vector.block_size} units")
        if vector.needs_outside_parameters:
            raise fail(index, "weights that are passed with every sample are not supported")
        if vector.kind == "Input" and len(vector.scope) != 1:
            raise fail(index, f"an input must have one variable, not {len(vector.scope)}")
        if vector.kind == "Product":
            _check_product(index, vector, children)
        if vector.kind == "Sum":
            _check_sum(index, vector, children)
        if vector.source is not None:
            _check_tie(index, vector, vectors)


def _check_product(index: int, vector: NodeVector, children: Sequence[NodeVector]) -> None:
    edges = vector.edges
    if any(child.kind == "Product" for child in children):
        raise fail(index, "a product of products is not supported: put a sum between them")
    if edges.ndim != 2 or edges.shape[1] != len(children) or len(edges) not in (vector.num_blocks, vector.num_units):
        raise fail(index, f"edge ids of shape {edges.shape} for {vector.num_blocks} blocks, {len(children)} children")
    by_block = len(edges) == vector.num_blocks
    for child, column in zip(children, edges.T):
        if by_block and child.block_size != vector.block_size:
            raise fail(index, "it and its children differ in block size")
        if column.min() < 0 or column.max() >= (child.num_blocks if by_block else child.num_units):
            raise fail(index, "an edge leads to a child unit that does not exist")


def _check_sum(index: int, vector: NodeVector, children: Sequence[NodeVector]) -> None:
    edges, num_children = vector.edges, sum(child.num_blocks for child in children)
    if any(child.kind == "Sum" for child in children):
        raise fail(index, "a sum of sums is not supported: put a product between them")
    if not children or len({child.block_size for child in children}) > 1:
        raise fail(index, "a sum needs children, all of one block size")
    if len(set(vector.children)) < len(children):
        raise fail(index, "a sum that lists a child twice is not supported")
    if edges.ndim != 2 or len(edges) != 2 or (edges < 0).any():
        raise fail(index, f"edge ids of shape {edges.shape} or below 0")
    if set(edges[0].tolist()) != set(range(vector.num_blocks)) or edges[1].max() >= num_children:
        raise fail(index, "some block has no edge, or an edge leads to a block that does not exist")


def _check_tie(index: int, vector: NodeVector, vectors: Sequence[NodeVector]) -> None:
    source = vectors[vector.source] if vector.source in range(len(vectors)) else None  # type: ignore[index]
    if source is None or source.source is not None:
        raise fail(index, f"tied to vector {vector.source}, which has no parameters of its own")
    blocks = [[vectors[child].num_blocks for child in v.children] for v in (vector, source)]
    shapes = [(v.kind, v.num_blocks, v.block_size, len(v.children)) for v in (vector, source)]
    same_edges = vector.kind == "Input" or np.array_equal(vector.edges, source.edges)
    if shapes[0] != shapes[1] or blocks[0] != blocks[1] or not same_edges:
        raise fail(index, f"tied to vector {vector.source} of another shape")


def factor_units(vector: NodeVector) -> np.ndarray:
    """(units, children): for each unit of a product, which unit of each child it multiplies."""
    edges = vector.edges
    if len(edges) == vector.num_units:
        return edges
    within = np.arange(vector.block_size)[None, :, None]
    return (edges[:, None, :] * vector.block_size + within).reshape(-1, edges.shape[1])


def connections(vector: NodeVector, children: Sequence[NodeVector]) -> list[np.ndarray]:
    """Per child of a sum a bool matrix (blocks, blocks of the child): which blocks are connected."""
    matrix = np.zeros((vector.num_blocks, sum(child.num_blocks for child in children)), bool)
    matrix[vector.edges[0], vector.edges[1]] = True
    return np.split(matrix, np.cumsum([child.num_blocks for child in children])[:-1], axis=1)


def weight_matrix(vector: NodeVector, children: Sequence[NodeVector]) -> np.ndarray:
    """(units, units of all children) float64: the weights of a sum, zero where there is no edge."""
    assert vector.parameters is not None
    b, c = vector.block_size, children[0].block_size
    blocks = np.zeros((vector.num_blocks, sum(child.num_blocks for child in children), b, c))
    weights = vector.parameters.astype(np.float64).reshape(-1, b, c)
    np.add.at(blocks, (vector.edges[0], vector.edges[1]), weights)
    return blocks.transpose(0, 2, 1, 3).reshape(vector.num_units, -1)


def region_sizes(vectors: Sequence[NodeVector]) -> list[int]:
    """Per vector how many of its units make one region: all, a block, or one.

    Vectors that are multiplied, mixed by one sum, or tied are cut alike, so that the regions' unit counts agree.
    """
    group = list(range(len(vectors)))

    def find(index: int) -> int:
        while group[index] != index:
            group[index] = index = group[group[index]]
        return index

    for index, vector in enumerate(vectors):
        alike = list(vector.children) + ([index] if vector.kind == "Product" else [])
        if vector.source is not None:
            group[find(index)] = find(vector.source)
            alike += vectors[vector.source].children
        for other in alike[1:]:
            group[find(other)] = find(alike[0])
    cut = [WHOLE] * len(vectors)
    for index, vector in enumerate(vectors):
        for i, how in _cuts(index, vector, vectors):
            cut[find(i)] = max(cut[find(i)], how)
    choices = [(v.num_units, v.block_size, 1) for v in vectors]
    return [choices[i][cut[find(i)]] for i in range(len(vectors))]


def _cuts(index: int, vector: NodeVector, vectors: Sequence[NodeVector]) -> list[tuple[int, int]]:
    """Which vectors this one forces to be cut: pairs (vector, BLOCKS or UNITS)."""
    children = [vectors[child] for child in vector.children]
    if vector.kind == "Product":
        units = factor_units(vector)
        in_order = np.arange(vector.num_units)[:, None]
        if (units == in_order).all() and all(child.num_units == vector.num_units for child in children):
            return []
        starts = units[:: vector.block_size]
        within = np.tile(np.arange(vector.block_size), vector.num_blocks)[:, None]
        same_size = all(child.block_size == vector.block_size for child in children)
        is_blocks = same_size and (units == starts.repeat(vector.block_size, 0) + within).all()
        return [(index, BLOCKS if is_blocks and (starts % vector.block_size == 0).all() else UNITS)]
    if vector.kind == "Sum":
        linked = connections(vector, children)
        cuts = [(c, BLOCKS) for c, m in zip(vector.children, linked) if not (m == m[:, :1]).all()]
        rows = np.concatenate(linked, 1)
        cuts += [] if (rows == rows[:1]).all() else [(index, BLOCKS)]
        differ = len({child.num_units for child in children}) > 1
        return cuts + [(child, BLOCKS) for child in vector.children if differ]
    return []
