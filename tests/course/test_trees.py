"""All trees are listed once."""

from __future__ import annotations

import pytest
import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.course.trees import edges_of, spanning_trees
from tiramisu_edu.errors import TiramisuError


def joined(edges, n):
    """The variables that a walk from 0 reaches."""
    reached = {0}
    for _ in range(n):
        reached |= {k for edge in edges for k in edge if reached & set(edge)}
    return reached


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_every_tree_once(n):
    trees = list(spanning_trees(n))
    assert len(trees) == len(set(trees)) == n ** (n - 2)  # Cayley
    for edges in trees:
        assert len(edges) == n - 1 and all(i < j for i, j in edges)
        assert joined(edges, n) == set(range(n))


@pytest.mark.parametrize("n", [1, 8])
def test_too_few_and_too_many_variables(n):
    with pytest.raises(TiramisuError, match=f"not {n}"):
        next(spanning_trees(n))


@pytest.mark.parametrize("seed", range(5))
def test_chow_liu_finds_the_tree_of_most_information(seed):
    g = torch.Generator().manual_seed(seed)
    data = torch.randint(3, (60, 5), generator=g)
    data[:, 1:] = torch.where(torch.rand(60, 4, generator=g) < 0.5, data[:, :-1], data[:, 1:])
    information = structures.mutual_information(data, 3)
    best = max(spanning_trees(5), key=lambda edges: sum(float(information[i, j]) for i, j in edges))
    assert edges_of(structures.chow_liu_edges(data, 3)) == best
