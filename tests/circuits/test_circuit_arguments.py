"""What a circuit is made of and asked with: arguments of other kinds are refused with a sentence."""

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from tests.circuits.oracle import (
    joint_table,
)
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.errors import StructureError, TiramisuError

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
seeds = st.integers(0, 2**31)


def test_a_table_that_is_set_is_the_one_that_is_used():
    circuit = Circuit(structures.hmm(4, num_categories=3, num_latents=2, tied=True), dtype=torch.float64)
    tied = next(i for i, region in enumerate(circuit.graph.regions) if region.tied_to == 0)
    emission = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.1, 0.9]])
    circuit.set_region_table(tied, emission)
    assert torch.allclose(circuit.region_table(0).float(), emission)
    x = torch.tensor([[-1, -1, -1, 2]])
    expected = torch.tensor(joint_table(circuit).sum((0, 1, 2))[2].item()).log()
    assert torch.isclose(circuit.log_likelihood(x).float(), expected)
    for wrong in (emission[:1], emission + 1, torch.tensor([[1.5, -0.5, 0.0]] * 2)):
        with pytest.raises(StructureError, match=f"region {tied}"):
            circuit.set_region_table(tied, wrong)


ODD_EVIDENCE = [np.zeros((2, 3, 4)), [[[0.0] * 4] * 3], "abc", None, 1.0, torch.zeros(3, 4), torch.zeros(2, 3, 5)]
ODD_EVIDENCE += [torch.zeros(2, 3, 4, dtype=dtype) for dtype in (torch.long, torch.bool, torch.complex64)]
ODD_VALUES = [np.zeros((2, 3), int), [[0, 1, 2]], "abc", None, torch.zeros(3, dtype=torch.long), torch.zeros(2, 3)]
ODD_VALUES += [torch.zeros(2, 3, dtype=dtype) for dtype in (torch.bool, torch.complex64)]
ODD_VALUES += [torch.full((1, 3), 255, dtype=torch.uint8), torch.full((1, 3), 2**62)]
TABLE = torch.full((2, 4), 0.25)
REFUSED = [
    *((name, (odd,)) for name in ("log_partition", "posterior_marginals", "most_probable") for odd in ODD_EVIDENCE),
    *(("sample", (1, odd)) for odd in ODD_EVIDENCE if odd is not None),
    *(("log_likelihood", (odd,)) for odd in ODD_VALUES),
    *(("sample", (n,)) for n in (0, -1, 1.5, "2", None, torch.zeros(2))),
    *(("region_table", (index,)) for index in (99, -1, "a", None, 1.0)),
    *(("set_region_table", (index, TABLE)) for index in (99, -1, "a")),
    *(("set_region_table", (0, table)) for table in (TABLE.numpy(), TABLE.tolist(), TABLE[0], TABLE * torch.nan)),
]


def small_circuit(**options):
    graph = structures.hmm(3, num_categories=4, num_latents=2)
    return Circuit(graph, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_arguments_of_another_kind_are_refused_with_a_sentence(name, arguments):
    with pytest.raises(TiramisuError, match=r"\w+ .*\w+"):
        getattr(small_circuit(), name)(*arguments)


def test_what_a_circuit_cannot_be_made_of_is_refused():
    graph = small_circuit().graph
    with pytest.raises(TiramisuError, match="graph must be a RegionGraph, not str"):
        Circuit("abc")
    with pytest.raises(StructureError, match="a circuit computes in"):
        Circuit(graph, dtype=torch.float16)
    with pytest.raises(TiramisuError, match="unknown engine"):
        small_circuit(engine="quick").sample(1)
    with pytest.raises(TiramisuError, match="generator"):
        small_circuit().sample(1, generator=3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32])
def test_values_of_any_integer_type_are_the_same(dtype):
    x = torch.tensor([[0, 3, 1], [2, 2, 0]])
    assert torch.equal(small_circuit().log_likelihood(x.to(dtype)), small_circuit().log_likelihood(x))


@pytest.mark.parametrize("n", [np.int64(2), torch.tensor(2), 2])
def test_numbers_of_samples_may_come_from_numpy_and_torch(n):
    assert small_circuit().sample(n).shape == (2, 3)
