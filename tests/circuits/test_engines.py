"""The engines of the processor: the fast one hands on the samples it cannot compute, and both are right."""

import copy
import threading

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import EVIDENCE_KINDS, graphs, joint_table, random_circuit, random_evidence, weighted
from tests.circuits.oracle import marginals as marginals_of
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.engines import fast, safe
from tiramisu_edu.circuits.engines.messages import Evidence
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.errors import EvidenceError, TiramisuError

GRAPHS = {
    "hmm": structures.hmm(6, num_categories=4, num_latents=3, tied=True),
    "tree": structures.latent_tree([-1, 0, 0, 1, 1, 1, 2], num_categories=4, num_latents=3),
    "quad": structures.quad_tree(3, 3, num_categories=4, num_latents=3),
    "pd": structures.poon_domingos(2, 3, num_categories=4, num_latents=3),
    "mixture": structures.mixture(40, num_categories=4, num_latents=3),
    "rat": structures.rat_spn(
        6, num_categories=4, num_latents=3, depth=2, repetitions=3, generator=torch.Generator().manual_seed(0)
    ),
    "shared": RegionGraph(  # x_0 x_1 x_2 split both ways: inputs have two parents, and products one to two children
        (
            *(Region((i,), 2) for i in range(3)),
            Region((0, 1), 2, ((0, 1),)),
            Region((1, 2), 2, ((1, 2),)),
            Region((0, 1, 2), 2, ((3, 2), (0, 4), (0, 1, 2))),
            Region((0, 1, 2), 1, ((5,), (3, 2))),
        ),
        3,
        4,
    ),
}


def both_passes(engine, circuit, evidence):
    """The messages of one engine, and log Z, edge flows and marginals in float64."""
    plan, tables = circuit.plan, [table.detach() for table in circuit.tables()]
    messages = engine.forward(plan, tables, evidence, keep=True)
    gradients = [torch.zeros_like(table) for table in tables]
    marginals = None if evidence.log_weights is None else torch.zeros_like(evidence.log_weights)
    log_z = engine.log_partition(plan, messages)
    engine.backward(plan, tables, evidence, messages, gradients=gradients, marginals=marginals)
    flows = [gradient * table for gradient, table in zip(gradients, tables)]
    return messages, [x.double() for x in (log_z, *flows, *([] if marginals is None else [marginals]))]


def soft_evidence(graph, kind="soft", batch=5):
    return random_evidence(kind, batch, graph.num_variables, graph.num_categories, seed=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_hard", [True, False], ids=["hard", "soft"])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_fast_engine_needs_no_other(name, is_hard, dtype):
    """Trees, several partitions, shared regions and wide products in the range of the floats, against log space."""
    circuit = random_circuit(GRAPHS[name], 0, 1.0, dtype)
    values = torch.randint(-1, 4, (circuit.num_variables, 5), generator=torch.Generator().manual_seed(1))
    soft = soft_evidence(GRAPHS[name]).to(dtype).permute(1, 2, 0)
    evidence = Evidence(values=values) if is_hard else Evidence(log_weights=soft)
    messages, found = both_passes(fast, circuit, evidence)
    _, expected = both_passes(safe, circuit, evidence)
    assert messages.rest is None
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@settings(max_examples=150, deadline=None)
@given(
    graph=graphs(),
    seed=st.integers(0, 2**31),
    peakedness=st.sampled_from([1.0, 5.0, 30.0]),
    kind=st.sampled_from(EVIDENCE_KINDS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_safe_engine_equals_enumeration(graph, seed, peakedness, kind, dtype):
    circuit = random_circuit(graph, seed, peakedness, dtype)
    log_weights = random_evidence(kind, 3, graph.num_variables, graph.num_categories, seed).to(dtype)
    leaves = [table.detach().double().requires_grad_() for table in circuit.tables()]
    tables = [weighted(joint_table(circuit, leaves), row) for row in log_weights]
    assume(all(table.sum() > 1e-280 for table in tables))
    _, (log_z, *flows, marginals) = both_passes(safe, circuit, Evidence(log_weights=log_weights.permute(1, 2, 0)))
    expected = torch.stack([table.sum().log() for table in tables])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert ((log_z - expected).abs() / expected.abs().clamp_min(1)).max() < tolerance
    assert (
        marginals.permute(2, 0, 1) - torch.stack([marginals_of(t.detach()) for t in tables])
    ).abs().max() < tolerance
    if (
        min(float(leaf[leaf > 0].detach().min()) for leaf in leaves) > 1e-30
    ):  # one over a smaller number may be no float
        for flow, leaf, gradient in zip(flows, leaves, torch.autograd.grad(expected.sum(), leaves)):
            torch.testing.assert_close(flow, gradient * leaf.detach(), rtol=tolerance, atol=tolerance)


@settings(max_examples=150, deadline=None)
@given(
    graph=graphs(),
    seed=st.integers(0, 2**31),
    peakedness=st.sampled_from([1.0, 30.0]),
    kind=st.sampled_from(["contradictory", "excluding", "hard"]),
)
def test_samples_out_of_range_are_right_beside_the_others(graph, seed, peakedness, kind):
    """Peaked parameters in float32, some of them zero, and contradictory evidence, against log space."""
    circuit = random_circuit(graph, seed, peakedness, torch.float32)
    rows = [random_evidence(k, 3, graph.num_variables, graph.num_categories, seed) for k in (kind, "soft")]
    evidence = Evidence(log_weights=torch.cat(rows).float().permute(1, 2, 0))
    _, found = both_passes(fast, circuit, evidence)
    _, expected = both_passes(safe, circuit, evidence)
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_component_that_falls_far_behind_and_comes_back(dtype):
    """The ratio of two components falls to 1e-80 over 32 variables and ends at 1e16: neither may be lost on the way."""
    D = 64
    circuit = Circuit(structures.mixture(D, num_categories=2, num_latents=2), dtype=dtype)
    with torch.no_grad():
        for index, region in enumerate(circuit.graph.regions):
            if region.is_input:
                of_first = [0.003, 0.997] if region.scope[0] < D // 2 else [0.997, 0.0009]
                parameter, row = circuit.plan.region_parameter[index]
                of_first = torch.tensor(of_first, dtype=dtype)
                circuit.parameter_list[parameter][row] = torch.stack([of_first, 1 - of_first], 1)
    evidence = Evidence(values=torch.zeros(D, 3, dtype=torch.long))
    _, found = both_passes(fast, circuit, evidence)
    _, expected = both_passes(safe, circuit, evidence)
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("theta", [0.0, 1e-36, 1e-45])
def test_only_the_samples_that_leave_the_range_are_computed_again(theta):
    """Some units of an input exclude a value, or all but do: the first sample has that value, the second has not."""
    circuit = random_circuit(GRAPHS["tree"], 0, 1.0, torch.float32)
    with torch.no_grad():
        circuit.parameter_list[0][:, 0] = torch.tensor([theta, 1.0, 0.0, 0.0])
    x = torch.stack([torch.zeros(7, dtype=torch.long), torch.ones(7, dtype=torch.long)], 1)
    messages, found = both_passes(fast, circuit, Evidence(values=x))
    _, expected = both_passes(safe, circuit, Evidence(values=x))
    if theta == 0:  # nothing has left the range: the unit is impossible
        assert messages.rest is None and messages.may_be_impossible
    else:
        assert messages.rest.samples.tolist() == [0] and messages.rest.engine is fast
        assert messages.rest.messages.rest is None  # float64 holds it
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_what_float64_cannot_hold_goes_to_log_space():
    circuit = random_circuit(GRAPHS["hmm"], 0, 1.0, torch.float64)
    log_weights = torch.full((4, 6, 4), -1e5, dtype=torch.float64)
    log_weights[..., 0] = 0
    with torch.no_grad():
        circuit.parameter_list[0][..., 0] = torch.tensor([1e-300, 0, 0])
    messages, found = both_passes(fast, circuit, Evidence(log_weights=log_weights.permute(1, 2, 0)))
    assert messages.rest.engine is safe
    _, expected = both_passes(safe, circuit, Evidence(log_weights=log_weights.permute(1, 2, 0)))
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ["fast", "safe"])
@pytest.mark.parametrize("constant", [1e4, 1e6])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_constant_in_the_log_weights_of_a_variable_leaves_the_posterior(name, constant, engine):
    """Log weights on a grid that float32 can hold beside the constant, so that nothing is lost before the query."""
    circuit = random_circuit(GRAPHS[name], 0, 1.0, torch.float32)
    circuit.engine_name = engine
    grid = (8 * soft_evidence(GRAPHS[name])).round() / 8
    shift = constant * torch.randn(5, circuit.num_variables, 1, generator=torch.Generator().manual_seed(0)).sign()
    with torch.no_grad():
        for weights in (grid.float() + shift, grid + shift.double() + 1 / 3):
            expected, found = circuit.posterior_marginals(grid), circuit.posterior_marginals(weights)
            assert (found - expected).abs().max() < 2e-6
            log_z = circuit.log_partition(grid).double() + (weights.double() - grid).mean(-1).sum(1)
            assert torch.allclose(circuit.log_partition(weights), log_z.float(), rtol=1e-6)


@pytest.mark.parametrize("engine", ["fast", "safe"])
@pytest.mark.parametrize("name", ["quad", "rat"])
def test_one_circuit_from_four_threads(name, engine):
    circuit = random_circuit(GRAPHS[name], 0, 1.0, torch.float32)
    circuit.engine_name = engine
    evidence = [random_evidence("soft", n, circuit.num_variables, 4, seed=n).float() for n in (3, 5, 5, 8)]

    def ask(w, seed):
        leaf = w.clone().requires_grad_()
        log_z = circuit.log_partition(leaf)
        drawn = circuit.sample(2, w, generator=torch.Generator().manual_seed(seed))
        found = circuit.posterior_marginals(w)
        return log_z.detach(), found, torch.autograd.grad(log_z.sum(), leaf)[0], drawn

    expected = [ask(w, seed) for seed, w in enumerate(evidence)]
    wrong = []

    def ask_often(seed):
        for _ in range(30 if engine == "fast" else 5):
            found = ask(evidence[seed], seed)
            wrong.extend(i for i, (a, b) in enumerate(zip(found, expected[seed])) if not torch.equal(a, b))

    threads = [threading.Thread(target=ask_often, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_recorded_query_survives_those_made_before_its_gradient():
    circuit = random_circuit(GRAPHS["hmm"], 0, 1.0, torch.float64)
    evidence = [soft_evidence(GRAPHS["hmm"], kind).requires_grad_() for kind in ("soft", "tiny")]
    log_z = [circuit.log_partition(w) for w in evidence]
    expected = [circuit.posterior_marginals(w.detach()) for w in evidence]
    for w, z, marginals in zip(evidence, log_z, expected):
        for _ in range(2):
            (found,) = torch.autograd.grad(z.sum(), w, retain_graph=True)
            torch.testing.assert_close(found, marginals, rtol=1e-12, atol=1e-12)


def test_copies_share_no_buffers():
    circuit = random_circuit(GRAPHS["hmm"], 0, 1.0, torch.float64)
    weights = soft_evidence(GRAPHS["hmm"])
    expected = circuit.posterior_marginals(weights)
    twin = copy.deepcopy(circuit)
    assert twin.tapes is not circuit.tapes
    torch.testing.assert_close(twin.posterior_marginals(weights), expected)


@pytest.mark.parametrize("what", ["log_weights", "parameters"])
def test_there_are_no_second_derivatives(what):
    circuit = random_circuit(GRAPHS["hmm"], 0, 1.0, torch.float64)
    w = soft_evidence(GRAPHS["hmm"]).requires_grad_()
    of = w if what == "log_weights" else circuit.parameter_list[0]
    (gradient,) = torch.autograd.grad(circuit.log_partition(w).sum(), of, create_graph=True)
    with pytest.raises(TiramisuError, match="no second derivatives"):
        torch.autograd.grad(gradient.square().sum(), of)


def test_the_safe_engine_holds_few_terms_at_once(monkeypatch):
    """Levels of many terms are computed some units at a time, with the same result."""
    circuit = random_circuit(GRAPHS["quad"], 0, 1.0, torch.float64)
    evidence = Evidence(log_weights=soft_evidence(GRAPHS["quad"]).permute(1, 2, 0))
    _, whole = both_passes(safe, circuit, evidence)
    monkeypatch.setattr(safe, "TERMS", 1)
    _, pieces = both_passes(safe, circuit, evidence)
    assert all(torch.allclose(a, b, rtol=1e-13, atol=1e-13) for a, b in zip(whole, pieces))


def test_log_z_is_never_nan():
    circuit = Circuit(GRAPHS["rat"], engine="fast")
    with torch.no_grad():
        circuit.parameter_list[0][0, 0, 0] = torch.nan
    for query in (
        circuit.log_partition,
        circuit.posterior_marginals,
        circuit.most_probable,
        lambda w: circuit.sample(1, w),
    ):
        with pytest.raises(EvidenceError, match="NaN"):
            query(torch.zeros(2, 6, 4))
    with pytest.raises(EvidenceError, match="NaN"):
        circuit.log_likelihood(torch.zeros(2, 6, dtype=torch.long))


@pytest.mark.parametrize(("value", "message"), [(3.5e38, r"contain \+inf in float32"), (-1e39, "-inf in float32")])
def test_weights_beyond_the_circuits_floats_are_named(value, message):
    log_weights = torch.zeros(2, 6, 4, dtype=torch.float64)
    log_weights[1, 2] = value
    circuit = Circuit(GRAPHS["rat"])
    for query in (circuit.log_partition, circuit.posterior_marginals, circuit.most_probable):
        with pytest.raises(EvidenceError, match="batch row 1, variable 2.*" + message):
            query(log_weights)
