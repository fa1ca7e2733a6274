"""Gaussian patch leaves against a full enumeration of the codes, and against autograd."""

import math
from itertools import pairwise, product

import pytest
import torch

from tests.circuits.oracle import random_circuit
from tests.steering.toy import posterior_moments
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import em_step, fit_em
from tiramisu_edu.errors import EvidenceError, FileError, ImageError
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.steering.low_rank import load_codebook
from tiramisu_edu.steering.patches import PatchCodebook, from_patches, to_patches

SHAPE, PATCH, CODES, A = (2, 2, 4), 2, 3, 0.35


@pytest.fixture
def model():
    """Two patches of 2 x 2 x 2 numbers with three codes each, and a random circuit over them."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(2, CODES, 8, generator=g, dtype=torch.float64) * 0.5
    variances = torch.rand(2, CODES, 8, generator=g, dtype=torch.float64) * 0.3 + 0.01
    graph = structures.hmm(2, num_categories=CODES, num_latents=2)
    return random_circuit(graph, 1, 1.0, torch.float64), PatchCodebook(means, variances, PATCH, SHAPE)


@pytest.fixture
def seen():
    g = torch.Generator().manual_seed(2)
    x_t, image = (torch.randn(3, *SHAPE, generator=g, dtype=torch.float64) * 0.5 for _ in range(2))
    known = torch.rand(3, 1, *SHAPE[1:], generator=g) < 0.4
    return Observation(x_t, A, image, known)


def enumerated(model, seen, row):
    """log p(x_t hidden, x known), and exact mean and variance of every pixel, by summing over all codes."""
    circuit, book = model
    known = to_patches(seen.known.expand_as(seen.image), PATCH)[row]
    clean, noisy = to_patches(seen.image, PATCH)[row], to_patches(seen.x_t, PATCH)[row]
    states = torch.tensor(list(product(range(CODES), repeat=2)))
    log_p, means, squares = [], [], []
    for state, log_prior in zip(states, circuit.log_likelihood(states).detach()):
        mu, s2 = book.means[torch.arange(2), state], book.variances[torch.arange(2), state]
        of_noisy = torch.distributions.Normal(math.sqrt(A) * mu, (A * s2 + 1 - A).sqrt()).log_prob(noisy)
        of_clean = torch.distributions.Normal(mu, s2.sqrt()).log_prob(clean)
        log_p.append(log_prior + torch.where(known, of_clean, of_noisy).sum())
        precision = 1 / s2 + A / (1 - A)
        mean = (mu / s2 + math.sqrt(A) * noisy / (1 - A)) / precision
        mean, variance = torch.where(known, clean, mean), torch.where(known, 0.0, 1 / precision)
        means.append(mean)
        squares.append(variance + mean**2)
    log_p = torch.stack(log_p)
    q = torch.softmax(log_p, 0)[:, None, None]
    mean = (q * torch.stack(means)).sum(0)
    return log_p.logsumexp(0), mean, (q * torch.stack(squares)).sum(0) - mean**2


def test_posterior_of_pixels_equals_enumeration(model, seen):
    circuit, book = model
    guide = DifferenceGuide(circuit, book)
    log_z = circuit.log_partition(book.log_weights(seen)).detach()
    moments = posterior_moments(guide, seen)
    for row in range(3):
        expected_log_z, mean, variance = enumerated(model, seen, row)
        assert torch.allclose(log_z[row], expected_log_z, atol=1e-10)
        assert torch.allclose(to_patches(moments.mean, PATCH)[row], mean, atol=1e-10)
        assert torch.allclose(to_patches(moments.variance, PATCH)[row], variance, atol=1e-10)


def test_tweedie_by_autograd(model, seen):
    """grad log p(x_t) = (sqrt(a) E[x_0 | x_t] - x_t) / (1 - a): the score of the noisy images, from log Z alone."""
    circuit, book = model
    x_t = seen.x_t.clone().requires_grad_()
    nothing = seen._replace(x_t=x_t).without_known()
    (score,) = torch.autograd.grad(circuit.log_partition(book.log_weights(nothing)).sum(), x_t)
    mean = posterior_moments(DifferenceGuide(circuit, book), seen.without_known()).mean
    assert torch.allclose(score, (math.sqrt(A) * mean - seen.x_t) / (1 - A), atol=1e-10)


def test_patches_are_a_permutation():
    images = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    patches = to_patches(images, 2)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[0, 1, :4], images[0, 0, :2, 2:4].flatten())
    assert torch.equal(from_patches(patches, 2, (3, 4, 6)), images)
    with pytest.raises(ImageError, match="4 x 6 images cannot be cut into 4 x 4 patches"):
        to_patches(images, 4)


def test_codes_and_circuit_learn_together():
    """Joint EM on images drawn from a known model: the exact log-likelihood climbs at every step."""
    g = torch.Generator().manual_seed(0)
    source = random_circuit(structures.hmm(2, num_categories=CODES, num_latents=2), 3, 0.7, torch.float64)
    means = torch.randn(2, CODES, 8, generator=g, dtype=torch.float64)
    truth = PatchCodebook(means, torch.full_like(means, 0.05), PATCH, SHAPE)
    images = truth.image(source.sample(400, generator=g), generator=g)
    book = PatchCodebook.fit(images, patch=PATCH, num_codes=CODES, generator=g)
    circuit = Circuit(source.graph, generator=g, dtype=torch.float64)
    everything = torch.ones_like(images[:, :1], dtype=torch.bool)
    reached = []
    for _ in range(10):
        weights = book.log_weights(Observation(images, 0.5, images, everything))
        marginals = circuit.posterior_marginals(weights)
        reached.append(em_step(circuit, weights, pseudocount=0.0) / len(images))
        book = book.maximise([(images, marginals)], prior_weight=0.0)
    assert all(after >= before - 1e-9 for before, after in pairwise(reached))
    exact = source.log_partition(truth.log_weights(Observation(images, 0.5, images, everything))).mean().item()
    assert reached[-1] > exact - 0.5
    history = fit_em(circuit, book.log_weights(Observation(images, 0.5, images, everything)), epochs=2, progress=False)
    assert history.train[-1] >= reached[-1] - 1e-6


def test_pixels_that_never_change_do_not_divide_by_zero():
    g = torch.Generator().manual_seed(0)
    images = torch.rand(50, 1, 4, 4, generator=g)
    images[..., 0] = -1.0
    book = PatchCodebook.fit(images, patch=2, num_codes=3, generator=g)
    everything = torch.ones(50, 1, 4, 4, dtype=torch.bool)
    for a in (1e-6, 0.5, 1 - 1e-6):
        seen = Observation(images, a, images, everything)
        assert book.log_weights(seen).isfinite().all()
        q = torch.softmax(book.log_weights(seen.without_known()), -1)
        assert all(m.isfinite().all() for m in book.moments(q, seen.without_known()))


def test_files_and_bad_evidence(tmp_path, model, seen):
    _, book = model
    path = tmp_path / "book.safetensors"
    book.save(path, data="toy")
    loaded = load_codebook(path)
    assert torch.allclose(loaded.means, book.means.float()) and loaded.shape == SHAPE and loaded.patch == PATCH
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="truncated or damaged"):
        load_codebook(path)
    broken = seen._replace(image=torch.full_like(seen.image, torch.nan))
    with pytest.raises(EvidenceError, match="not a number"):
        book.log_weights(broken)
