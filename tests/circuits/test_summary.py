"""Summaries against counting the scalar nodes, and properties that are found rather than assumed."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import graphs, random_circuit
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.enumeration import is_deterministic
from tiramisu_edu.circuits.interchange import to_reference
from tiramisu_edu.circuits.nodes import Product
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.circuits.summary import summarize

SIZES = {"num_categories": 3, "num_latents": 2}


def data(num_variables, num_categories=3):
    return torch.randint(num_categories, (50, num_variables), generator=torch.Generator().manual_seed(0))


STRUCTURES = {
    "factorized": structures.factorized(4, num_categories=3),
    "mixture": structures.mixture(4, **SIZES),
    "hmm": structures.hmm(4, **SIZES),
    "tied hmm": structures.hmm(4, tied=True, **SIZES),
    "chow_liu_tree": structures.chow_liu_tree(data(5), num_categories=3),
    "hclt": structures.hclt(data(5), **SIZES),
    "quad_tree": structures.quad_tree(3, 2, **SIZES),
    "rat_spn": structures.rat_spn(5, depth=2, repetitions=3, generator=torch.Generator().manual_seed(0), **SIZES),
    "bernoulli": structures.mixture(3, num_categories=2, num_latents=2, family="bernoulli"),
    "gaussian": structures.hmm(3, family="discretised_gaussian", tied=True, **SIZES),
}


def agrees_with_its_nodes(graph, circuit):
    summary, reference = summarize(circuit), to_reference(circuit)
    kinds = Counter(isinstance(n, Product) for n in reference.nodes)
    assert (summary.num_units, summary.num_products) == (kinds[False], kinds[True])
    assert summary.num_edges == reference.num_edges
    if all(region.family == "categorical" for region in graph.regions):
        assert summary.num_parameters == reference.num_parameters
    assert (summary.is_smooth, summary.is_decomposable) == (reference.is_smooth, reference.is_decomposable)
    assert summary.is_deterministic in (None, is_deterministic(reference))
    return summary


@pytest.mark.parametrize("name", STRUCTURES)
def test_counts_are_those_of_the_scalar_nodes(name):
    graph = STRUCTURES[name]
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    summary = agrees_with_its_nodes(graph, circuit)
    assert summary.is_deterministic is (name in ("factorized", "chow_liu_tree"))
    assert summary.parameter_bytes == sum(p.numel() * p.itemsize for p in circuit.parameter_list)
    assert summary.bytes_per_sample == 8 * circuit.plan.floats_per_sample
    of_graph = dataclasses.asdict(summarize(graph))
    assert of_graph["parameter_bytes"] * 2 == summary.parameter_bytes  # a graph alone counts float32
    halves = {"parameter_bytes", "bytes_per_sample"}
    assert all(value == getattr(summary, field) for field, value in of_graph.items() if field not in halves)


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**31), peakedness=st.sampled_from([1.0, 300.0]))
def test_random_structures_and_zero_parameters(graph, seed, peakedness):
    agrees_with_its_nodes(graph, random_circuit(graph, seed, peakedness, torch.float32))


def test_parameters_that_are_not_tables():
    assert summarize(STRUCTURES["bernoulli"]).num_parameters == 3 * 2 * 1 + 2
    assert summarize(STRUCTURES["gaussian"]).num_parameters == 2 * 2 + 2 * 2 + 2  # one emission, one transition
    tree = summarize(STRUCTURES["chow_liu_tree"])
    assert tree.num_parameters == 4 * 3 * 3 + 3 and tree.parameter_bytes == 4 * (tree.num_parameters + 5 * 3 * 3)


def test_zeros_leave_determinism_open():
    circuit = Circuit(STRUCTURES["mixture"])
    assert summarize(circuit).is_deterministic is False
    with torch.no_grad():
        circuit.parameter_list[-1].copy_(torch.tensor([0.0, 1.0]))  # one term is left, which the structure cannot see
    assert summarize(circuit).is_deterministic is None and is_deterministic(to_reference(circuit))


INDICATORS = [Region((i,), 2, family="indicator") for i in (0, 1)]


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([*INDICATORS, Region((0, 1), 1, ((0, 1),))], True),  # x_0 = x_1 = j: undecided by the rules, found here
        ([*INDICATORS, Region((0,), 2, ((0,),)), Region((0, 1), 1, ((2, 1),))], True),
        ([*INDICATORS, Region((1,), 2, ((1,),)), Region((0, 1), 1, ((0, 2), (0, 2)))], False),
        ([INDICATORS[0], Region((1,), 2), Region((0, 1), 1, ((0, 1), (0, 1)))], False),
    ],
)
def test_determinism_of_indicators_above_and_below(regions, expected):
    graph = RegionGraph(tuple(regions), num_variables=2, num_categories=2)
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    assert is_deterministic(to_reference(circuit)) is expected
    assert summarize(circuit).is_deterministic in (None, expected)


@pytest.mark.parametrize(
    ("partitions", "facts"),
    [(((0, 1), (0,)), (False, True)), (((0, 0, 1),), (True, False)), (((0, 1), (0, 0)), (False, False))],
)
def test_broken_graphs_are_found_out(partitions, facts):
    """The constructor refuses such graphs, so one is changed behind its back; the declared scopes still look right."""
    graph = structures.mixture(2, num_categories=2, num_latents=2)
    broken = dataclasses.replace(graph.regions[2], partitions=partitions)
    object.__setattr__(graph, "regions", (*graph.regions[:2], broken))
    summary = summarize(graph)
    assert (summary.is_smooth, summary.is_decomposable) == facts


def test_the_text_says_what_it_is():
    text = str(summarize(structures.quad_tree(16, 16, num_categories=1024, num_latents=64)))
    assert text.splitlines()[:2] == [
        "256 variables of 1024 categories",
        "  smooth, decomposable, not deterministic",
    ]
    assert "parameters  17,121,344  65.3 MiB" in text and "in 5 levels" in text
    assert "deterministic" in str(summarize(STRUCTURES["chow_liu_tree"])).splitlines()[1].split(", ")
