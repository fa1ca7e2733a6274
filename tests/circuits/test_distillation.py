"""Clustering, latent variable distillation, and learning by gradient."""

import pytest
import torch

from tests.circuits.oracle import random_circuit
from tests.circuits.test_learning import toy_data
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.clustering import kmeans, nearest_centre
from tiramisu_edu.circuits.distillation import cluster_features, distil, latent_regions
from tiramisu_edu.circuits.gradient import fit_adam
from tiramisu_edu.circuits.learning import fit_em, mean_log_likelihood
from tiramisu_edu.errors import StructureError, TiramisuError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_kmeans_finds_separated_clusters_in_every_set():
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    label = torch.randint(3, (2, 200), generator=generator())
    points = truth[label] + 0.1 * torch.randn(2, 200, 2, generator=generator(1))
    centres, nearest = kmeans(points, 3, generator=generator())
    for g in range(2):
        found = nearest_centre(truth, centres[g])[0]
        assert sorted(found.tolist()) == [0, 1, 2]
        assert torch.equal(nearest[g], found[label[g]])


def test_kmeans_uses_every_cluster_and_refuses_too_many():
    points = torch.cat([torch.zeros(1, 50, 1), torch.arange(6.0).view(1, 6, 1)], 1)
    _, nearest = kmeans(points, 6, generator=generator())
    assert len(nearest.unique()) == 6
    with pytest.raises(TiramisuError, match="56 points cannot make 57 clusters"):
        kmeans(points, 57, generator=generator())


def sampled_states(circuit, n):
    """Samples of a latent tree together with their true latent states, by ancestral sampling of each region."""
    regions = latent_regions(circuit)
    parent = {c: i for i in regions for c in circuit.graph.regions[i].partitions[0]}
    data, states = torch.zeros(n, circuit.num_variables, dtype=torch.long), {}
    for index in sorted(range(len(circuit.graph.regions)), key=lambda i: -circuit.graph.heights[i]):
        region, table = circuit.graph.regions[index], circuit.region_table(index).detach()
        above = states[parent[index]] if index in parent else torch.zeros(n, dtype=torch.long)
        chosen = torch.multinomial(table[above], 1, generator=generator(index))[:, 0]
        if region.is_input:
            data[:, region.scope[0]] = chosen
        else:
            states[index] = chosen
    return data, states


@pytest.mark.parametrize("kind", ["quad", "hmm"])
def test_counting_true_latents_recovers_the_circuit(kind):
    """With the true states as teacher, counting is maximum likelihood: parameters come back to sampling error."""
    sizes = {"num_categories": 4, "num_latents": 3}
    graph = structures.quad_tree(2, 4, **sizes) if kind == "quad" else structures.hmm(5, **sizes)
    source = random_circuit(graph, 0, 1.0, torch.float64)
    data, states = sampled_states(source, 20_000)
    student = Circuit(graph, dtype=torch.float64)
    distil(student, data, states, pseudocount=0.1)
    assert mean_log_likelihood(student, data) == pytest.approx(mean_log_likelihood(source, data), abs=0.01)
    for a, b in zip(student.parameter_list, source.parameter_list):
        assert (a - b).abs().max() < 0.06


def test_distillation_from_features_beats_a_random_start():
    """Features = the neighbours' pixels, which is what a masked teacher knows; the same three EM steps after."""
    source = random_circuit(structures.quad_tree(4, 4, num_categories=4, num_latents=8), 0, 3.0, torch.float32)
    data = source.sample(3000, generator=generator())
    train, held_out = data[:2000], data[2000:]
    graph = structures.quad_tree(4, 4, num_categories=4, num_latents=24)
    reached = []
    for use_teacher in (False, True):
        circuit = Circuit(graph, generator=generator(1))
        if use_teacher:
            one_hot = torch.nn.functional.one_hot(train, 4).float()
            features = {r: one_hot[:, list(graph.regions[r].scope)].flatten(1) for r in latent_regions(circuit)}
            distil(circuit, train, cluster_features(circuit, features, generator=generator(2)))
        fit_em(circuit, train, epochs=3, progress=False)
        reached.append(mean_log_likelihood(circuit, held_out))
    assert reached[1] > reached[0] + 0.5


def test_what_cannot_be_distilled_is_refused():
    g = generator()
    graph = structures.rat_spn(4, num_categories=2, num_latents=2, depth=2, repetitions=2, generator=g)
    with pytest.raises(StructureError, match="needs a tree"):
        latent_regions(Circuit(graph))
    circuit = Circuit(structures.hmm(3, num_categories=2, num_latents=2))
    regions = latent_regions(circuit)
    data = torch.zeros(5, 3, dtype=torch.long)
    with pytest.raises(TiramisuError, match=f"no latent states given for region {regions[0]}"):
        distil(circuit, data, {})
    with pytest.raises(TiramisuError, match=r"must be \(5,\) integers in 0 … 1"):
        distil(circuit, data, {r: torch.full((5,), 2) for r in regions})
    with pytest.raises(TiramisuError, match="missing value"):
        distil(circuit, data - 1, {r: torch.zeros(5, dtype=torch.long) for r in regions})


def test_adam_learns_and_keeps_distributions():
    circuit = Circuit(structures.hmm(5, num_categories=2, num_latents=4), generator=generator())
    before = mean_log_likelihood(circuit, toy_data(seed=1))
    history = fit_adam(circuit, toy_data(), validation=toy_data(seed=1), epochs=15, batch_size=50, progress=False)
    assert history.validation[0] == pytest.approx(before, abs=1e-6)
    assert mean_log_likelihood(circuit, toy_data(seed=1)) > before + 0.5
    for theta in circuit.parameter_list:
        assert torch.allclose(theta.sum(-1), torch.ones(theta.shape[:-1]), atol=1e-5)
