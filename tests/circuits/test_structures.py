"""Region graphs: shape, learned trees, and errors that name the region."""

import pytest
import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.errors import StructureError, TiramisuError


def leaf(variable, units=2):
    return Region((variable,), units)


def test_chow_liu_recovers_a_chain():
    """A Markov chain that flips its state with probability 0.1: neighbours are the most informative pairs."""
    g = torch.Generator().manual_seed(0)
    flips = (torch.rand(4000, 7, generator=g) < 0.1).long()
    data = flips.cumsum(1) % 2
    parents = structures.chow_liu_edges(data, 2)
    assert parents == [1, 2, 3, -1, 3, 4, 5]  # a chain, hung from its centre


def test_mutual_information_of_known_tables():
    data = torch.tensor([[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]]).repeat(100, 1)
    information = structures.mutual_information(data, 2, smoothing=1e-9)
    ln2 = torch.log(torch.tensor(2.0, dtype=torch.float64))
    assert torch.allclose(information[0, 1], ln2, atol=1e-6)
    assert torch.allclose(information[0, 2], torch.zeros((), dtype=torch.float64), atol=1e-6)
    assert torch.allclose(information.diagonal(), ln2.expand(3), atol=1e-6)


def test_quad_tree_of_the_paper():
    graph = structures.quad_tree(16, 16, num_categories=8, num_latents=4)
    leaves = [r for r in graph.regions if r.is_input]
    assert len(leaves) == 256 and len(graph.regions) - len(leaves) == 64 + 16 + 4 + 1
    assert all(len(p) == 4 for r in graph.regions for p in r.partitions)


def test_poon_domingos_is_every_rectangle_and_every_cut():
    graph = structures.poon_domingos(3, 4, num_categories=3, num_latents=2)
    scopes = [set(region.scope) for region in graph.regions]
    rectangles = [
        {row * 4 + column for row in range(top, bottom) for column in range(left, right)}
        for top in range(3)
        for bottom in range(top + 1, 4)
        for left in range(4)
        for right in range(left + 1, 5)
    ]
    assert len(scopes) == len(rectangles) and all(rectangle in scopes for rectangle in rectangles)
    cuts = {frozenset(frozenset(graph.regions[c].scope) for c in partition) for partition in graph.root.partitions}
    sides = [{0, 1, 2, 3}, set(range(8)), {0, 4, 8}, {0, 1, 4, 5, 8, 9}, {0, 1, 2, 4, 5, 6, 8, 9, 10}]
    assert cuts == {frozenset({frozenset(side), frozenset(set(range(12)) - side)}) for side in sides}
    assert len({region.scope for region in graph.regions if region.is_input}) == 12


def test_a_step_cuts_squares_first():
    """4 x 4 pixels in squares of 2: nine rectangles of squares, each square with its eight rectangles of pixels."""
    graph = structures.poon_domingos(4, 4, num_categories=3, num_latents=2, step=2)
    assert len(graph.regions) == 9 + 4 * 8
    assert len(graph.root.partitions) == 2
    whole = structures.poon_domingos(4, 4, num_categories=3, num_latents=2, step=4)
    assert whole == structures.poon_domingos(4, 4, num_categories=3, num_latents=2)


def test_tied_hmm_has_one_transition_and_one_emission():
    free = structures.hmm(6, num_categories=5, num_latents=3)
    tied = structures.hmm(6, num_categories=5, num_latents=3, tied=True)
    assert free.num_parameters == 6 * 15 + 5 * 9 + 3
    assert tied.num_parameters == 15 + 9 + 3
    assert free.num_sum_edges == tied.num_sum_edges == 5 * 9 + 3


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([leaf(0), leaf(0), Region((0,), 1, ((0, 1),))], "not decomposable: children .* share variable 0"),
        ([leaf(0), leaf(1), Region((0, 1), 1, ((0, 1), (0,)))], "not smooth"),
        ([leaf(0), leaf(1, units=3), Region((0, 1), 1, ((0, 1),))], "differ in their number of units"),
        ([leaf(0), Region((0,), 2, ((2,),)), Region((0,), 2, ((1,),)), Region((0,), 1, ((1,),))], "cycle"),
        ([leaf(0), leaf(1), Region((0,), 1, ((0,),))], "the root must cover all 2 variables"),
        ([leaf(0), leaf(1), Region((0, 1), 2, ((0, 1),))], "one unit"),
        ([leaf(0), leaf(1), leaf(1), Region((0, 1), 1, ((0, 1),))], "region 2 .*child of no partition"),
        ([leaf(0), leaf(1), Region((0, 1), 1, ((0, 9),))], "its child 9 does not exist"),
        ([leaf(0), leaf(2), Region((0, 2), 1, ((0, 1),))], "leaves 0 … 1"),
        (
            [leaf(0), Region((1,), 2, tied_to=2), Region((0, 1), 1, ((0, 1),))],
            "tied to region 2 of another shape",
        ),
        ([Region((0, 1), 2), Region((0, 1), 1, ((0,),))], "an input region has one variable"),
    ],
)
def test_what_is_no_circuit_is_refused_by_name(regions, message):
    with pytest.raises(StructureError, match=message):
        RegionGraph(tuple(regions), num_variables=2, num_categories=2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: structures.mixture(0, num_categories=2, num_latents=2), "num_variables"),
        (lambda: structures.mixture(2, num_categories=2, num_latents=0), "num_latents"),
        (lambda: structures.latent_tree([-1, -1], num_categories=2, num_latents=2), "one root"),
        (lambda: structures.latent_tree([-1, 2, 1], num_categories=2, num_latents=2), "not connected"),
        (
            lambda: structures.rat_spn(
                3, num_categories=2, num_latents=2, depth=2, repetitions=1, generator=torch.Generator()
            ),
            "cannot be halved",
        ),
    ],
)
def test_impossible_sizes_are_refused(build, message):
    with pytest.raises(TiramisuError, match=message) as refusal:
        build()
    assert refusal.type is (TiramisuError if message.startswith("num_") else StructureError)


def test_graphs_survive_json():
    graph = structures.hmm(4, num_categories=3, num_latents=2, tied=True)
    assert RegionGraph.from_json(graph.to_json()) == graph
    with pytest.raises(StructureError, match="not a region graph"):
        RegionGraph.from_json("[1, 2]")
