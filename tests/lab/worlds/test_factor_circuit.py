"""The network as a circuit gives the network's own numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.worlds.test_factors import every_state, models
from tiramisu_edu.lab.worlds.factor_circuit import factor_circuit
from tiramisu_edu.lab.worlds.rooms_factors import rooms_model


@settings(max_examples=25, deadline=None)
@given(models(), st.integers(0, 2**31))
def test_likelihoods_and_marginals_are_those_of_elimination(model, seed):
    circuit = factor_circuit(model)
    for state, log_p in zip(every_state(model), model.log_probability(every_state(model))):
        assert circuit.log_likelihood(state.numpy()) == pytest.approx(float(log_p), abs=1e-9)

    rng = torch.Generator().manual_seed(seed)
    rows = model.sample(3, rng)
    seen = torch.rand(rows.shape, generator=rng) < 0.5
    posteriors = model.conditional(rows, seen)
    for n in range(len(rows)):
        marginals = circuit.posterior_marginals(circuit.evidence(rows[n].where(seen[n], -1).numpy()))
        for f, marginal in enumerate(marginals):
            np.testing.assert_allclose(marginal, posteriors[f][n], atol=1e-9)


def test_the_rooms_are_a_small_circuit():
    model = rooms_model()
    circuit = factor_circuit(model)
    assert circuit.num_nodes < 1000  # the joint has 2.6 · 10^11 states
    states = model.sample(20, torch.Generator().manual_seed(0))
    for state, log_p in zip(states, model.log_probability(states)):
        assert circuit.log_likelihood(state.numpy()) == pytest.approx(float(log_p))
