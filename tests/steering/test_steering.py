"""Evidence, mixtures and guides: against enumeration, against autograd, and where circuit and denoiser are exact."""

import math
from itertools import product

import pytest
import torch

from tests.steering.toy import posterior_moments
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.diffusion.denoiser import Prediction
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.errors import EvidenceError, TiramisuError
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.evidence import Observation, PixelCodebook
from tiramisu_edu.steering.mixture import AlphaSchedule, MixtureGuide, gaussian_on_grid, geometric_mean
from tiramisu_edu.world import World

LEVELS, SHAPE, ALPHA_BAR = 3, (1, 2, 2), 0.3


@pytest.fixture
def circuit():
    graph = structures.quad_tree(2, 2, num_categories=LEVELS, num_latents=3)
    return Circuit(graph, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def seen():
    g = torch.Generator().manual_seed(1)
    x_t = torch.randn(4, *SHAPE, generator=g, dtype=torch.float64)
    image = torch.tensor([[-1.0, 0.0], [1.0, -1.0]], dtype=torch.float64).expand(4, *SHAPE)
    known = torch.tensor([[True, False], [False, True]]).expand(4, *SHAPE)
    return Observation(x_t, ALPHA_BAR, image, known)


def codebook():
    return PixelCodebook(torch.linspace(-1, 1, LEVELS, dtype=torch.float64))


def enumerated_posterior(circuit, seen, row):
    """All 81 images with their exact posterior p(x_0 | x_t, known)."""
    states = torch.tensor(list(product(range(LEVELS), repeat=4)))
    images = codebook().image(states, seen.image.shape)
    log_p = circuit.log_likelihood(states).detach()
    gaussian = -((seen.x_t[row] - math.sqrt(ALPHA_BAR) * images) ** 2) / (2 * (1 - ALPHA_BAR))
    log_p = log_p + torch.where(seen.known[row], 0.0, gaussian).flatten(1).sum(1)
    agrees = torch.where(seen.known[row], images == seen.image[row], True).flatten(1).all(1)
    return images, torch.softmax(log_p.masked_fill(~agrees, -torch.inf), 0)


def test_posterior_moments_equal_enumeration(circuit, seen):
    guide = DifferenceGuide(circuit, codebook())
    for observation in (seen, seen.without_known()):
        moments = posterior_moments(guide, observation)
        for row in range(4):
            images, p = enumerated_posterior(circuit, observation, row)
            mean = (p[:, None, None, None] * images).sum(0)
            variance = (p[:, None, None, None] * (images - mean) ** 2).sum(0)
            assert torch.allclose(moments.mean[row], mean, atol=1e-12)
            assert torch.allclose(moments.variance[row], variance, atol=1e-12)


def test_difference_of_means_is_the_gradient_of_log_p_known(circuit, seen):
    """Tweedie: sqrt(a) / (1 - a) (E[x_0 | x_t, known] - E[x_0 | x_t]) = grad log p(known | x_t), here by autograd."""
    x_t = seen.x_t.clone().requires_grad_()

    def log_z(observation):
        """log of p(x_t, known), with the constants that depend on x_t: the maximum taken out of each row."""
        weights = codebook().log_weights(observation)
        soft = -((observation.x_t.flatten(1)[..., None] - math.sqrt(ALPHA_BAR) * codebook().levels) ** 2)
        taken_out = (soft / (2 * (1 - ALPHA_BAR))).amax(-1)
        hidden = ~observation.known.expand_as(observation.image).flatten(1)
        return circuit.log_partition(weights) + (taken_out * hidden).sum(-1)

    observed = seen._replace(x_t=x_t)
    # A known pixel explains its own x_t: log N(x_t; sqrt(a) x, 1 - a) joins log Z.
    own = (-((x_t - math.sqrt(ALPHA_BAR) * seen.image) ** 2) / (2 * (1 - ALPHA_BAR)) * seen.known).sum()
    log_p = log_z(observed).sum() + own - log_z(observed.without_known()).sum()
    (score,) = torch.autograd.grad(log_p, x_t)
    guide = DifferenceGuide(circuit, codebook())
    means = [posterior_moments(guide, o).mean for o in (seen, seen.without_known())]
    assert torch.allclose(score, math.sqrt(ALPHA_BAR) / (1 - ALPHA_BAR) * (means[0] - means[1]), atol=1e-10)


def step(seen, x_0, variance=0.1, index=3, num_steps=5):
    prediction = Prediction(x_0, torch.zeros_like(x_0))
    return Step(index, num_steps, ALPHA_BAR, seen.x_t, prediction, variance, seen.image, seen.known)


def test_difference_guide_is_exact_where_the_denoiser_is(circuit, seen):
    """With the exact E[x_0 | x_t] as denoiser the steered prediction is the exact E[x_0 | x_t, known]."""
    guide = DifferenceGuide(circuit, codebook())
    exact = posterior_moments(guide, seen.without_known()).mean
    assert torch.allclose(guide(step(seen, exact)), posterior_moments(guide, seen).mean, atol=1e-12)
    assert torch.allclose(guide.circuit_mean, posterior_moments(guide, seen).mean)


def test_mixture_guide_is_the_normalised_geometric_mean(circuit, seen):
    """Mean mode against the formula written out value by value; known pixels exact."""
    alpha = AlphaSchedule()
    guide = MixtureGuide(circuit, codebook(), 1.0, draw=False)
    x_0 = seen.x_t.clamp(-1, 1) * 0.5
    found = guide(step(seen, x_0))
    marginals = guide.posterior(seen)
    weight = alpha(3, 5)
    for row in range(4):
        for i, (known, value) in enumerate(zip(seen.known[row].flatten(), seen.image[row].flatten())):
            gaussian = [math.exp(-((float(g) - float(x_0[row].flatten()[i])) ** 2) / 0.2) for g in codebook().levels]
            gaussian = [p / sum(gaussian) for p in gaussian]
            mixed = [a**weight * float(b) ** (1 - weight) for a, b in zip(gaussian, marginals[row, i])]
            expected = sum(m * float(g) for m, g in zip(mixed, codebook().levels)) / sum(mixed)
            expected = float(value) if known else expected
            assert found[row].flatten()[i].item() == pytest.approx(expected, abs=1e-12)


def test_alpha_one_in_mean_mode_is_the_denoiser_on_the_grid(circuit, seen):
    guide = MixtureGuide(circuit, codebook(), 1.0, alpha=AlphaSchedule(1.0, 1.0), draw=False)
    x_0 = torch.zeros_like(seen.x_t)
    found = guide(step(seen, x_0, variance=0.05))
    assert torch.allclose(found[~seen.known], x_0[~seen.known], atol=1e-12)  # symmetric about a level


def test_drawn_values_follow_the_mixture(circuit, seen):
    """Frequencies of 20 000 draws of one pixel, chi-square with 2 degrees of freedom, false alarm 1e-4 (18.42)."""
    guide = MixtureGuide(circuit, codebook(), 1.0, generator=torch.Generator().manual_seed(0))
    many = Observation(*(t[:1].repeat(20_000, 1, 1, 1) if torch.is_tensor(t) else t for t in seen))
    x_0 = torch.full_like(many.x_t, 0.2)
    drawn = codebook().categories(guide(step(many, x_0)))[:, 1]
    marginals = guide.posterior(seen)[:1]
    log_dm = gaussian_on_grid(x_0[:1].flatten(1), 0.1, codebook().levels)
    expected = geometric_mean(log_dm, marginals.log(), AlphaSchedule()(3, 5)).exp()[0, 1] * 20_000
    observed = torch.bincount(drawn, minlength=LEVELS)
    assert ((observed - expected) ** 2 / expected).sum() < 18.42


def test_guides_act_in_the_first_steps_only(circuit, seen):
    guide = DifferenceGuide(circuit, codebook(), fraction=0.4)
    x_0 = torch.zeros_like(seen.x_t)
    acted = []
    for index in range(5):
        now = step(seen, x_0, index=index)
        acted.append(guide(now) is not x_0)
        assert (guide.circuit_mean is None) == (not acted[-1])
    assert acted == [False, False, False, True, True]
    assert DifferenceGuide(circuit, codebook(), fraction=0.0)(step(seen, x_0, index=4)) is x_0


def test_alpha_schedule_as_published():
    """Values of the paper's setting at 250 steps: 0.827 at t = 249, 0.840 at t = 201."""
    alpha = AlphaSchedule()
    assert alpha(249, 250) == pytest.approx(0.8273, abs=1e-4)
    assert alpha(201, 250) == pytest.approx(0.8401, abs=1e-4)
    assert alpha(0, 250) == 1.0


def test_codebook_rounds_known_pixels_and_survives_clean_levels(seen):
    book = PixelCodebook.grey_levels(17)
    assert book.categories(torch.tensor([[[[-2.0, -0.93], [0.051, 9.0]]]])).tolist() == [[0, 1, 8, 16]]
    weights = book.log_weights(seen._replace(alpha_bar=1 - 1e-12))
    assert weights.isfinite().any(-1).all() and not weights.isnan().any()
    broken = seen._replace(image=torch.full_like(seen.image, torch.nan))
    with pytest.raises(EvidenceError, match="not a number"):
        book.log_weights(broken)


def test_geometric_mean_keeps_impossible_values_impossible():
    log_a = torch.log(torch.tensor([[0.5, 0.5, 0.0]]))
    log_b = torch.log(torch.tensor([[0.0, 0.9, 0.1]]))
    assert geometric_mean(log_a, log_b, 0.8).exp().tolist() == [[0.0, 1.0, 0.0]]
    assert torch.allclose(geometric_mean(log_a, log_b, 0.0).exp(), torch.tensor([[0.0, 0.9, 0.1]]))


def test_bad_requests_are_named(circuit, seen):
    with pytest.raises(TiramisuError, match=r"fraction must lie in \[0, 1\], not 1.5"):
        DifferenceGuide(circuit, codebook(), fraction=1.5)
    with pytest.raises(TiramisuError, match="unknown guide 'magic': choose one of none, mixture, difference"):
        make_guide("magic", World("toy"))
    with pytest.raises(TiramisuError, match="calibrate"):
        MixtureGuide(circuit, codebook(), 1.0)(step(seen, seen.x_t, variance=math.nan))
