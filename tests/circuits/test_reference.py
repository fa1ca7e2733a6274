"""The textbook circuit against the table of all its states, on random small circuits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits.random_nodes import random_nodes
from tiramisu_edu.circuits.enumeration import brute_force_joint, enumerate_states, is_deterministic
from tiramisu_edu.circuits.nodes import Input, Product, Sum, scopes
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course import examples
from tiramisu_edu.errors import EvidenceError, StructureError

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
    i, j = 0, circuit.num_variables - 1
    for pair in [(i, j), (j, i), (i, i)]:
        pairwise = circuit.pairwise_marginals(*pair, log_weights)
        np.testing.assert_allclose(pairwise, joint.marginal(*pair), **EXACT)


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


# Structure.


def test_shared_nodes_are_counted_once():
    leaf = Input(0, [0.5, 0.5])
    circuit = ReferenceCircuit(Sum([leaf, leaf], [0.5, 0.5]))
    assert (circuit.num_nodes, circuit.num_edges, circuit.num_parameters) == (2, 2, 4)


def test_not_smooth_names_the_sum():
    root = Sum([Product([Input(0, [1]), Input(1, [1])]), Input(0, [1], "left")], [0.5, 0.5], name="blend")
    with pytest.raises(StructureError, match=r"sum 'blend' is not smooth.*'left' over \[0\]"):
        ReferenceCircuit(root)
    circuit = ReferenceCircuit(root, check_structure=False)
    assert not circuit.is_smooth
    assert circuit.is_decomposable
    assert scopes(circuit.nodes)[root] == {0, 1}


def test_not_decomposable_names_the_product_and_the_variable():
    root = Product([Input(0, [0.5, 0.5], "a"), Input(0, [0.1, 0.9], "b")], name="twice")
    with pytest.raises(StructureError, match=r"product 'twice'.*'a' and input 'b' both contain variable 0"):
        ReferenceCircuit(root)
    circuit = ReferenceCircuit(root, check_structure=False)
    assert not circuit.is_decomposable
    # The pass answers 1; the mass of the polynomial is 0.5 · 0.1 + 0.5 · 0.9.
    assert circuit.log_partition() == pytest.approx(0)
    assert brute_force_joint(circuit).log_partition == pytest.approx(np.log(0.5))


def test_cycles_are_refused_by_name():
    children = [Input(0, [0.5, 0.5])]
    loop = Sum(children, [0.5, 0.5], name="loop")
    children.append(Product([loop], name="back"))
    with pytest.raises(StructureError, match="'loop' is its own descendant"):
        ReferenceCircuit(loop)
    ring = Sum(selfish := [], [1.0], name="selfish")
    selfish.append(ring)
    with pytest.raises(StructureError, match="'selfish' is its own descendant"):
        ReferenceCircuit(ring)


LEAF = Input(0, [0.5, 0.5], name="leaf")


@pytest.mark.parametrize(
    ("root", "num_categories", "message"),
    [
        (Sum([LEAF, LEAF], [0.5, 0.6], name="s"), None, r"sum 's' sum to 1.1, not to 1"),
        (Sum([LEAF, LEAF], [1.5, -0.5], name="s"), None, r"sum 's' needs a row of finite numbers >= 0"),
        (Sum([LEAF, LEAF], [1.0], name="s"), None, r"sum 's' has 2 children but 1 weights"),
        (Sum([], [], name="s"), None, r"sum 's' has no children"),
        (Product([], name="p"), None, r"product 'p' has no children"),
        (Input(0, [0.5, np.nan], name="leaf"), None, r"input 'leaf' needs a row of finite"),
        (Sum([LEAF, Input(0, [1.0], "short")], [0.5, 0.5]), None, r"variable 0 has 2 categories"),
        (LEAF, 3, r"input 'leaf' has a table of 2 values, but variable 0 has 3 categories"),
        (LEAF, [2, 2], r"num_categories has 2 entries"),
        (Input(1, [1.0]), None, r"check \[0\]"),
        (
            Sum([LEAF, Input(0, [0, 1], "t", tie="a"), Input(0, [1, 0], "u", tie="a")], [0, 0.5, 0.5]),
            None,
            "'u' is tied",
        ),
    ],
)
def test_wrong_nodes_are_refused_by_name(root, num_categories, message):
    with pytest.raises(StructureError, match=message):
        ReferenceCircuit(root, num_categories)


# Evidence.


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([-np.inf, -np.inf], "weights of variable 1 are all zero"),
        ([0.0, np.nan], r"variable 1 contain NaN or \+inf"),
        ([0.0, np.inf], r"variable 1 contain NaN or \+inf"),
        ([0.0], "variable 1 needs a row of 2 log weights"),
    ],
)
@pytest.mark.parametrize("query", ["forward", "log_partition", "posterior_marginals", "most_probable"])
def test_impossible_evidence_names_the_variable(query, row, message):
    circuit = examples.sum_product_network()
    with pytest.raises(EvidenceError, match=message):
        getattr(circuit, query)([[0.0, 0.0], row, [0.0, 0.0]])


def test_contradiction_with_the_circuit_is_an_error_not_a_nan():
    circuit = ReferenceCircuit(Sum([examples.indicator(0, 0, 2), examples.indicator(0, 1, 2)], [1.0, 0.0]))
    assert circuit.likelihood([1]) == 0
    for query in (circuit.log_partition, circuit.posterior_marginals, circuit.most_probable):
        with pytest.raises(EvidenceError, match="Z"):
            query(circuit.evidence([1]))
    with pytest.raises(EvidenceError, match="row 1 of the data: Z"):
        circuit.em_step([[0], [1]])
    with pytest.raises(EvidenceError, match="at least one row"):
        circuit.em_step([])


@pytest.mark.parametrize(
    ("x", "message"), [([0, 2, 0], "variable 1 is 2"), ([0, 0], "x has 2 values"), ([0, -2, 0], "-2")]
)
def test_states_out_of_range_name_the_variable(x, message):
    with pytest.raises(EvidenceError, match=message):
        examples.sum_product_network().likelihood(x)


def test_wrong_number_of_rows():
    with pytest.raises(EvidenceError, match="log_weights has 2 rows"):
        examples.sum_product_network().forward(np.zeros((2, 2)))


# Enumeration and the examples.


def test_states_are_listed_in_the_order_of_counting():
    circuit = ReferenceCircuit(Product([Input(0, [0.5, 0.5]), Input(1, [0.2, 0.3, 0.5])]))
    assert enumerate_states(circuit).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_conditionals_of_the_table():
    joint = brute_force_joint(examples.sum_product_network())
    table = joint.probabilities
    np.testing.assert_allclose(joint.conditional(2, {0: 1, 1: 0}), table[1, 0] / table[1, 0].sum())
    np.testing.assert_allclose(joint.conditional(1, {}), table.sum((0, 2)))
    np.testing.assert_allclose(joint.marginal(2, 0), table.sum(1).T)
    with pytest.raises(EvidenceError, match="no state"):
        brute_force_joint(ReferenceCircuit(Input(0, [1.0, 0.0]))).conditional(0, {0: 1})


def test_a_table_too_large_is_refused():
    circuit = examples.naive_bayes([1.0], [[[0.5, 0.5]] * 64])
    with pytest.raises(EvidenceError, match="18446744073709551616 states"):
        enumerate_states(circuit)


def test_hmm_against_the_sum_over_hidden_paths():
    initial, transition = np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.4, 0.6]])
    emission = np.array([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    table = np.einsum("a,ai,ab,bj,bc,ck->ijk", initial, emission, transition, emission, transition, emission)
    circuit = examples.hmm(initial, transition, emission, 3)
    np.testing.assert_allclose(brute_force_joint(circuit).probabilities, table)


def test_chow_liu_tree_against_the_product_of_conditionals():
    middle, left, right = (
        np.array([0.3, 0.7]),
        np.array([[0.9, 0.1], [0.4, 0.6]]),
        np.array([[0.8, 0.2], [0.3, 0.7]]),
    )
    circuit = examples.chow_liu_tree([1, None, 1], [left, middle, right])
    table = np.einsum("j,ji,jk->ijk", middle, left, right)
    np.testing.assert_allclose(brute_force_joint(circuit).probabilities, table)
    assert is_deterministic(circuit)
    with pytest.raises(StructureError, match="one root"):
        examples.chow_liu_tree([None, None], [middle, middle])


def test_naive_bayes_and_the_two_networks():
    tables = np.array([[[0.9, 0.1], [0.7, 0.3]], [[0.2, 0.8], [0.5, 0.5]]])
    table = np.einsum("k,ki,kj->ij", [0.4, 0.6], tables[:, 0], tables[:, 1])
    np.testing.assert_allclose(brute_force_joint(examples.naive_bayes([0.4, 0.6], tables)).probabilities, table)
    assert is_deterministic(examples.cutset_network())
    assert not is_deterministic(examples.sum_product_network())
