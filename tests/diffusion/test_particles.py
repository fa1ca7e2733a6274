"""The particle filter: its parts, and the whole against a case that the Kalman filter solves."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.diffusion.conftest import Pairs
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.particles import draw_one, effective_sample_size, normalised, rows, systematic
from tiramisu_edu.diffusion.samplers import resampling
from tiramisu_edu.diffusion.schedule import Schedule


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.floats(0, 8), st.integers(0, 10**6))
def test_systematic_resampling_copies_in_proportion(P, B, spread, seed):
    """floor(P w) or ceil(P w) copies of each particle, and none of one without weight."""
    log_w = spread * torch.randn(B, P, generator=seeded(seed), dtype=torch.float64)
    log_w[:, 1:] = torch.where(torch.rand(B, P - 1, generator=seeded(seed + 1)) < 0.2, -torch.inf, log_w[:, 1:])
    ancestors = systematic(log_w, seeded(seed + 2))
    copies = torch.nn.functional.one_hot(ancestors, P).sum(1)
    exact = P * normalised(log_w)
    assert ancestors.shape == (B, P) and (ancestors.diff(dim=1) >= 0).all()
    assert (copies >= (exact - 1e-9).floor()).all() and (copies <= (exact + 1e-9).ceil()).all()
    assert (copies[log_w.isinf()] == 0).all()


def test_systematic_resampling_is_unbiased():
    """P w copies on average: 4 sigma of 20000 draws, each within 1 of its mean."""
    log_w = torch.tensor([0.5, 0.25, 0.2, 0.05]).log().expand(20000, 4)
    copies = torch.nn.functional.one_hot(systematic(log_w, seeded()), 4).sum(1).double().mean(0)
    assert torch.allclose(copies, torch.tensor([2.0, 1.0, 0.8, 0.2], dtype=torch.float64), atol=4 * 0.5 / 20000**0.5)


def test_one_particle_is_drawn_by_weight():
    weights = torch.tensor([0.5, 0.25, 0.2, 0.05])
    drawn = draw_one(weights.log().expand(20000, 4), seeded()) % 4
    assert torch.allclose(torch.bincount(drawn, minlength=4) / 20000, weights, atol=4 * 0.5 / 20000**0.5)


def test_weights():
    log_w = torch.tensor(
        [[0.0, 0.0, 0.0, 0.0], [0.0, -torch.inf, torch.nan, 0.0], [torch.nan] * 4, [5.0, -90, -90, -90]]
    )
    assert torch.allclose(normalised(log_w)[1], torch.tensor([0.5, 0, 0, 0.5]))
    assert torch.allclose(effective_sample_size(log_w), torch.tensor([4.0, 2.0, 4.0, 1.0]))
    assert rows(torch.tensor([[0, 2], [1, 1]]), 3).tolist() == [0, 2, 4, 4]


def kalman(schedule, network, history):
    """Mean and variance of the clean hidden pixel given the noisy history of the known one, by the Kalman filter.

    Args:
        history: y_t of the known pixel at index T - 1 … 0.
    """
    m, v = 0.0, 1.0
    for i in reversed(range(len(schedule))):
        now, y_t = int(schedule.timesteps[i]), history[i]
        basis = torch.eye(2).reshape(2, 1, 1, 2)
        toward, _ = schedule.posterior(network(basis, torch.tensor([now, now])), basis, i)
        (uu, ku), (uk, kk) = toward[1, 0, 0].flip(0).tolist(), toward[0, 0, 0].flip(0).tolist()
        variance = schedule.posterior(basis, basis, i)[1]
        if i > 0:  # the known pixel's next value tells of the hidden one
            gain = v * ku / (ku**2 * v + variance)
            m, v = m + gain * (history[i - 1] - kk * y_t - ku * m), (1 - gain * ku) * v
        m, v = uu * m + uk * y_t, uu**2 * v + variance
    return m, v


def standardised_draws(particles, number=1500):
    """(x - mean) / deviation of one draw for each of many histories, N(0, 1) where the filter is exact."""
    schedule, history = Schedule(torch.linspace(0.9, 0.01, 10, dtype=torch.float64), torch.arange(10)), {}
    network = Pairs(schedule)
    out = resampling(
        Denoiser(network, schedule, "sample"),
        schedule,
        torch.full((number, 1, 1, 2), 0.4),
        torch.tensor([True, False]),
        generator=seeded(),
        callback=lambda step, *_: history.update({step.index: step.x_t[::particles, 0, 0, 0].double()}),
        particles=particles,
    )
    m, v = kalman(schedule, network, history)
    return (out[:, 0, 0, 1].double() - m) / v**0.5


def test_many_particles_solve_the_gaussian_case():
    """Mean and variance of 1500 draws at 4 sigma with 64 particles; the mean with one is further off."""
    one, many = standardised_draws(1), standardised_draws(64)
    assert abs(many.mean().item()) < 4 / math.sqrt(1500) < abs(one.mean().item())
    assert many.var().item() == pytest.approx(1, abs=4 * math.sqrt(2 / 1500))
