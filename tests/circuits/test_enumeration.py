"""The table of all states, and the classical models of `course.examples` against their own formulas."""

from __future__ import annotations

import numpy as np
import pytest

from tiramisu_edu.circuits.enumeration import brute_force_joint, enumerate_states, is_deterministic
from tiramisu_edu.circuits.nodes import Input, Product
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course import examples
from tiramisu_edu.errors import EvidenceError, StructureError

EXACT = {"rtol": 1e-9, "atol": 1e-12}


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
