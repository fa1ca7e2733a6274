"""The shapes a circuit can take, each a RegionGraph: mixtures, chains, trees, grids and random partitions.

Common arguments: `num_variables` D, `num_categories` C, `num_latents` K units per region, and `family` of the inputs, a
name in `inputs.FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import StructureError
from .regions import Region, RegionGraph


class _Builder:
    """Collects regions bottom-up and hands back their indices."""

    def __init__(self, num_variables: int, num_categories: int, num_latents: int, family: str):
        for name, value in (("num_variables", num_variables), ("num_categories", num_categories)):
            if value < 1:
                raise StructureError(f"{name} must be at least 1, not {value}")
        if num_latents < 1:
            raise StructureError(f"num_latents must be at least 1, not {num_latents}")
        self.shape = num_variables, num_categories
        self.num_latents = num_latents
        self.family = family
        self.regions: list[Region] = []

    def _add(self, region: Region) -> int:
        self.regions.append(region)
        return len(self.regions) - 1

    def input(self, variable: int, tied_to: int | None = None) -> int:
        return self._add(Region((variable,), self.num_latents, (), self.family, tied_to))

    def sum(self, *partitions: Sequence[int], root: bool = False, tied_to: int | None = None) -> int:
        scope = sorted(v for child in partitions[0] for v in self.regions[child].scope)
        units = 1 if root else self.num_latents
        return self._add(Region(tuple(scope), units, tuple(map(tuple, partitions)), tied_to=tied_to))

    def graph(self) -> RegionGraph:
        return RegionGraph(tuple(self.regions), *self.shape)


def mixture(num_variables: int, *, num_categories: int, num_latents: int, family: str = "categorical") -> RegionGraph:
    """Mixture of factorised distributions (naive Bayes): p(x) = sum_k theta_k prod_i f_{i,k}(x_i)."""
    build = _Builder(num_variables, num_categories, num_latents, family)
    build.sum([build.input(i) for i in range(num_variables)], root=True)
    return build.graph()


def factorized(num_variables: int, *, num_categories: int, family: str = "categorical") -> RegionGraph:
    """Independent variables, p(x) = prod_i f_i(x_i): the control that knows no dependence at all."""
    return mixture(num_variables, num_categories=num_categories, num_latents=1, family=family)


def hmm(
    num_variables: int, *, num_categories: int, num_latents: int, tied: bool = False, family: str = "categorical"
) -> RegionGraph:
    """Hidden Markov model, p(x) = sum_z p(z_0) f(x_0|z_0) prod_i p(z_i|z_{i-1}) f(x_i|z_i).

    With `tied`, all steps share one transition matrix and one emission table.
    """
    build = _Builder(num_variables, num_categories, num_latents, family)
    emission = transition = below = None
    for i in reversed(range(num_variables)):
        leaf = build.input(i, tied_to=emission)
        below = build.sum([leaf] if below is None else [leaf, below], root=i == 0, tied_to=transition if i else None)
        if tied and num_variables > 1:
            emission = leaf if emission is None else emission
            transition = below if transition is None else transition
    return build.graph()


def mutual_information(data: Tensor, num_categories: int, smoothing: float = 1.0) -> Tensor:
    """Pairwise mutual information in nats from smoothed counts, all pairs in one product of one-hot data.

    Args:
        data: (N, D) long, complete (no missing values).
        smoothing: pseudo-observations per pair of variables, spread evenly over the C x C cells.

    Returns:
        (D, D), symmetric; the diagonal holds the entropies.
    """
    N, D = data.shape
    C = num_categories
    joint = torch.zeros(D * C, D * C, dtype=torch.float64)
    for rows in data.split(4096):
        one_hot = torch.nn.functional.one_hot(rows, C).reshape(len(rows), D * C).float()
        joint += one_hot.T @ one_hot
    joint = joint.reshape(D, C, D, C).permute(0, 2, 1, 3) / (N + smoothing)
    single = joint.diagonal(dim1=0, dim2=1).diagonal(dim1=0, dim2=1) + smoothing / C / (N + smoothing)
    pair = joint + smoothing / C**2 / (N + smoothing)
    diagonal = torch.arange(D)
    pair[diagonal, diagonal] = torch.diag_embed(single)
    independent = single[:, None, :, None] * single[None, :, None, :]
    return torch.special.xlogy(pair, pair / independent).sum((-1, -2))


def chow_liu_edges(data: Tensor, num_categories: int) -> list[int]:
    """Parents of the maximum spanning tree of the mutual information, rooted at its centre (Chow and Liu 1968).

    Returns:
        per variable its parent, -1 for the root.
    """
    information = mutual_information(data, num_categories)
    neighbours: list[list[int]] = [[] for _ in range(len(information))]
    best, link = information[0].clone(), torch.zeros(len(information), dtype=torch.long)
    best[0] = -torch.inf
    for _ in range(len(information) - 1):  # Prim
        new = int(best.argmax())
        neighbours[new].append(int(link[new]))
        neighbours[int(link[new])].append(new)
        closer = (information[new] > best) & (best > -torch.inf)
        best[closer], link[closer] = information[new][closer], new
        best[new] = -torch.inf
    return _parents(neighbours, _centre(neighbours))


def _parents(neighbours: list[list[int]], root: int) -> list[int]:
    """Per node its parent, when the tree hangs from `root`."""
    parents = [-1] * len(neighbours)
    order = [root]
    for node in order:
        for other in neighbours[node]:
            if other != parents[node]:
                parents[other] = node
                order.append(other)
    return parents


def _centre(neighbours: list[list[int]]) -> int:
    """The middle of a longest path, so that the circuit has as few levels as possible."""

    def path_to_farthest(start: int) -> list[int]:
        parents, path = _parents(neighbours, start), [start]
        order = [start]
        for node in order:
            order += [n for n in neighbours[node] if n != parents[node]]
        depth = {start: 0}
        for node in order[1:]:
            depth[node] = depth[parents[node]] + 1
        path = [max(order, key=lambda n: depth[n])]
        while parents[path[-1]] >= 0:
            path.append(parents[path[-1]])
        return path

    path = path_to_farthest(path_to_farthest(0)[0])
    return path[len(path) // 2]


def latent_tree(
    parents: Sequence[int], *, num_categories: int, num_latents: int, family: str = "categorical"
) -> RegionGraph:
    """A tree of latents with K states, each emitting one variable: p(x) = sum_z prod_i p(z_i|z_parent) f(x_i|z_i).

    Args:
        parents: per variable the variable whose latent is its parent; -1 for the root.
    """
    return _tree(parents, _Builder(len(parents), num_categories, num_latents, family))


def _tree(parents: Sequence[int], build: _Builder) -> RegionGraph:
    roots = [i for i, parent in enumerate(parents) if parent < 0]
    if len(roots) != 1:
        raise StructureError(f"a tree has one root (parent -1), not {len(roots)}")
    children: list[list[int]] = [[] for _ in parents]
    for i, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(i)
    order = list(roots)
    for node in order:
        order += children[node]
    if len(order) != len(parents):
        raise StructureError("the parents do not form one tree: some variables are not connected to the root")
    subtree: dict[int, int] = {}
    for i in reversed(order):
        subtree[i] = build.sum([build.input(i), *(subtree[c] for c in children[i])], root=parents[i] < 0)
    return build.graph()


def chow_liu_tree(data: Tensor, *, num_categories: int) -> RegionGraph:
    """The best tree over the observed variables themselves, p(x) = prod_i p(x_i|x_parent) (Chow and Liu 1968).

    A latent tree whose latents are the variables: inputs are indicators, so the circuit is deterministic, one EM
    step without pseudocounts gives the maximum-likelihood parameters, and `most_probable` is exact.

    Args:
        data: (N, D) long.
    """
    parents = chow_liu_edges(data, num_categories)
    return _tree(parents, _Builder(len(parents), num_categories, num_categories, family="indicator"))


def hclt(data: Tensor, *, num_categories: int, num_latents: int, family: str = "categorical") -> RegionGraph:
    """Hidden Chow-Liu tree: a latent with K states per variable, joined as the Chow-Liu tree of the data.

    Source: Liu and Van den Broeck 2021, "Tractable regularization of probabilistic circuits".

    Args:
        data: (N, D) long, from which the tree is learned.
    """
    parents = chow_liu_edges(data, num_categories)
    return latent_tree(parents, num_categories=num_categories, num_latents=num_latents, family=family)


def quad_tree(
    height: int, width: int, *, num_categories: int, num_latents: int, family: str = "categorical"
) -> RegionGraph:
    """Recursive halving of both sides of an H x W grid down to single pixels (variable i = row * width + column).

    One product of four children per region, as the paper's latent circuits (its 16 x 16 grid: K = 1024).
    """
    build = _Builder(height * width, num_categories, num_latents, family)

    def halves(start: int, stop: int) -> list[tuple[int, int]]:
        middle = (start + stop + 1) // 2
        return [(start, middle), (middle, stop)] if stop - start > 1 else [(start, stop)]

    def region(top: int, bottom: int, left: int, right: int, root: bool = False) -> int:
        if (bottom - top) * (right - left) == 1:
            leaf = build.input(top * width + left)
            return build.sum([leaf], root=True) if root else leaf
        blocks = [(*rows, *columns) for rows in halves(top, bottom) for columns in halves(left, right)]
        return build.sum([region(*block) for block in blocks], root=root)

    region(0, height, 0, width, root=True)
    return build.graph()


def rat_spn(
    num_variables: int,
    *,
    num_categories: int,
    num_latents: int,
    depth: int,
    repetitions: int,
    generator: torch.Generator,
    family: str = "categorical",
) -> RegionGraph:
    """Random and tensorised: R random binary splits of the variables to a given depth, mixed at the root.

    Source: Peharz et al. 2019, "Random sum-product networks", with elementwise in place of outer products.

    Args:
        depth: how often each set of variables is halved, at most log2(D).
        repetitions: R.
    """
    if depth < 1 or repetitions < 1:
        raise StructureError(f"depth and repetitions must be at least 1, not {depth} and {repetitions}")
    if 2**depth > num_variables:
        raise StructureError(f"{num_variables} variables cannot be halved {depth} times")
    build = _Builder(num_variables, num_categories, num_latents, family)

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
