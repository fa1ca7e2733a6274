"""The stationary Gaussian against its dense covariance: mean, variance; and what it learns."""

import math

import pytest
import torch

from tests.steering.toy import posterior_moments
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.steering.field import GaussianField, cosines

C, H, W = SHAPE = 2, 3, 4


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def field():
    colours = torch.linalg.qr(drawn(C, C))[0]
    return GaussianField(drawn(C, seed=1) * 0.2, colours, drawn(*SHAPE, seed=2) ** 2 + 0.05)


def covariance(field):
    """(C H W, C H W), of pictures in reading order."""
    waves = torch.kron(field.colours.contiguous(), torch.kron(cosines(H), cosines(W)))
    return waves @ torch.diag(field.variances.flatten()) @ waves.T


@pytest.mark.parametrize("a", [0.0, 0.4])
def test_moments_are_those_of_the_dense_gaussian(field, a):
    known = torch.rand(4, 1, H, W, generator=torch.Generator().manual_seed(3)) < 0.4
    known[1], known[3] = False, True
    seen = Observation(drawn(4, *SHAPE, seed=4), a, drawn(4, *SHAPE, seed=5), known)
    moments = posterior_moments(DifferenceGuide(field.circuit(), field), seen)
    assert torch.equal(field.mean(torch.ones(4, 1, 1), seen), moments.mean)
    mu, prior = field.centre.repeat_interleave(H * W), covariance(field)
    for row in range(4):
        k = known[row].expand(SHAPE).flatten()
        scale, noise = torch.where(k, 1.0, math.sqrt(a)).double(), torch.where(k, 0.0, 1 - a).double()
        value = torch.where(k, seen.image[row].flatten(), seen.x_t[row].flatten())
        of_seen = scale[:, None] * prior * scale + torch.diag(noise)
        gain = (prior * scale) @ torch.linalg.inv(of_seen)
        assert torch.allclose(moments.mean[row].flatten(), mu + gain @ (value - scale * mu), atol=1e-8)
        left = (prior - gain @ (scale[:, None] * prior)).diagonal()
        assert torch.allclose(moments.variance[row].flatten(), left, atol=1e-8)


def test_it_learns_the_covariance_it_was_drawn_from(field):
    factor = torch.linalg.cholesky(covariance(field))
    images = (drawn(20_000, C * H * W, seed=6) @ factor.T).view(-1, *SHAPE) + field.centre[:, None, None]
    found = GaussianField.fit(images.clamp(-9, 9))
    assert (covariance(found) - covariance(field)).abs().max() < 0.15


def test_it_steers_any_world_without_training():
    world = load("digits")
    images = world.images("test", 2)[0]
    known = mask("left", 8, 8)[None]
    steered, plain = (
        inpaint(world, images, known, sampler="ddim", guide=guide, num_inference_steps=2).images
        for guide in ("difference-field", None)
    )
    assert torch.equal(steered[..., :4], images[..., :4]) and not torch.equal(steered, plain)
