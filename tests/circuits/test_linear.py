"""The linear engine: the same numbers as log space where it answers, and it knows when it must not."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import graphs, random_circuit, random_evidence
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.engines import linear_engine, torch_engine
from tiramisu_edu.circuits.engines.linear_engine import LinearMessages
from tiramisu_edu.circuits.engines.messages import Evidence, Messages

TREES = {
    "hmm": structures.hmm(6, num_categories=4, num_latents=3, tied=True),
    "tree": structures.latent_tree([-1, 0, 0, 1, 1, 1, 2], num_categories=4, num_latents=3),
    "quad": structures.quad_tree(3, 3, num_categories=4, num_latents=3),
    "mixture": structures.mixture(5, num_categories=4, num_latents=3),
}


def both_passes(engine, circuit, evidence):
    """log Z, edge flows and marginals by one engine, and what kind of messages it used."""
    plan, tables = circuit.plan, [table.detach() for table in circuit.tables()]
    messages = engine.forward(plan, tables, evidence, keep=True)
    gradients = [torch.zeros_like(table) for table in tables]
    marginals = None if evidence.log_weights is None else torch.zeros_like(evidence.log_weights)
    log_z = engine.log_partition(plan, messages)
    engine.backward(plan, tables, evidence, messages, gradients=gradients, marginals=marginals)
    flows = [gradient * table for gradient, table in zip(gradients, tables)]
    return type(messages), [log_z, *flows, *([] if marginals is None else [marginals])]


def soft_evidence(graph, kind="soft", batch=5):
    return random_evidence(kind, batch, graph.num_variables, graph.num_categories, seed=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_hard", [True, False], ids=["hard", "soft"])
@pytest.mark.parametrize("name", TREES)
def test_trees_are_computed_with_linear_messages(name, is_hard, dtype):
    circuit = random_circuit(TREES[name], 0, 1.0, dtype)
    values = torch.randint(-1, 4, (circuit.num_variables, 5), generator=torch.Generator().manual_seed(1))
    soft = soft_evidence(TREES[name]).to(dtype).permute(1, 2, 0)
    evidence = Evidence(values=values) if is_hard else Evidence(log_weights=soft)
    kind, found = both_passes(linear_engine, circuit, evidence)
    _, expected = both_passes(torch_engine, circuit, evidence)
    assert kind is LinearMessages
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**31), peakedness=st.sampled_from([1.0, 30.0]))
def test_whatever_it_answers_is_right(graph, seed, peakedness):
    """Peaked float32 parameters, some of them zero, and contradictory evidence, against log space in float64."""
    circuit = random_circuit(graph, seed, peakedness, torch.float32)
    exact = copy.deepcopy(circuit).double()
    log_weights = random_evidence("contradictory", 4, graph.num_variables, graph.num_categories, seed).float()
    evidence = log_weights.permute(1, 2, 0)
    kind, found = both_passes(linear_engine, circuit, Evidence(log_weights=evidence))
    if kind is LinearMessages:
        _, expected = both_passes(torch_engine, exact, Evidence(log_weights=evidence.double()))
        for ours, theirs in zip(found, expected):
            torch.testing.assert_close(ours.double(), theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("theta", [0.0, 1e-36])
def test_numbers_it_cannot_hold_go_to_log_space(theta):
    """Every unit of an input all but excludes a value: f = theta is below what linear messages are trusted with."""
    circuit = random_circuit(TREES["tree"], 0, 1.0, torch.float32)
    with torch.no_grad():
        circuit.parameter_list[0][:, 0] = torch.tensor([theta, 1.0, 0.0, 0.0])
    x = torch.zeros(7, 2, dtype=torch.long)
    kind, found = both_passes(linear_engine, circuit, Evidence(values=x))
    _, expected = both_passes(torch_engine, circuit, Evidence(values=x))
    assert kind is Messages
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected))


def test_several_partitions_go_to_log_space():
    graph = structures.rat_spn(
        4, num_categories=3, num_latents=2, depth=1, repetitions=2, generator=torch.Generator().manual_seed(0)
    )
    circuit = random_circuit(graph, 0, 1.0, torch.float32)
    assert both_passes(linear_engine, circuit, Evidence(values=torch.zeros(4, 1, dtype=torch.long)))[0] is Messages


def test_a_recorded_query_survives_those_made_before_its_gradient():
    circuit = random_circuit(TREES["hmm"], 0, 1.0, torch.float64)
    evidence = [soft_evidence(TREES["hmm"], kind).requires_grad_() for kind in ("soft", "tiny")]
    log_z = [circuit.log_partition(w) for w in evidence]
    expected = [circuit.posterior_marginals(w.detach()) for w in evidence]
    for w, z, marginals in zip(evidence, log_z, expected):
        for _ in range(2):
            (found,) = torch.autograd.grad(z.sum(), w, retain_graph=True)
            torch.testing.assert_close(found, marginals, rtol=1e-12, atol=1e-12)
    del z, log_z
    assert len(circuit.spare_workspaces) == 1  # what the graphs used serves the next one
    circuit.log_partition(evidence[0])
    assert len(circuit.spare_workspaces) == 1


def test_copies_share_no_buffers():
    circuit = random_circuit(TREES["hmm"], 0, 1.0, torch.float64)
    weights = soft_evidence(TREES["hmm"])
    expected = circuit.posterior_marginals(weights)
    twin = copy.deepcopy(circuit)
    assert twin.workspace is not circuit.workspace and not twin.workspace.__dict__["_buffers"]
    torch.testing.assert_close(twin.posterior_marginals(weights), expected)
    assert isinstance(twin, Circuit)
