"""What a circuit of scalar nodes refuses, by name: structure, numbers and evidence that lead nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from tiramisu_edu.circuits.enumeration import brute_force_joint
from tiramisu_edu.circuits.nodes import Input, Product, Sum, scopes
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course import examples
from tiramisu_edu.errors import EvidenceError, StructureError


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
    ("root", "message"),
    [
        (Sum([LEAF, LEAF], [0.5, 0.6], name="s"), r"sum 's' sum to 1.1, not to 1"),
        (Sum([LEAF, LEAF], [1.5, -0.5], name="s"), r"sum 's' needs a row of finite numbers >= 0"),
        (Sum([LEAF, LEAF], [1.0], name="s"), r"sum 's' has 2 children but 1 weights"),
        (Sum([], [], name="s"), r"sum 's' has no children"),
        (Product([], name="p"), r"product 'p' has no children"),
        (Input(0, [0.5, np.nan], name="leaf"), r"input 'leaf' needs a row of finite"),
        (
            Sum([LEAF, Input(0, [1.0], "short")], [0.5, 0.5]),
            r"input 'short' has a table of 1 values, but variable 0 has 2 categories",
        ),
        (Input(1, [1.0]), r"check \[0\]"),
        (
            Sum([LEAF, Input(0, [0, 1], "t", tie="a"), Input(0, [1, 0], "u", tie="a")], [0, 0.5, 0.5]),
            "'u' is tied",
        ),
    ],
)
def test_wrong_nodes_are_refused_by_name(root, message):
    with pytest.raises(StructureError, match=message):
        ReferenceCircuit(root)


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
    circuit = ReferenceCircuit(Sum([Input(0, [1, 0]), Input(0, [0, 1])], [1.0, 0.0]))
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
