"""The textbook circuit against the table of all its states, on random small circuits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits.random_nodes import random_nodes
from tiramisu_edu.circuits.enumeration import brute_force_joint, enumerate_states, is_deterministic
from tiramisu_edu.circuits.nodes import Input, Sum
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course import examples
from tiramisu_edu.errors import EvidenceError

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@st.composite
def circuits(draw, sparsity=(0.0, 0.3)):
    """A random circuit: 1 to 5 variables of 1 to 4 categories, shared nodes, a share of zero weights."""
    num_categories = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return random_nodes(rng, num_categories, sparsity=draw(st.sampled_from(sparsity)))


@st.composite
def circuits_with_weights(draw):
    """A circuit and log weights between 0 and log 1e-30, or −inf, with at least one finite entry per row."""
    circuit = draw(circuits())
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    log_weights = []
    for num_categories in circuit.num_categories:
        row = rng.choice([0.0, np.log(1e-30), -np.inf, *rng.normal(size=3)], size=num_categories)
        row[rng.integers(num_categories)] = rng.normal()
        log_weights.append(row)
    return circuit, log_weights


def possible(circuit, log_weights):
    return brute_force_joint(circuit, log_weights).log_partition > -np.inf


@given(circuits_with_weights())
@settings(max_examples=150, deadline=None)
def test_every_query_agrees_with_the_table(case):
    circuit, log_weights = case
    joint = brute_force_joint(circuit, log_weights)
    if joint.log_partition == -np.inf:
        with pytest.raises(EvidenceError, match="Z"):
            circuit.posterior_marginals(log_weights)
        return
    assert circuit.log_partition(log_weights) == pytest.approx(joint.log_partition, rel=1e-9, abs=1e-9)
    for ours, theirs in zip(circuit.posterior_marginals(log_weights), joint.marginals()):
        np.testing.assert_allclose(ours, theirs, **EXACT)


@given(circuits(), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_likelihood_with_missing_values_agrees_with_the_table(circuit, seed):
    table = brute_force_joint(circuit).probabilities
    rng = np.random.default_rng(seed)
    for x in enumerate_states(circuit)[:20]:
        assert circuit.likelihood(x) == pytest.approx(table[tuple(x)], rel=1e-9, abs=1e-15)
        x[rng.random(len(x)) < 0.5] = -1
        seen = tuple(slice(None) if v == -1 else v for v in x)
        assert circuit.likelihood(x) == pytest.approx(table[seen].sum(), rel=1e-9, abs=1e-15)
    assert table.sum() == pytest.approx(1.0)


@given(circuits_with_weights())
@settings(max_examples=80, deadline=None)
def test_flows_are_probabilities(case):
    circuit, log_weights = case
    if not possible(circuit, log_weights):
        return
    log_fw = circuit.forward(log_weights)
    bk = circuit.backward(log_fw)
    flows = circuit.edge_flows(log_fw, bk)
    for i in range(circuit.num_variables):  # Σ_{n: var(n) = i} bk_n = 1
        total = sum(bk[n] for n in circuit.nodes if isinstance(n, Input) and n.variable == i)
        assert total == pytest.approx(1.0)
    for n in circuit.nodes:  # what reaches a sum leaves it, and what reaches a node came over its edges
        if isinstance(n, Sum):
            assert flows[n].sum() == pytest.approx(bk[n], abs=1e-12)
        arriving = sum(flows[m][k] for m in flows for k, c in enumerate(m.children) if c is n)
        assert arriving + (n is circuit.root) == pytest.approx(bk[n], abs=1e-12)


@given(circuits(sparsity=[0.0]), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_marginals_are_the_gradient_of_log_z(circuit, seed):
    rng = np.random.default_rng(seed)
    log_weights = [rng.normal(size=count) for count in circuit.num_categories]
    step = 1e-5
    for i, marginal in enumerate(circuit.posterior_marginals(log_weights)):
        for v in range(len(marginal)):
            log_z = []
            for sign in (1, -1):
                moved = [row.copy() for row in log_weights]
                moved[i][v] += sign * step
                log_z.append(circuit.log_partition(moved))
            assert (log_z[0] - log_z[1]) / (2 * step) == pytest.approx(marginal[v], abs=1e-7)


@given(circuits_with_weights(), st.floats(-500, 500))
@settings(max_examples=40, deadline=None)
def test_a_constant_factor_moves_log_z_and_nothing_else(case, constant):
    circuit, log_weights = case
    if not possible(circuit, log_weights):
        return
    scaled = [log_weights[0] + constant, *log_weights[1:]]
    assert circuit.log_partition(scaled) == pytest.approx(circuit.log_partition(log_weights) + constant)
    before, after = circuit.posterior_marginals(log_weights), circuit.posterior_marginals(scaled)
    np.testing.assert_allclose(np.concatenate(after), np.concatenate(before), rtol=1e-9, atol=1e-12)


def test_tiny_weights_do_not_underflow():
    D = 40  # Π_i w_i is about 1e-12000, far below the range of float64
    circuit = examples.hmm([0.3, 0.7], [[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.1, 0.9]], D)
    plain = [np.log([0.2, 0.5])] * D
    tiny = [row + np.log(1e-300) for row in plain]
    assert circuit.log_partition(tiny) == pytest.approx(circuit.log_partition(plain) + D * np.log(1e-300))
    np.testing.assert_allclose(circuit.posterior_marginals(tiny), circuit.posterior_marginals(plain), rtol=1e-9)


@given(circuits_with_weights())
@settings(max_examples=80, deadline=None)
def test_most_probable_is_exact_when_deterministic_and_a_lower_bound_otherwise(case):
    circuit, log_weights = case
    if not possible(circuit, log_weights):
        return
    log_table = brute_force_joint(circuit, log_weights).log_table
    x = circuit.most_probable(log_weights)
    assert -np.inf < log_table[tuple(x)] <= log_table.max() + 1e-9
    if is_deterministic(circuit):
        assert log_table[tuple(x)] == pytest.approx(log_table.max())


def test_most_probable_can_miss_the_mode_of_a_mixture():
    circuit = examples.naive_bayes([0.4, 0.3, 0.3], [[[1, 0]], [[0, 1]], [[0, 1]]])  # p(1) = 0.6 in two parts
    assert circuit.most_probable().tolist() == [0]
    assert brute_force_joint(circuit).most_probable().tolist() == [1]
    assert not is_deterministic(circuit)


@pytest.mark.parametrize("soft", [False, True])
def test_samples_follow_the_posterior(soft):
    """Chi-square over all states with a fixed seed; a correct sampler fails for one seed in ten thousand."""
    circuit = random_nodes(np.random.default_rng(3), [2, 3, 2])
    log_weights = [np.log([0.2, 0.9]), np.array([0.0, -np.inf, -1.0]), np.log([0.5, 1e-30])] if soft else None
    expected = 4000 * brute_force_joint(circuit, log_weights).probabilities.ravel()
    x = circuit.sample(4000, log_weights, rng=np.random.default_rng(0))
    counts = np.bincount(np.ravel_multi_index(x.T, circuit.num_categories), minlength=expected.size)
    assert counts[expected < 1e-20].sum() == 0
    kept = expected > 5
    chi_square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    degrees = kept.sum() - 1
    # Wilson and Hilferty: the 0.9999 quantile of chi-square, 3.719 standard deviations out.
    assert chi_square < degrees * (1 - 2 / (9 * degrees) + 3.719 * np.sqrt(2 / (9 * degrees))) ** 3


def test_sampling_is_reproducible_and_may_be_empty():
    circuit = examples.sum_product_network()
    a, b = (circuit.sample(5, rng=np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert circuit.sample(0, rng=np.random.default_rng(1)).shape == (0, 3)


@given(circuits(), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_em_never_lowers_the_likelihood(circuit, seed):
    rng = np.random.default_rng(seed)
    data = circuit.sample(12, rng=rng)
    data[rng.random(data.shape) < 0.2] = -1
    start = circuit._with_parameters(
        {n: np.full(len(p), 1 / len(p)) for n in circuit.nodes if len(p := getattr(n, "weights", []))}
    )
    history = []
    for _ in range(5):
        start, log_likelihood = start.em_step(data)
        history.append(log_likelihood)
    assert np.all(np.diff(history) >= -1e-9)


def test_em_on_complete_data_of_one_variable_counts():
    circuit, log_likelihood = ReferenceCircuit(Input(0, [0.5, 0.25, 0.25])).em_step([[0], [1], [1], [2]], 2.0)
    np.testing.assert_allclose(circuit.root.probabilities, np.array([1 + 2 / 3, 2 + 2 / 3, 1 + 2 / 3]) / 6)
    assert log_likelihood == pytest.approx(np.log([0.5, 0.25, 0.25, 0.25]).mean())


def test_em_matches_the_formula_by_enumeration():
    """θ_{n,c} from posterior class probabilities by hand; naive Bayes, one soft row, λ = 0.3."""
    theta, tables = np.array([0.4, 0.6]), np.array([[[0.9, 0.1], [0.7, 0.3]], [[0.2, 0.8], [0.5, 0.5]]])
    w = np.array([[0.3, 1.0], [1.0, 0.2]])
    circuit, _ = examples.naive_bayes(theta, tables).em_step_soft([np.log(w)], pseudocount=0.3)
    joint = np.einsum("k,ku,kv,u,v->kuv", theta, tables[:, 0], tables[:, 1], w[0], w[1])
    joint /= joint.sum()
    np.testing.assert_allclose(circuit.root.weights, (joint.sum((1, 2)) + 0.15) / 1.3)
    first_table = circuit.root.children[0].children[0].probabilities
    count = joint[0].sum(1)
    np.testing.assert_allclose(first_table, (count + 0.15) / (count.sum() + 0.3))


def test_tied_parameters_stay_equal_and_add_their_counts():
    circuit = examples.hmm([0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]], [[0.9, 0.1], [0.2, 0.8]], 4)
    assert circuit.num_parameters == 2 + 4 + 4
    data = circuit.sample(30, rng=np.random.default_rng(0))
    learned, before = circuit.em_step(data)
    emissions = {n.tie: n.probabilities for n in learned.nodes if isinstance(n, Input)}
    assert all(n.probabilities is emissions[n.tie] for n in learned.nodes if isinstance(n, Input))
    counts = [circuit.expected_counts(circuit.evidence(x))[0] for x in data]
    total = sum(c[n] for c in counts for n in circuit.nodes if getattr(n, "tie", "") == "emission 0")
    np.testing.assert_allclose(emissions["emission 0"], total / total.sum())
    assert learned.em_step(data)[1] > before
