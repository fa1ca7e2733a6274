"""Every query of a circuit in float32, on 500 random circuits of every structure, against the whole table.

Evidence includes contradictory rows, where all but one category weigh 1e-30, and parameters so peaked that float32
rounds many to zero. A second test compares the same queries with the scalar nodes of the reference.
"""

from __future__ import annotations

import math

import numpy as np
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
from tiramisu_edu.errors import EvidenceError

TOLERANCE = 1e-5
TINY = 1e-280  # what the oracle's float64 table still represents
ROWS = 2
cases = {
    # One variable or one category leaves little to infer, and hypothesis loves both: `test_circuit` has those.
    "graph": graphs().filter(lambda graph: graph.num_variables > 1 and graph.num_categories > 1),
    "seed": st.integers(0, 2**31),
    "kind": st.sampled_from(EVIDENCE_KINDS),
    "peakedness": st.sampled_from([1.0, 5.0, 30.0]),
}


def case(graph, seed, kind, peakedness, rows=ROWS):
    """The circuit, its table of p(x), and rows of evidence as the engine sees them, rounded to float32."""
    circuit = random_circuit(graph, seed, peakedness, torch.float32).requires_grad_(False)
    log_weights = random_evidence(kind, rows, circuit.num_variables, circuit.num_categories, seed).float()
    return circuit, joint_table(circuit), log_weights


def assert_logs_agree(found, expected):
    """Relative to max(1, |log|), so that both 1e-5 of a large logarithm and 1e-5 of a probability near one count."""
    error = (found.double() - expected).abs() / expected.abs().clamp_min(1)
    assert error.max() < TOLERANCE


def partly_missing(circuit, seed):
    """Three rows of values, of which about a third are missing, and one row of nothing."""
    g = torch.Generator().manual_seed(seed)
    shape = 3, circuit.num_variables
    x = torch.randint(circuit.num_categories, shape, generator=g)
    x[torch.rand(shape, generator=g) < 0.3] = -1
    return torch.cat([x, torch.full((1, circuit.num_variables), -1)])


def max_product_table(circuit):
    """max over the circuit's latent choices z of p(x, z), for every x: sums of `joint_table` made into maxima."""
    graph, tables = circuit.graph, {}
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        region, theta = graph.regions[index], circuit.region_table(index).double()
        if region.is_input:
            shape = [circuit.num_categories if i == region.scope[0] else 1 for i in range(circuit.num_variables)]
            tables[index] = theta.reshape(-1, *shape)
            continue
        products = torch.cat([math.prod(tables[c] for c in partition) for partition in region.partitions])
        terms = theta.reshape(*theta.shape, *[1] * circuit.num_variables) * products
        tables[index] = terms.amax(1)
    return tables[len(graph.regions) - 1][0]


@settings(max_examples=500, deadline=None)
@given(**cases)
def test_every_query_equals_enumeration(graph, seed, kind, peakedness):
    circuit, joint, log_weights = case(graph, seed, kind, peakedness)

    x = partly_missing(circuit, seed)
    for row, log_p in zip(x.tolist(), circuit.log_likelihood(x)):
        p = joint[tuple(slice(None) if v < 0 else v for v in row)].sum()
        if p > TINY:
            assert_logs_agree(log_p, p.log())
        else:  # zero, or beyond what the table can tell from it
            assert log_p < -600

    tables = torch.stack([weighted(joint, row) for row in log_weights])
    z = tables.flatten(1).sum(1)
    assume((z > TINY).all())
    assert_logs_agree(circuit.log_partition(log_weights), z.log())

    expected = torch.stack([marginals(table) for table in tables])
    assert (circuit.posterior_marginals(log_weights).double() - expected).abs().max() < TOLERANCE

    samples = circuit.sample(8, log_weights, generator=torch.Generator().manual_seed(seed))
    best, max_product = circuit.most_probable(log_weights), max_product_table(circuit)
    is_tree = any(region.family == "indicator" for region in graph.regions)
    for b, table in enumerate(tables):
        assert all(table[tuple(x)] > 0 for x in samples[:, b].tolist())
        value = table[tuple(best[b].tolist())]
        bound = table if is_tree else weighted(max_product, log_weights[b])  # exact for Chow-Liu trees
        assert value > 0 and value >= (1 - 10 * TOLERANCE) * bound.max()


@settings(max_examples=60, deadline=None)
@given(**cases)
def test_every_query_equals_the_scalar_nodes(graph, seed, kind, peakedness):
    circuit, _, log_weights = case(graph, seed, kind, peakedness, rows=1)
    reference, evidence = to_reference(circuit), log_weights[0].double().numpy()

    x = partly_missing(circuit, seed)
    expected = np.array([reference.log_likelihood(row) for row in x.tolist()])
    found = circuit.log_likelihood(x).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)  # −inf where the reference says so

    if reference.forward(evidence)[reference.root] == -np.inf:
        with pytest.raises(EvidenceError, match="Z"):
            circuit.posterior_marginals(log_weights)
        return
    log_z = circuit.log_partition(log_weights).item()
    assert log_z == pytest.approx(reference.log_partition(evidence), rel=TOLERANCE, abs=TOLERANCE)
    found = circuit.posterior_marginals(log_weights)[0].numpy()
    np.testing.assert_allclose(found, reference.posterior_marginals(evidence), rtol=0, atol=TOLERANCE)
    samples = circuit.sample(3, log_weights, generator=torch.Generator().manual_seed(seed))
    for state in (circuit.most_probable(log_weights)[0], *samples[:, 0]):
        assert reference.log_likelihood(state.tolist()) > -np.inf
        assert np.isfinite(evidence[np.arange(len(state)), state]).all()
