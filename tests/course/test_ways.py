"""Ways down: together they are the distribution, and the share that visits a node is its flow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.circuits.random_nodes import random_nodes
from tiramisu_edu.circuits.enumeration import enumerate_states
from tiramisu_edu.course import examples
from tiramisu_edu.course.skyline import skyline_circuit
from tiramisu_edu.course.ways import ways_down

CIRCUITS = [
    examples.hmm([0.5, 0.5], [[0.8, 0.2], [0.3, 0.7]], [[0.9, 0.1], [0.2, 0.8]], 3),
    examples.sum_product_network(),
    skyline_circuit(2, 3, wear=0.1),
    *(random_nodes(np.random.default_rng(seed), [2, 3, 2]) for seed in range(4)),
]


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_ways_add_up_to_the_distribution(circuit):
    ways = list(ways_down(circuit.root))
    for x in enumerate_states(circuit):
        p = sum(way.theta * math.prod(n.probabilities[x[n.variable]] for n in way.inputs) for way in ways)
        assert p == pytest.approx(circuit.likelihood(x))
    for way in ways:
        assert sorted(n.variable for n in way.inputs) == list(range(circuit.num_variables))
        assert len(way.edges) == len(way.nodes) - 1 == len(set(way.nodes)) - 1


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_shares_of_ways_are_flows(circuit):
    rng = np.random.default_rng(0)
    log_w = [np.log(rng.random(count)) for count in circuit.num_categories]
    log_fw = circuit.forward(log_w)
    bk, flows = circuit.backward(log_fw), circuit.edge_flows(log_fw, circuit.backward(log_fw))
    ways = list(ways_down(circuit.root))
    share = np.array([w.theta * math.prod(n.probabilities @ np.exp(log_w[n.variable]) for n in w.inputs) for w in ways])
    share /= share.sum()
    for n in circuit.nodes:
        assert sum(s for s, way in zip(share, ways) if n in way.nodes) == pytest.approx(bk[n])
        for k, flow in enumerate(flows.get(n, [])):
            assert sum(s for s, way in zip(share, ways) if (n, k) in way.edges) == pytest.approx(flow)
