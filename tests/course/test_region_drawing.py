"""Drawings of region graphs: nothing overlaps, everything is named, what is too large is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.course import region_drawing
from tiramisu_edu.course.figures import figure_html
from tiramisu_edu.course.region_drawing import draw_region_graph, partition_routes, scope_text, tie_letters
from tiramisu_edu.errors import StructureError

SIZES = {"num_categories": 2, "num_latents": 4}


def random_tree(seed):
    g = torch.Generator().manual_seed(seed)
    return structures.hclt(torch.randint(2, (30, 8), generator=g), **SIZES)


def random_splits(depth, repetitions):
    g = torch.Generator().manual_seed(0)
    return structures.rat_spn(8 if depth > 1 else 4, depth=depth, repetitions=repetitions, generator=g, **SIZES)


GRAPHS = {
    "quad_tree": structures.quad_tree(4, 4, **SIZES),
    "hclt": random_tree(0),
    "other hclt": random_tree(1),
    "hmm": structures.hmm(8, tied=True, **SIZES),
    "rat_spn": random_splits(2, 2),
    "wide rat_spn": random_splits(1, 4),
    "mixture": structures.mixture(8, family="bernoulli", **SIZES),
    "one variable": structures.mixture(1, **SIZES),
}


def extents(artists):
    """(left, bottom, right, top) of each, in pixels."""
    return np.array([artist.get_window_extent().extents for artist in artists])


def drawn(graph):
    """The figure, laid out, and the extents of its boxes in the order of the graph's regions."""
    figure = draw_region_graph(graph)
    FigureCanvasAgg(figure).draw()
    return figure, extents(figure.axes[0].patches)


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_stand_apart_and_no_line_runs_through_one(name):
    graph = GRAPHS[name]
    figure, boxes = drawn(graph)
    assert len(boxes) == len(graph.regions)
    for i in range(len(boxes)):
        for j in range(i):
            apart = (boxes[i][:2] >= boxes[j][2:]) | (boxes[j][:2] >= boxes[i][2:])
            assert apart.any()
    spans, to_pixels = region_drawing.column_spans(graph), figure.axes[0].transData.transform
    for parent in range(len(graph.regions)):
        for _, routes in partition_routes(graph, parent, spans):
            for route in routes:
                points = to_pixels(np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(route)]))
                inside = (points[:, None] > boxes[:, :2] + 1).all(-1) & (points[:, None] < boxes[:, 2:] - 1).all(-1)
                assert not inside.any()


@pytest.mark.parametrize("name", GRAPHS)
def test_text_fits_its_box(name):
    figure, boxes = drawn(GRAPHS[name])
    labels = extents(text for text in figure.axes[0].texts if "\nK = " in text.get_text())
    assert (labels[:, :2] >= boxes[:, :2]).all() and (labels[:, 2:] <= boxes[:, 2:]).all()


def test_every_region_and_partition_is_there():
    graph = GRAPHS["rat_spn"]
    texts = [text.get_text() for text in draw_region_graph(graph).axes[0].texts]
    for region in graph.regions:
        assert f"{scope_text(region.scope, 99)}\nK = {region.num_units}" in texts
    assert texts.count("×") == sum(len(region.partitions) for region in graph.regions)
    assert {"height 3", "height 0\ninputs:\ncategorical"} <= set(texts)
    assert figure_html(draw_region_graph(graph), "a region graph").startswith("<img alt=")


def test_tied_regions_carry_one_letter():
    graph = GRAPHS["hmm"]
    letters = tie_letters(graph)
    assert sorted(letters.values()) == ["A"] * 8 + ["B"] * 7  # emissions; transitions, the root has its own
    assert {letters[i] for i, r in enumerate(graph.regions) if r.is_input} == {"A"}
    texts = [text.get_text() for text in draw_region_graph(graph).axes[0].texts]
    assert (texts.count("A"), texts.count("B")) == (8, 7)
    assert "Regions with the same letter share their parameters." in texts
    assert tie_letters(GRAPHS["hclt"]) == {}


@pytest.mark.parametrize("graph", [structures.mixture(19, **SIZES), structures.quad_tree(8, 8, **SIZES)])
def test_what_cannot_be_read_is_refused(graph):
    num_inputs = graph.num_variables
    message = rf"{len(graph.regions)} regions, {num_inputs} of them inputs, .* \(at most 40 and 18\)"
    with pytest.raises(StructureError, match=message):
        draw_region_graph(graph)


def test_a_region_with_two_parents_is_drawn_once():
    leaves = [Region((i,), 2) for i in (0, 1)]
    shared = Region((0, 1), 2, ((0, 1),))
    regions = (*leaves, shared, Region((0, 1), 2, ((2,),)), Region((0, 1), 1, ((2,), (3,))))
    figure = draw_region_graph(RegionGraph(regions, num_variables=2, num_categories=2))
    assert len(figure.axes[0].patches) == 5


def test_scopes_are_written_short():
    assert scope_text((0, 1, 2, 5), 99) == "X0–2, 5"
    assert scope_text((7,), 1) == "X7"
    assert scope_text((0, 2, 4, 6, 8), 12) == "X0, 2, … (5)"
