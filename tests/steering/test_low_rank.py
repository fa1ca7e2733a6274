"""Leaves with correlated pixels against dense Gaussians, code by code; the pooled pair and its file."""

import math

import pytest
import torch

from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.steering.low_rank import LowRankCodebook, PooledCodebook, load_codebook
from tiramisu_edu.steering.patches import PatchCodebook, to_patches

SHAPE, PATCH, CODES, RANK = (2, 2, 4), 2, 3, 2


def drawn(*shape, seed=0, scale=0.5):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def book():
    """Two patches of 2 x 2 x 2 numbers, three codes each."""
    sizes = 2, CODES, 8
    return LowRankCodebook(drawn(*sizes), drawn(*sizes, seed=1) ** 2 + 0.01, PATCH, SHAPE, drawn(*sizes, RANK, seed=2))


def observation(a):
    """Three pictures; the last two have one mask."""
    known = torch.rand(3, 1, *SHAPE[1:], generator=torch.Generator().manual_seed(3)) < 0.4
    known[2] = known[1]
    return Observation(drawn(3, *SHAPE, seed=4), a, drawn(3, *SHAPE, seed=5), known)


def dense(book, seen, row, patch):
    """log p(seen | v), and mean and covariance of the patch's pixels given what is seen, by matrix inversion."""
    known, image, x_t = (
        to_patches(x.expand_as(seen.image), PATCH)[row, patch] for x in (seen.known, seen.image, seen.x_t)
    )
    scale = torch.where(known, 1.0, math.sqrt(seen.alpha_bar)).double()
    noise = torch.where(known, 0.0, 1 - seen.alpha_bar).double()
    value = torch.where(known, image, x_t)
    for v in range(CODES):
        mu, F = book.means[patch, v], book.factors[patch, v]
        covariance = torch.diag(book.variances[patch, v]) + F @ F.T
        of_seen = scale[:, None] * covariance * scale + torch.diag(noise)
        log_p = torch.distributions.MultivariateNormal(scale * mu, of_seen).log_prob(value)
        gain = (covariance * scale) @ torch.linalg.inv(of_seen)
        yield log_p, mu + gain @ (value - scale * mu), (covariance - gain @ (scale[:, None] * covariance)).diagonal()


@pytest.mark.parametrize("a", [0.0, 0.35])
def test_evidence_and_moments_are_those_of_dense_gaussians(book, a):
    seen = observation(a)
    log_w = book.log_weights(seen)
    q = torch.softmax(log_w, -1)
    moments, mean = book.moments(q, seen), book.mean(q, seen)
    for row in range(3):
        for patch in range(2):
            log_p, means, variances = map(torch.stack, zip(*dense(book, seen, row, patch)))
            assert torch.allclose(log_w[row, patch], log_p, atol=1e-9)
            w = torch.softmax(log_p, 0)[:, None]
            expected = (w * means).sum(0)
            for found, value in (
                (moments.mean, expected),
                (mean, expected),
                (moments.variance, (w * (variances + means**2)).sum(0) - expected**2),
            ):
                assert torch.allclose(to_patches(found, PATCH)[row, patch], value, atol=1e-9)


def test_the_fit_finds_the_covariance_it_was_drawn_from(book):
    codes = torch.zeros(4000, 2, dtype=torch.long)
    images = book.image(codes, generator=torch.Generator().manual_seed(0))
    one = LowRankCodebook.of(PatchCodebook(book.means[:, :1], book.variances[:, :1], PATCH, SHAPE), RANK)
    found = one.maximise([(images, torch.ones(4000, 2, 1))], prior_weight=0.0)

    def covariance(of):
        F = of.factors[:, 0]
        return F @ F.mT + torch.diag_embed(of.variances[:, 0])

    assert (covariance(found) - covariance(book)).abs().max() < 0.1
    assert (found.means[:, 0] - book.means[:, 0]).abs().max() < 0.06


def test_a_pooled_pair_lies_between_its_parts_and_comes_back_from_its_file(book, tmp_path):
    whole = LowRankCodebook.one_gaussian(drawn(50, 2, 4, 4, seed=6).float(), 3)
    parts = drawn(4, CODES, 8), drawn(4, CODES, 8, seed=1) ** 2 + 0.01, PATCH, (2, 4, 4), drawn(4, CODES, 8, 1, seed=2)
    pair = PooledCodebook(*parts, whole=whole)
    known = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    known[..., :2] = True
    seen = Observation(drawn(2, 2, 4, 4), 0.0, drawn(2, 2, 4, 4, seed=7), known.expand(2, -1, -1, -1))
    q = torch.softmax(pair.log_weights(seen), -1)
    ends = LowRankCodebook.mean(pair, q, seen), whole.mean(q.new_ones(2, 1, 1), seen)
    mean, variance = pair.moments(q, seen)
    assert torch.equal(mean, pair.mean(q, seen)) and (variance[~seen.known.expand_as(variance)] > 0).all()
    assert ((mean >= torch.minimum(*ends) - 1e-9) & (mean <= torch.maximum(*ends) + 1e-9)).all()
    assert torch.equal(torch.where(seen.known, mean, 0), torch.where(seen.known, seen.image, 0))

    pair.save(tmp_path / "pair")
    again = load_codebook(tmp_path / "pair").to("cpu")
    assert isinstance(again, PooledCodebook) and again.whole.factors.shape == whole.factors.shape
    assert torch.allclose(again.mean(q, seen), mean, atol=1e-5)
