"""The shapes a circuit can take, each a RegionGraph: mixtures, chains, trees, grids and random partitions.

Common arguments: `num_variables` D, `num_categories` C, and `num_latents` K units per region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from ..checks import instance, integer, is_generator, positive_integer, positive_integers
from ..errors import EvidenceError, StructureError
from .evidence_checks import checked_values
from .regions import Region, RegionGraph

Rectangle = tuple[int, int, int, int]  # top, bottom, left, right; the second and the last not included


class _Builder:
    """Collects regions bottom-up; each method returns the index of the region it adds."""

    def __init__(self, num_variables: int, num_categories: int, num_latents: int, family: str = "categorical"):
        positive_integers(num_variables=num_variables, num_categories=num_categories, num_latents=num_latents)
        self.shape = num_variables, num_categories
        self.num_latents = num_latents
        self.family = family
        self.regions: list[Region] = []

    def input(self, variable: int, tied_to: int | None = None) -> int:
        self.regions.append(Region((variable,), self.num_latents, (), self.family, tied_to))
        return len(self.regions) - 1

    def sum(self, *partitions: Sequence[int], root: bool = False, tied_to: int | None = None) -> int:
        scope = sorted(v for child in partitions[0] for v in self.regions[child].scope)
        units = 1 if root else self.num_latents
        self.regions.append(Region(tuple(scope), units, tuple(map(tuple, partitions)), tied_to=tied_to))
        return len(self.regions) - 1

    def graph(self) -> RegionGraph:
        return RegionGraph(tuple(self.regions), *self.shape)


def mixture(num_variables: int, *, num_categories: int, num_latents: int) -> RegionGraph:
    """Mixture of factorised distributions (naive Bayes): p(x) = sum_k theta_k prod_i f_{i,k}(x_i)."""
    build = _Builder(num_variables, num_categories, num_latents)
    build.sum([build.input(i) for i in range(num_variables)], root=True)
    return build.graph()


def factorized(num_variables: int, *, num_categories: int) -> RegionGraph:
    """Independent variables, p(x) = prod_i f_i(x_i): the control without any dependence."""
    return mixture(num_variables, num_categories=num_categories, num_latents=1)


def hmm(num_variables: int, *, num_categories: int, num_latents: int, tied: bool = False) -> RegionGraph:
    """Hidden Markov model, p(x) = sum_z p(z_0) f(x_0|z_0) prod_i p(z_i|z_{i-1}) f(x_i|z_i).

    With `tied`, all steps share one transition matrix and one emission table.
    """
    build = _Builder(num_variables, num_categories, num_latents)
    emission = transition = below = None
    for i in reversed(range(num_variables)):
        leaf = build.input(i, tied_to=emission)
        below = build.sum([leaf] if below is None else [leaf, below], root=i == 0, tied_to=transition if i else None)
        if tied and num_variables > 1:
            emission = leaf if emission is None else emission
            transition = below if transition is None else transition
    return build.graph()


def mutual_information(data: Tensor, num_categories: int, smoothing: float = 1.0) -> Tensor:
    """Pairwise mutual information in nats from smoothed counts, I(X_i; X_j) = H(X_i) + H(X_j) - H(X_i, X_j).

    A pair's C x C table has at most N cells that are not empty, so its entropy is summed over the samples, not over the
    cells: no more than one table is held at a time.

    Args:
        data: (N, D) long, complete (no missing values).
        smoothing: pseudo-observations per pair of variables, spread evenly over the C x C cells.

    Returns:
        (D, D) float64, symmetric; the diagonal holds the entropies.
    """
    data, C = _checked_data(data, num_categories), num_categories
    N = len(data)
    count = torch.arange(N + 1, dtype=torch.float64)

    def terms(num_cells: int) -> Tensor:
        """-p log p of a cell, by its count 0 … N."""
        p = (count + smoothing / num_cells) / (N + smoothing)
        return -torch.special.xlogy(p, p)

    columns, pair = data.T.contiguous(), terms(C**2)
    entropies = torch.stack([terms(C)[column.bincount(minlength=C)].sum() for column in columns])
    information = torch.diag(entropies)
    share = (pair - pair[0]) / count  # of one sample, in a cell with that count
    for i, j in torch.combinations(torch.arange(len(columns))).tolist():
        cell = columns[i] * C + columns[j]
        joint_entropy = C**2 * pair[0] + share[cell.bincount()[cell]].sum()
        information[i, j] = information[j, i] = entropies[i] + entropies[j] - joint_entropy
    return information


def _checked_data(data: Tensor, num_categories: int) -> Tensor:
    """Complete data as (N, D) long, from a tensor or an array of any kind of integers."""
    positive_integer("num_categories", num_categories)
    instance("data", data, Tensor, np.ndarray)
    data = torch.as_tensor(data)
    if data.ndim != 2 or 0 in data.shape:
        raise EvidenceError(f"data must have shape (N, D), N and D at least 1, not {tuple(data.shape)}")
    data = checked_values(data, data.shape[1], num_categories, "data")
    if bool((data < 0).any()):
        raise EvidenceError("data must be complete: some values are missing (-1)")
    return data


def chow_liu_edges(data: Tensor, num_categories: int) -> list[int]:
    """Parents of the maximum spanning tree of the mutual information, rooted at its centre (Chow and Liu 1968).

    The centre gives the circuit as few levels as possible.

    Returns:
        per variable its parent, -1 for the root.
    """
    information = mutual_information(data, num_categories).tolist()
    complete = nx.Graph()
    complete.add_nodes_from(range(len(information)))
    complete.add_weighted_edges_from((i, j, row[j]) for i, row in enumerate(information) for j in range(i))
    tree = nx.maximum_spanning_tree(complete, algorithm="prim")
    parents = dict(nx.bfs_predecessors(tree, nx.center(tree)[0]))
    return [parents.get(i, -1) for i in range(len(information))]


def latent_tree(
    parents: Sequence[int], *, num_categories: int, num_latents: int, family: str = "categorical"
) -> RegionGraph:
    """A tree of latents with K states, each emitting one variable: p(x) = sum_z prod_i p(z_i|z_parent) f(x_i|z_i).

    Args:
        parents: per variable the variable whose latent is its parent; -1 for the root.
    """
    instance("parents", parents, list, tuple)
    for parent in parents:
        integer("parents", parent, -1, len(parents) - 1)
    build = _Builder(len(parents), num_categories, num_latents, family)
    roots = [i for i, parent in enumerate(parents) if parent < 0]
    if len(roots) != 1:
        raise StructureError(f"a tree has one root (parent -1), not {len(roots)}")
    tree = nx.DiGraph()
    tree.add_nodes_from(range(len(parents)))
    tree.add_edges_from((parent, i) for i, parent in enumerate(parents) if parent >= 0)
    order = [roots[0], *(i for _, i in nx.bfs_edges(tree, roots[0]))]
    if len(order) != len(parents):
        raise StructureError("the parents do not form one tree: some variables are not connected to the root")
    subtree: dict[int, int] = {}
    for i in reversed(order):
        subtree[i] = build.sum([build.input(i), *(subtree[c] for c in tree[i])], root=i == roots[0])
    return build.graph()


def chow_liu_tree(data: Tensor, *, num_categories: int) -> RegionGraph:
    """The best tree over the observed variables themselves, p(x) = prod_i p(x_i|x_parent) (Chow and Liu 1968).

    A latent tree whose latents are the variables: inputs are indicators, so the circuit is deterministic, one EM
    step without pseudocounts gives the maximum-likelihood parameters, and `most_probable` is exact.

    Args:
        data: (N, D) long.
    """
    parents = chow_liu_edges(data, num_categories)
    return latent_tree(parents, num_categories=num_categories, num_latents=num_categories, family="indicator")


def hclt(data: Tensor, *, num_categories: int, num_latents: int) -> RegionGraph:
    """Hidden Chow-Liu tree: a latent with K states per variable, joined as the Chow-Liu tree of the data.

    Source: Liu and Van den Broeck 2021, "Tractable regularization of probabilistic circuits".

    Args:
        data: (N, D) long, from which the tree is learned.
    """
    parents = chow_liu_edges(data, num_categories)
    return latent_tree(parents, num_categories=num_categories, num_latents=num_latents)


def quad_tree(height: int, width: int, *, num_categories: int, num_latents: int) -> RegionGraph:
    """Recursive halving of both sides of an H x W grid down to single pixels (variable i = row * width + column).

    One product of four children per region, as the paper's latent circuits (its 16 x 16 grid: K = 1024).
    """

    def halves(start: int, stop: int) -> list[tuple[int, int]]:
        middle = (start + stop + 1) // 2
        return [(start, middle), (middle, stop)] if stop - start > 1 else [(start, stop)]

    def quarters(top: int, bottom: int, left: int, right: int) -> list[list[Rectangle]]:
        return [[(*rows, *columns) for rows in halves(top, bottom) for columns in halves(left, right)]]

    return _rectangles(height, width, quarters, num_categories, num_latents)


def poon_domingos(height: int, width: int, *, num_categories: int, num_latents: int, step: int = 1) -> RegionGraph:
    """All the ways to cut an H x W grid in two, and its parts again; equal rectangles are one region.

    A region mixes the products of all its cuts, so it has as many partitions as there are rows and columns to cut at.

    Args:
        step: rectangles are cut at multiples of it only, those that hold none anywhere: fewer regions, and squares of
            `step` pixels a side are never cut from outside.

    Source: Poon and Domingos 2011, "Sum-product networks: a new deep architecture".
    """
    positive_integer("step", step)

    def cuts(top: int, bottom: int, left: int, right: int) -> list[list[Rectangle]]:
        rows, columns = (range(a // step * step + step, b, step) for a, b in ((top, bottom), (left, right)))
        if not rows and not columns:
            rows, columns = range(top + 1, bottom), range(left + 1, right)
        across: list[list[Rectangle]] = [[(top, row, left, right), (row, bottom, left, right)] for row in rows]
        return across + [[(top, bottom, left, column), (top, bottom, column, right)] for column in columns]

    return _rectangles(height, width, cuts, num_categories, num_latents)


def _rectangles(height: int, width: int, split: Callable[..., list[list[Rectangle]]], *sizes: Any) -> RegionGraph:
    """Regions of an H x W grid from the whole to single pixels; `split` lists the partitions of one; as `_Builder`."""
    positive_integers(height=height, width=width)
    build = _Builder(height * width, *sizes)
    whole, made = (0, height, 0, width), dict[Rectangle, int]()

    def region(block: Rectangle) -> int:
        if block not in made:
            top, bottom, left, right = block
            is_pixel = (bottom - top) * (right - left) == 1
            parts = [[build.input(top * width + left)]] if is_pixel else [list(map(region, p)) for p in split(*block)]
            made[block] = parts[0][0] if is_pixel and block != whole else build.sum(*parts, root=block == whole)
        return made[block]

    region(whole)
    return build.graph()


def rat_spn(
    num_variables: int,
    *,
    num_categories: int,
    num_latents: int,
    depth: int,
    repetitions: int,
    generator: torch.Generator,
) -> RegionGraph:
    """Random and tensorised: R random binary splits of the variables to a given depth, mixed at the root.

    Source: Peharz et al. 2019, "Random sum-product networks", with elementwise in place of outer products.

    Args:
        depth: how often each set of variables is halved, at most log2(D).
        repetitions: R.
    """
    positive_integers(num_variables=num_variables, depth=depth, repetitions=repetitions)
    is_generator("generator", generator)
    if 2**depth > num_variables:
        raise StructureError(f"{num_variables} variables cannot be halved {depth} times")
    build = _Builder(num_variables, num_categories, num_latents)

    def split(variables: list[int], levels: int) -> list[int]:
        middle = len(variables) // 2
        return [region(variables[:middle], levels - 1), region(variables[middle:], levels - 1)]

    def region(variables: list[int], levels: int) -> int:
        if levels == 0:
            return build.sum([build.input(v) for v in sorted(variables)])
        return build.sum(split(variables, levels))

    orders = [torch.randperm(num_variables, generator=generator).tolist() for _ in range(repetitions)]
    build.sum(*(split(order, depth) for order in orders), root=True)
    return build.graph()
