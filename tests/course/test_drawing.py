"""Drawings: nothing stands on anything else, edges point down, every region and pixel is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.circuits.random_nodes import random_nodes
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.course import examples
from tiramisu_edu.course.drawing import draw_circuit, draw_regions, draw_tree, layout, scope_text
from tiramisu_edu.course.figures import figure_html
from tiramisu_edu.errors import TiramisuError

SMALL = [
    examples.naive_bayes([0.4, 0.6], [[[0.1, 0.9], [0.5, 0.5]], [[0.8, 0.2], [0.9, 0.1]]]),
    examples.hmm([0.5, 0.5], [[0.8, 0.2], [0.3, 0.7]], [[0.9, 0.1], [0.2, 0.8]], 3),
    examples.sum_product_network(),
    examples.cutset_network(),
    random_nodes(np.random.default_rng(0), [2, 3, 2, 2]),
]


@pytest.mark.parametrize("circuit", SMALL)
def test_nodes_stand_apart_and_edges_point_down(circuit):
    place, routes = layout(circuit)
    points = np.array(list(place.values()))
    apart = np.abs(points[:, None] - points[None]) + 10 * np.eye(len(points))[..., None]
    assert apart.max(-1).min() > 0.7
    assert len(routes) == circuit.num_edges
    for (n, k), route in routes.items():
        assert route[0] == place[n]
        assert route[-1] == place[n.children[k]]
        assert all(np.diff([y for _, y in route]) == -1)


@pytest.mark.parametrize("circuit", SMALL)
def test_a_drawing_takes_values_and_flows(circuit):
    log_fw = circuit.forward()
    flows = circuit.edge_flows(log_fw, circuit.backward(log_fw))
    figure = draw_circuit(circuit, {n: np.exp(v) for n, v in log_fw.items()}, flows, names=True)
    assert figure_html(figure, "a drawing").startswith("<img alt=")


SIZES = {"num_categories": 2, "num_latents": 4}
GRAPHS = {
    "quad_tree": structures.quad_tree(4, 4, **SIZES),
    "hclt": structures.hclt(torch.randint(2, (30, 8), generator=torch.Generator().manual_seed(0)), **SIZES),
    "hmm": structures.hmm(8, tied=True, **SIZES),
    "rat_spn": structures.rat_spn(8, depth=2, repetitions=2, generator=torch.Generator().manual_seed(0), **SIZES),
    "one variable": structures.mixture(1, **SIZES),
    "two parents": RegionGraph(
        (Region((0,), 2), Region((1,), 2), Region((0, 1), 2, ((0, 1),)), Region((0, 1), 1, ((2,), (2,)))), 2, 2
    ),
}


def boxes_of(axes, artists):
    """(left, bottom, right, top) of each, in units of the axes."""
    found = [artist.get_window_extent().transformed(axes.transData.inverted()).extents for artist in artists]
    return np.array(found).round(6)


@pytest.mark.parametrize("name", GRAPHS)
def test_regions_stand_apart_and_hold_their_text(name):
    graph = GRAPHS[name]
    figure = draw_regions(graph)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = boxes_of(axes, axes.patches)
    assert len(boxes) == len(graph.regions) + sum(len(region.partitions) for region in graph.regions)
    for i in range(len(boxes)):
        for j in range(i):
            assert ((boxes[i][:2] >= boxes[j][2:]) | (boxes[j][:2] >= boxes[i][2:])).any()
    labels = boxes_of(axes, axes.texts)
    held = (labels[:, None, :2] >= boxes[:, :2]).all(-1) & (labels[:, None, 2:] <= boxes[:, 2:]).all(-1)
    regions = ["K = " in text.get_text() for text in axes.texts]
    assert sum(regions) == len(graph.regions) and held[regions].any(1).all()


def test_scopes_are_written_short():
    assert scope_text((0, 1, 2, 5)) == "X0–2, 5"
    assert scope_text((7,)) == "X7"
    assert scope_text((0, 2, 4, 6, 8)) == "X0, … (5)"


def test_a_tree_has_a_line_for_each_edge():
    figure = draw_tree([-1, 0, 0, 2], np.zeros((2, 2)))
    lines = figure.axes[0].lines
    assert sum(len(line.get_xdata()) == 2 for line in lines) == 3
    assert [line.get_marker() for line in lines if len(line.get_xdata()) == 1] == ["s", "o", "o", "o"]
    assert figure_html(figure, "a tree over four pixels").startswith("<img")
    with pytest.raises(TiramisuError, match="2 × 3"):
        draw_tree([-1, 0, 0, 2], np.zeros((2, 3)))
