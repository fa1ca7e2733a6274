"""Drawings: nothing stands on anything else, edges point down, every pixel is there."""

from __future__ import annotations

import numpy as np
import pytest

from tests.circuits.random_nodes import random_nodes
from tiramisu_edu.course import examples
from tiramisu_edu.course.drawing import draw_circuit, draw_tree, layout
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


def test_a_tree_has_a_line_for_each_edge():
    figure = draw_tree([-1, 0, 0, 2], np.zeros((2, 2)))
    lines = figure.axes[0].lines
    assert sum(len(line.get_xdata()) == 2 for line in lines) == 3
    assert [line.get_marker() for line in lines if len(line.get_xdata()) == 1] == ["s", "o", "o", "o"]
    assert figure_html(figure, "a tree over four pixels").startswith("<img")
    with pytest.raises(TiramisuError, match="2 × 3"):
        draw_tree([-1, 0, 0, 2], np.zeros((2, 3)))
