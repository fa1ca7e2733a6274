"""Textbook and tensor engine beside each other: the numbers agree, the text holds them, mistakes are noticed."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import EVIDENCE_KINDS, graphs, joint_table, random_circuit, random_evidence, weighted
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.interchange import to_reference
from tiramisu_edu.circuits.nodes import Product
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.course import levels
from tiramisu_edu.course.level_text import Page, matrix, number, power
from tiramisu_edu.course.levels import level_table, side_by_side
from tiramisu_edu.errors import EvidenceError, StructureError


def chain(dtype=torch.float32, tied=True):
    graph = structures.hmm(4, num_categories=2, num_latents=2, tied=tied)
    return Circuit(graph, generator=torch.Generator().manual_seed(0), dtype=dtype)


def soft(circuit, seed=1):
    return random_evidence("soft", 1, circuit.num_variables, circuit.num_categories, seed)


@settings(max_examples=60, deadline=None)
@given(
    graph=graphs(),
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(EVIDENCE_KINDS),
    peakedness=st.sampled_from([1.0, 30.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_every_region_agrees_and_its_text_is_aligned(graph, seed, kind, peakedness, dtype):
    circuit = random_circuit(graph, seed, peakedness, dtype)
    log_weights = random_evidence(kind, 1, circuit.num_variables, circuit.num_categories, seed).to(dtype)
    assume(weighted(joint_table(circuit).detach(), log_weights[0]).sum() > 1e-30)
    for index in range(len(graph.regions)):
        try:
            page = side_by_side(circuit, log_weights, index)
        except StructureError as error:
            assert "too large to read" in str(error)
            continue
        assert page.difference <= levels.TOLERANCE[dtype]
        for panel in page.panels:
            assert "nan" not in panel
            for block in re.findall(r"(?:^ +\[.*\n?)+", panel, re.MULTILINE):
                brackets = [{m.start() for m in re.finditer(r"[\[\]]", line)} for line in block.splitlines()]
                assert all(places <= max(brackets, key=len) for places in brackets)


def test_the_text_holds_the_numbers_of_the_reference():
    circuit = chain(torch.float64)
    log_weights = soft(circuit)
    page = side_by_side(circuit, log_weights, 3)
    reference = to_reference(circuit)
    log_fw = reference.forward(log_weights[0].numpy())
    flows = reference.edge_flows(log_fw, reference.backward(log_fw))
    textbook, tensors = page.panels
    for n in reference.nodes:
        if n.name in ("3.0", "3.1"):
            assert f"= {power(log_fw[n])}   log u = {number(log_fw[n])}" in textbook
            assert re.search(rf"{re.escape(n.name)}  .* = {re.escape(number(log_fw[n]))}$", tensors, re.MULTILINE)
            for c, flow in zip(n.children, flows[n]):
                assert f"= {number(flow)}   {c.name}" in textbook
    rows = [flows[n] for n in reference.nodes if n.name in ("3.0", "3.1")]
    assert "\n".join(f"    {line}" for line in matrix(rows)) in tensors
    assert str(page).startswith("Region 3, variables 2, 3: K = 2 units")
    assert "differ by less than 1e-12 (float64 beside float64)" in str(page)


def test_a_level_that_uses_another_row_of_a_tied_table():
    leaves = [Region((i,), 2) for i in range(3)]
    low = [Region((0,), 2, ((0,),)), Region((1,), 2, ((1,),))]
    tied = Region((1, 2), 2, ((4, 2),), tied_to=4)
    graph = RegionGraph((*leaves, *low, tied, Region((0, 1, 2), 1, ((3, 5),))), num_variables=3, num_categories=2)
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    assert "parameter_list[1] (2, 2, 2), rows 1" in str(level_table(circuit))
    for index in range(7):
        assert side_by_side(circuit, soft(circuit), index).difference < 1e-5


def test_the_largest_region_that_fits_is_shown_when_none_is_named():
    assert side_by_side(chain(), soft(chain())).heading.startswith("Region 5,")
    wide = Circuit(structures.mixture(2, num_categories=2, num_latents=9))
    with pytest.raises(StructureError, match="no sum region is small enough"):
        side_by_side(wide, torch.zeros(2, 2))
    with pytest.raises(StructureError, match="region 0 is too large to read: at most 4 units"):
        side_by_side(wide, torch.zeros(2, 2), 0)
    with pytest.raises(StructureError, match="region 3 does not exist: they are numbered 0 … 2"):
        side_by_side(wide, torch.zeros(2, 2), 3)
    with pytest.raises(StructureError, match=r"scalar nodes are too many .* \(at most 20,000\)"):
        side_by_side(Circuit(structures.mixture(40, num_categories=2, num_latents=600)), torch.zeros(40, 2))


def test_evidence_is_checked():
    circuit = chain()
    with pytest.raises(EvidenceError, match="one row of evidence, not 3"):
        side_by_side(circuit, torch.zeros(3, 4, 2))
    with pytest.raises(EvidenceError, match="must have shape"):
        side_by_side(circuit, torch.zeros(4, 3))
    with torch.no_grad():
        circuit.parameter_list[0].copy_(torch.tensor([1.0, 0.0]))
    impossible = torch.tensor([[-torch.inf, 0.0]] * 4)
    with pytest.raises(EvidenceError, match=r"Z\(w\) = 0"):
        side_by_side(circuit, impossible)


@pytest.mark.parametrize("wrong", ["sum", "flows"])
def test_an_engine_that_differs_is_noticed(monkeypatch, wrong):
    true = levels._tensors

    def changed(*arguments):
        tensors = true(*arguments)
        return tensors._replace(log_u=tensors.log_u + 1e-3) if wrong == "sum" else tensors._replace(flows=0.0)

    monkeypatch.setattr(levels, "_tensors", changed)
    with pytest.raises(AssertionError, match="engine and textbook differ by"):
        side_by_side(chain(), soft(chain()))


def test_units_below_the_range_of_floats_are_marked():
    circuit = chain(tied=False)
    with torch.no_grad():
        for theta in circuit.parameter_list[1:]:
            theta.copy_(torch.tensor([[1.0, 1e-30], [1e-30, 1.0]])[: theta.shape[1]])
    log_weights = torch.zeros(4, 2)
    page = side_by_side(circuit, log_weights.index_put((torch.tensor(3),), torch.tensor([0.0, -60.0])), 5)
    assert "*" not in page.panels[1]
    with torch.no_grad():
        circuit.parameter_list[0][3].copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    only_second = torch.tensor([[0.0, 0.0]] * 3 + [[-torch.inf, 0.0]])
    page = side_by_side(circuit, only_second, 3)
    assert "= -68.3844 *\n" in page.panels[1]
    assert "added as logarithms" in page.panels[1]


def test_numbers_far_below_the_floats_are_written():
    assert [power(v) for v in (-math.inf, math.log(0.25), -1000.0)] == ["0.0000", "0.2500", "5.08e-435"]
    assert [number(v) for v in (-0.0, 1e-5, -math.inf, 2e4)] == ["0.0000", "1.00e-05", "-inf", "2.00e+04"]
    assert matrix(np.array([[1.0, 1e-5], [0.5, 0.25]])) == ["[ 1.0000  1.00e-05 ]", "[ 0.5000    0.2500 ]"]


def test_pages_stand_beside_each_other_where_they_fit():
    page = Page("head", ("a <\nlong line", "b"), "foot")
    assert str(page) == repr(page) == "head\n\na <        |  b\nlong line  |\n\nfoot"
    assert "a &lt;\nlong line</pre><pre" in page._repr_html_()
    assert str(Page("head", ("a" * 80, "b" * 80))) == f"head\n\n{'a' * 80}\n\n{'b' * 80}"


def test_level_table_of_a_quad_tree():
    text = str(level_table(Circuit(structures.quad_tree(4, 4, num_categories=2, num_latents=3))))
    rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines()[4:7]]
    assert [row[3:6] for row in rows] == [
        ["16: 0–3, 5–8, 10–13, 15–18", "3 × 2", "parameter_list[0] (16, 3, 2)"],
        ["4: 4, 9, 14, 19", "3 × 3", "parameter_list[1] (4, 3, 3)"],
        ["1: 20", "1 × 3", "parameter_list[2] (1, 1, 3)"],
    ]


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_level_tables_count_the_edges_of_the_scalar_nodes(graph):
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    lines = str(level_table(circuit)).splitlines()
    assert lines[0].startswith(f"{len(circuit.plan.levels)} level")
    reference = to_reference(circuit)
    assert int(lines[-1].split()[-1].replace(",", "")) == reference.num_edges
    assert sum(int(line.split()[-1].replace(",", "")) for line in lines[4:-2]) == reference.num_edges
    assert int(lines[-1].split()[1]) == len(graph.regions)
    products = sum(isinstance(n, Product) for n in reference.nodes)
    stacked = [level.num_regions * level.num_products for level in circuit.plan.levels if not level.is_input]
    assert sum(stacked) == products


def test_level_table_says_what_is_tied_and_what_is_made_into_tables():
    assert "parameter_list[0] (1, 2, 2), rows 4 times 0" in str(level_table(chain()))
    gaussian = structures.mixture(3, num_categories=5, num_latents=2, family="discretised_gaussian")
    text = str(level_table(Circuit(gaussian)))
    assert "discretised_gaussian input" in text and "(3, 2, 2), made into tables" in text
