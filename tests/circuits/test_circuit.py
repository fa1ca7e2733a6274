"""The circuit against brute force: every query, every structure, float32 and float64, difficult evidence."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import (
    EVIDENCE_KINDS,
    graphs,
    joint_table,
    marginals,
    random_circuit,
    random_evidence,
    weighted,
)
from tests.circuits.scalar_nodes import to_reference
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.errors import EvidenceError

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
seeds = st.integers(0, 2**31)


def evidence_for(circuit, table, kind, seed, batch=3):
    """Evidence rounded to the circuit's floats, so that the oracle sees what the engine sees."""
    log_weights = random_evidence(kind, batch, circuit.num_variables, circuit.num_categories, seed)
    log_weights = log_weights.to(circuit.dtype).double()
    tables = [weighted(table.detach(), row) for row in log_weights]
    assume(all(t.sum() > 1e-300 for t in tables))
    return log_weights, tables


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=250, deadline=None)
@given(
    graph=graphs(),
    seed=seeds,
    kind=st.sampled_from(EVIDENCE_KINDS),
    peakedness=st.sampled_from([1.0, 5.0, 30.0]),
)
def test_marginals_and_partition_equal_enumeration(dtype, graph, seed, kind, peakedness):
    circuit = random_circuit(graph, seed, peakedness, dtype)
    log_weights, tables = evidence_for(circuit, joint_table(circuit), kind, seed)
    expected = torch.stack([marginals(t) for t in tables])
    found = circuit.posterior_marginals(log_weights)
    assert (found.double() - expected).abs().max() < TOLERANCE[dtype]
    log_z = torch.stack([t.sum().log() for t in tables])
    error = (circuit.log_partition(log_weights).detach().double() - log_z).abs() / log_z.abs().clamp_min(1)
    assert error.max() < TOLERANCE[dtype]


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), seed=seeds)
def test_log_likelihood_equals_enumeration_with_missing_values(graph, seed):
    circuit = random_circuit(graph, seed, 3.0, torch.float64)
    table = joint_table(circuit)
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, circuit.num_categories, (8, circuit.num_variables), generator=g)
    for row, log_p in zip(x.tolist(), circuit.log_likelihood(x)):
        expected = table[tuple(slice(None) if v < 0 else v for v in row)].sum()
        assert torch.isclose(log_p.exp(), expected, rtol=1e-12, atol=0)

    learned = [theta for theta in circuit.parameter_list if theta.requires_grad]
    gradients = torch.autograd.grad(circuit.log_likelihood(x).sum(), learned)
    log_p = [table[tuple(slice(None) if v < 0 else v for v in row)].sum().log() for row in x.tolist()]
    for found, expected in zip(gradients, torch.autograd.grad(torch.stack(log_p).sum(), learned)):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), seed=seeds, kind=st.sampled_from(EVIDENCE_KINDS))
def test_engine_equals_the_reference(graph, seed, kind):
    circuit = random_circuit(graph, seed, 1.0, torch.float64)
    log_weights, _ = evidence_for(circuit, joint_table(circuit), kind, seed, batch=1)
    reference = to_reference(circuit)
    assert reference.num_parameters == circuit.graph.num_parameters or graph.regions[0].family == "indicator"
    found = circuit.posterior_marginals(log_weights)[0]
    for row, expected in zip(found, reference.posterior_marginals(log_weights[0].numpy())):
        assert (row - torch.from_numpy(expected)).abs().max() < 1e-12
    assert abs(circuit.log_partition(log_weights).item() - reference.log_partition(log_weights[0].numpy())) < 1e-10


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), seed=seeds, peakedness=st.sampled_from([1.0, 30.0, 120.0]))
def test_gradients_equal_those_of_the_enumeration(graph, seed, peakedness):
    circuit = random_circuit(graph, seed, peakedness, torch.float64)
    log_weights, _ = evidence_for(circuit, joint_table(circuit), "soft", seed)
    upstream = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    log_weights.requires_grad_()
    wanted = [log_weights, *(p for p in circuit.parameter_list if p.requires_grad)]
    found = torch.autograd.grad((circuit.log_partition(log_weights) * upstream).sum(), wanted)
    log_z = torch.stack([weighted(joint_table(circuit), row).sum().log() for row in log_weights])
    for ours, expected in zip(found, torch.autograd.grad((log_z * upstream).sum(), wanted)):
        assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-9 * max(1.0, float(expected.abs().max())))


def test_children_that_agree_only_below_the_range_of_floats():
    """Two children, one-hot almost everywhere else: their product lives where both are 1e-30 of their maximum."""
    graph = structures.hmm(3, num_categories=3, num_latents=3)
    circuit = Circuit(graph, dtype=torch.float32)
    tiny = 1e-30
    with torch.no_grad():
        for theta in circuit.parameter_list:
            theta.fill_(tiny)
            for r in range(len(theta)):
                for k in range(theta.shape[1]):
                    theta[r, k, (k + r) % theta.shape[2]] = 1.0
    for kind in EVIDENCE_KINDS:
        log_weights = random_evidence(kind, 16, 3, 3, seed=5).float().double()
        expected = torch.stack([marginals(weighted(joint_table(circuit).detach(), row)) for row in log_weights])
        assert (circuit.posterior_marginals(log_weights).double() - expected).abs().max() < 1e-5


def test_samples_follow_the_posterior():
    """Chi-square of 20 000 joint samples against all 81 states; false alarm probability 1e-4."""
    graph = structures.rat_spn(
        4, num_categories=3, num_latents=2, depth=2, repetitions=2, generator=torch.Generator().manual_seed(0)
    )
    circuit = random_circuit(graph, 1, 1.0, torch.float64)
    log_weights = random_evidence("soft", 2, 4, 3, seed=2)
    samples = circuit.sample(20_000, log_weights, generator=torch.Generator().manual_seed(3))
    for b in range(2):
        table = weighted(joint_table(circuit), log_weights[b]).detach()
        expected = (table / table.sum()).flatten() * len(samples)
        code = (samples[:, b] * torch.tensor([27, 9, 3, 1])).sum(-1)
        observed = torch.bincount(code, minlength=81)
        statistic = ((observed - expected) ** 2 / expected).sum()
        assert statistic < 136.0  # the 1 - 1e-4 quantile of chi-square with 80 degrees of freedom is 136.04


@pytest.mark.parametrize("owners", [1, 2, 3, 4, 48])
@pytest.mark.parametrize("message_bytes", [2**28, 1])
def test_generators_of_rows_draw_as_if_alone(monkeypatch, owners, message_bytes):
    """Several partitions, so that not every walk reaches every region; in one piece, and in pieces of up to 16 rows."""
    monkeypatch.setattr("tiramisu_edu.circuits.circuit.MESSAGE_BYTES", message_bytes)
    generator = torch.Generator().manual_seed(0)
    graph = structures.rat_spn(8, num_categories=3, num_latents=2, depth=2, repetitions=3, generator=generator)
    circuit, log_weights = random_circuit(graph, 1, 1.0, torch.float64), random_evidence("soft", 48, 8, 3, seed=2)

    def own() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(n) for n in range(owners)]

    shares = zip(log_weights.chunk(owners), own())
    alone = torch.cat([circuit.sample(5, rows, generator=g) for rows, g in shares], 1)
    assert torch.equal(circuit.sample(5, log_weights, generator=own()), alone)


def test_unconditional_samples_have_no_batch_axis():
    circuit = Circuit(structures.mixture(3, num_categories=2, num_latents=2))
    assert circuit.sample(5, generator=torch.Generator().manual_seed(0)).shape == (5, 3)


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), seed=seeds, kind=st.sampled_from(["soft", "tiny", "excluding"]))
def test_most_probable_is_a_lower_bound_and_exact_on_chow_liu_trees(graph, seed, kind):
    circuit = random_circuit(graph, seed, 2.0, torch.float64)
    log_weights, tables = evidence_for(circuit, joint_table(circuit), kind, seed)
    is_tree = any(region.family == "indicator" for region in graph.regions)
    for x, table in zip(circuit.most_probable(log_weights).tolist(), tables):
        value = table[tuple(x)]
        assert value > 0
        if is_tree:
            assert torch.isclose(value, table.max(), rtol=1e-9)


def test_soft_evidence_rows_are_independent_and_scale_out():
    circuit = random_circuit(structures.hmm(5, num_categories=3, num_latents=4), 0, 1.0, torch.float64)
    log_weights = random_evidence("soft", 6, 5, 3, seed=1)
    together = circuit.posterior_marginals(log_weights)
    assert torch.allclose(together[2:3], circuit.posterior_marginals(log_weights[2:3]), atol=1e-14)
    scaled = log_weights + torch.randn(6, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 40
    assert torch.allclose(together, circuit.posterior_marginals(scaled), atol=1e-12)


def test_large_batches_are_worked_through_in_chunks(monkeypatch):
    circuit = random_circuit(structures.hmm(4, num_categories=3, num_latents=3), 0, 1.0, torch.float64)
    log_weights = random_evidence("soft", 50, 4, 3, seed=1)
    whole = circuit.posterior_marginals(log_weights), circuit.log_partition(log_weights)
    samples = circuit.sample(3, log_weights, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("tiramisu_edu.circuits.circuit.MESSAGE_BYTES", 1)
    assert torch.allclose(whole[0], circuit.posterior_marginals(log_weights), atol=1e-14)
    assert torch.allclose(whole[1], circuit.log_partition(log_weights), atol=1e-13)
    assert circuit.sample(3, log_weights, generator=torch.Generator().manual_seed(0)).shape == samples.shape
    log_weights[45, 2] = -torch.inf
    log_weights[45, 2, 0] = 0
    with torch.no_grad():
        for theta, parameter in zip(circuit.parameter_list, circuit.plan.parameters):
            if parameter.family:
                theta[..., 0] = 0
    with pytest.raises(EvidenceError, match=r"Z\(w\) = 0 in batch rows 45$"):
        circuit.posterior_marginals(log_weights)


def small():
    return Circuit(structures.mixture(3, num_categories=2, num_latents=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[0], r"shape \(B, 3, 2\), not \(3, 2\)"),
        (lambda w: w[:, :, :1], r"not \(4, 3, 1\)"),
        (lambda w: w.long(), "floating point"),
        (
            lambda w: w.index_put((torch.tensor(2), torch.tensor(1), torch.tensor(0)), torch.tensor(torch.nan)),
            "batch row 2, variable 1 contain NaN",
        ),
        (
            lambda w: w.index_put((torch.tensor(3), torch.tensor(2), torch.tensor(1)), torch.tensor(torch.inf)),
            r"batch row 3, variable 2 contain \+inf",
        ),
        (
            lambda w: w.index_put((torch.tensor(1), torch.tensor(0)), torch.tensor(-torch.inf)),
            "batch row 1, variable 0 are -inf",
        ),
    ],
)
def test_bad_log_weights_are_named(change, message):
    log_weights = change(torch.zeros(4, 3, 2))
    for query in (
        small().log_partition,
        small().posterior_marginals,
        small().most_probable,
        lambda w: small().sample(1, w),
    ):
        with pytest.raises(EvidenceError, match=message):
            query(log_weights)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 4, dtype=torch.long), r"\(B, 3\), not \(2, 4\)"),
        (torch.zeros(2, 3), "integer categories"),
        (torch.tensor([[0, 1, 0], [0, 1, 2]]), r"x\[1, 2\] = 2 is not a category: use 0 … 1"),
        (torch.tensor([[0, -2, 0]]), r"x\[0, 1\] = -2"),
    ],
)
def test_bad_values_are_named(x, message):
    with pytest.raises(EvidenceError, match=message):
        small().log_likelihood(x)


def test_no_evidence_rows_give_no_answers():
    circuit = small()
    assert circuit.log_likelihood(torch.zeros(0, 3, dtype=torch.long)).shape == (0,)
    nothing = torch.zeros(0, 3, 2)
    assert circuit.log_partition(nothing).shape == (0,)
    assert circuit.posterior_marginals(nothing).shape == (0, 3, 2)
    assert circuit.sample(4, nothing).shape == (4, 0, 3)
    assert circuit.most_probable(nothing).shape == (0, 3)
