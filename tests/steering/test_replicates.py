"""The published read-out against the textbook recursion, and the correct posterior against both."""

import pytest
import torch

from tests.circuits.oracle import joint_table
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.steering.controls.published import replicate_predictive, with_replicates

GRAPHS = {
    "hmm": structures.hmm(4, num_categories=3, num_latents=2),
    "tree": structures.quad_tree(2, 2, num_categories=3, num_latents=3),
    "several partitions": structures.rat_spn(
        4, num_categories=3, num_latents=2, depth=2, repetitions=2, generator=torch.Generator().manual_seed(0)
    ),
}


def circuit_of(name):
    return Circuit(GRAPHS[name], generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def log_weights(num=3):
    return torch.randn(num, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2


@pytest.mark.parametrize("name", GRAPHS)
def test_replicates_leave_the_variables_alone(name):
    circuit = circuit_of(name)
    doubled = with_replicates(circuit)
    w = log_weights()
    both = torch.cat([w, torch.zeros_like(w)], 1)
    assert torch.allclose(doubled.log_partition(both), circuit.log_partition(w), atol=1e-12)
    assert torch.allclose(doubled.posterior_marginals(both)[:, :4], circuit.posterior_marginals(w), atol=1e-12)


def test_readout_is_the_flow_of_the_inputs_times_their_tables():
    """sum_n F_n f_n(v), F_n by the derivative of log Z with respect to the table of its input: no replicates used."""
    circuit = circuit_of("tree")
    w = log_weights()
    found = replicate_predictive(with_replicates(circuit), w)
    for row in range(len(w)):
        log_z = circuit.log_partition(w[[row]]).sum()
        gradients = torch.autograd.grad(log_z, list(circuit.parameter_list))
        for index, region in enumerate(circuit.graph.regions):
            if region.is_input:
                parameter, at = circuit.plan.region_parameter[index]
                table = circuit.parameter_list[parameter][at].detach()
                flow = (gradients[parameter][at] * table).sum(-1)  # (K,)
                assert torch.allclose(found[row, region.scope[0]], flow @ table, atol=1e-12)


def test_readouts_agree_where_a_variable_is_missing_and_nowhere_else():
    circuit = circuit_of("tree")
    w = log_weights()
    w[:, 2] = 0.0
    posterior, published = circuit.posterior_marginals(w), replicate_predictive(with_replicates(circuit), w)
    assert torch.allclose(posterior[:, 2], published[:, 2], atol=1e-12)
    assert (posterior - published)[:, [0, 1, 3]].abs().sum(-1).min() > 0.05

    weighted = joint_table(circuit) * torch.einsum("bi,bj,bk,bl->bijkl", *(w[:, i].exp() for i in range(4)))
    by_hand = weighted.sum((1, 3, 4)) / weighted.sum((1, 2, 3, 4))[:, None]  # p(X_1 | w)
    assert torch.allclose(posterior[:, 1], by_hand, atol=1e-12)
    assert not torch.allclose(published[:, 1], by_hand, atol=0.01)
