"""Input families: tables against the definition, M-steps that climb, circuits that learn with them."""

import math
from itertools import pairwise

import pytest
import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.inputs import FAMILIES, DiscretisedGaussian, DiscretisedLogistic
from tiramisu_edu.circuits.learning import fit_em
from tiramisu_edu.errors import StructureError

LEARNED = [name for name, family in FAMILIES.items() if family.is_learned]


C = 9


@pytest.mark.parametrize("name", list(FAMILIES))
def test_tables_are_distributions(name):
    family = FAMILIES[name]
    start = family.start((3, C, C), torch.Generator().manual_seed(0), torch.float64)
    table = family.table(start, C)
    assert table.shape == (3, C, C) and (table >= 0).all()
    assert torch.allclose(table.sum(-1), torch.ones(3, C, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    ("family", "cdf"),
    [
        (DiscretisedGaussian(), lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2)))),
        (DiscretisedLogistic(), lambda z: 1 / (1 + math.exp(-z))),
    ],
)
def test_bin_masses_are_differences_of_the_cdf_and_the_ends_take_the_tails(family, cdf):
    C, mean, scale = 5, 0.3, 0.4
    parameters = torch.tensor([[[mean, math.log(scale)]]], dtype=torch.float64)
    edges = [-math.inf, *(-1 + (2 * v + 1) / (C - 1) for v in range(C - 1)), math.inf]
    at = [0.0 if e == -math.inf else 1.0 if e == math.inf else cdf((e - mean) / scale) for e in edges]
    expected = torch.tensor([b - a for a, b in pairwise(at)], dtype=torch.float64)
    assert torch.allclose(family.table(parameters, C)[0, 0], expected, atol=1e-14)


def test_far_tails_keep_their_digits():
    """Ten standard deviations out the mass is 1e-24: the difference of two CDFs near 1 would be 0."""
    family = DiscretisedGaussian()
    right = family.log_table(torch.tensor([[[-1.0, math.log(0.1)]]], dtype=torch.float64), 21)
    left = family.log_table(torch.tensor([[[1.0, math.log(0.1)]]], dtype=torch.float64), 21)
    assert torch.allclose(right, left.flip(-1), rtol=1e-12)
    assert -60 < right[0, 0, 10] < -40


@pytest.mark.parametrize("name", LEARNED)
def test_the_m_step_climbs_and_finds_the_source(name):
    family = FAMILIES[name]
    g = torch.Generator().manual_seed(0)
    source = family.table(family.start((1, 6, C), g, torch.float64), C)
    counts = 1000 * source
    value = family.start((1, 6, C), torch.Generator().manual_seed(1), torch.float64)
    previous = -torch.inf
    for _ in range(10):
        value = family.maximise(value, counts, 0.0)
        objective = (counts * family.table(value, C).log()).sum()
        assert objective >= previous - 1e-9
        previous = objective
    assert (family.table(value, C) - source).abs().max() < 1e-3


@pytest.mark.parametrize("name", LEARNED)
def test_units_without_counts_keep_their_parameters(name):
    family = FAMILIES[name]
    value = family.start((1, 2, C), torch.Generator().manual_seed(1), torch.float64)
    counts = torch.zeros(1, 2, C, dtype=torch.float64)
    counts[0, 1] = 3.0
    after = family.maximise(value, counts, 0.0)
    assert torch.equal(after[0, 0], value[0, 0]) and not torch.equal(after[0, 1], value[0, 1])


@pytest.mark.parametrize("name", LEARNED)
def test_em_climbs_with_every_family(name):
    g = torch.Generator().manual_seed(0)
    hidden = torch.randint(2, (300, 1), generator=g)
    noise = torch.randint(-1, 2, (300, 4), generator=g)
    data = (2 + 4 * hidden + noise).expand(300, 4).contiguous()
    circuit = Circuit(
        structures.mixture(4, num_categories=C, num_latents=3, family=name), generator=g, dtype=torch.float64
    )
    history = fit_em(circuit, data, epochs=12, pseudocount=0.0, progress=False)
    for before, after in zip(history.train, history.train[1:]):
        assert after >= before - 1e-9
    assert history.train[-1] > history.train[0] + 0.5


def test_gradients_reach_the_parameters_of_a_family():
    graph = structures.mixture(3, num_categories=9, num_latents=2, family="discretised_logistic")
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.tensor([[0, 4, 8], [3, -1, 5]])
    own = circuit.parameter_list[0]
    (gradient,) = torch.autograd.grad(circuit.log_likelihood(x).sum(), own)
    for index in ((0, 0, 0), (2, 1, 1)):
        values = []
        for delta in (1e-6, -1e-6):
            with torch.no_grad():
                own[index] += delta
                values.append(circuit.log_likelihood(x).sum().item())
                own[index] -= delta
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_parameters_are_counted_and_impossible_families_refused():
    sizes = {"categorical": 9, "discretised_logistic": 2, "discretised_gaussian": 2}
    for name, size in sizes.items():
        graph = structures.mixture(4, num_categories=9, num_latents=5, family=name)
        assert graph.num_parameters == 4 * 5 * size + 5
    with pytest.raises(StructureError, match="unknown input family 'poisson'; known: categorical"):
        structures.mixture(4, num_categories=9, num_latents=5, family="poisson")
    with pytest.raises(StructureError, match="an indicator region has one unit per category"):
        structures.mixture(4, num_categories=9, num_latents=5, family="indicator")
