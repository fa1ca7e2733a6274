"""What a guide sees of every sampler, and what it changes."""

import math
from itertools import pairwise

import pytest
import torch

from tests.diffusion.conftest import ALL, EVERY_ETA, PARTICLES, WITHOUT_ETA, T, seeded
from tiramisu_edu.diffusion.noise import standard_normal
from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.diffusion.schedule import jump_schedule
from tiramisu_edu.diffusion.step import guided_epsilon, make_step


class Guide:
    """A function of the step, with or without noise that follows it."""

    def __init__(self, function, consistent_noise):
        self.function, self.consistent_noise = function, consistent_noise

    def __call__(self, step):
        return self.function(step)


@EVERY_ETA
@pytest.mark.parametrize("consistent", [False, True])
def test_a_guide_that_changes_nothing_changes_nothing(sample, name, eta, consistent):
    guided = sample(name, eta=eta, guide=Guide(lambda step: step.prediction.x_0, consistent))
    assert torch.equal(sample(name, eta=eta), guided)


@ALL
def test_noise_does_not_depend_on_the_guide(sample, name):
    """A guide that draws and even reseeds torch's global state leaves the sampler's own noise as it is."""

    def restless(step):
        torch.manual_seed(step.index)
        torch.rand(7)
        return step.prediction.x_0.clone()

    assert torch.equal(sample(name, guide=restless), sample(name))


@ALL
def test_a_guide_steers(sample, known, name):
    """Guided to a constant at the last step, which jumps to the clean image, the sample is that constant."""
    still = {"zeta": 0.0} if name == "dps" else {}  # its last move is a gradient
    out = sample(name, guide=lambda step: torch.full_like(step.x_t, 0.25), **still)
    assert (out[~known] == 0.25).all()


@ALL
def test_what_guide_and_callback_see(sample, denoiser, image, known, name):
    seen, called = [], []

    def guide(step):
        seen.append(step)
        return step.prediction.x_0 / 2

    sample(name, guide=guide, callback=lambda step, x_0, x_next: called.append((step, x_0, x_next)))
    schedule = denoiser.schedule.respace(T)
    path = jump_schedule(T, 2, 2) if name in ("repaint", "copaint-tt") else list(range(T - 1, -2, -1))
    visited = [i for i, following in pairwise(path) if following < i]
    assert [step.index for step in seen] == ([5, 2, 4, 1, 3, 1, 2, 1, 1, 0, 0] if name == "daps" else visited)
    copies = PARTICLES if name in ("resampling", "tds") else 1
    image, known = image.repeat_interleave(copies, 0), known.repeat_interleave(copies, 0)
    for step, (same, x_0, x_next) in zip(seen, called):
        assert step is same and step.num_steps == T and math.isnan(step.variance)
        assert step.alpha_bar == float(schedule.alpha_bar[step.index])
        assert step.step_variance == float(schedule.posterior_variance[max(step.index, 1)])
        assert torch.equal(step.image, image * known) and torch.equal(step.known, known)
        assert not step.x_t.requires_grad and not step.prediction.x_0.requires_grad
        expected = denoiser(step.x_t, int(schedule.timesteps[step.index]))
        assert torch.allclose(step.prediction.x_0.clamp(-1, 1), expected.x_0, atol=1e-3 if name == "ddrm" else 1e-5)
        assert torch.allclose(step.prediction.epsilon, expected.epsilon, atol=1e-5)
        shifted = name == "tds" and step.index > 0
        assert (shifted or torch.equal(x_0, step.prediction.x_0 / 2)) and x_next.shape == image.shape
        if name in ("ddim", "replacement", "copaint", "copaint-tt"):
            assert torch.equal(x_next, schedule.ddim_step(step.x_t, x_0, step.prediction.epsilon, step.index))


@pytest.mark.parametrize("name", ["ddim", "replacement", "ddrm", "ddnm", "copaint", "copaint-tt", "daps"])
def test_a_guide_chooses_the_noise(sample, name):
    """Raw or consistent noise: another picture. Ancestral steps and DPS have no noise of their own to keep."""

    def halve(step):
        return step.prediction.x_0 / 2

    raw, consistent = (sample(name, guide=Guide(halve, choice)) for choice in (False, True))
    assert torch.equal(raw, sample(name, guide=halve)) and not torch.allclose(raw, consistent, atol=1e-3)


@pytest.mark.parametrize("name", [*sorted(set(WITHOUT_ETA) - {"daps"}), "dps"])
def test_noise_of_one_kind_always_follows(sample, name):
    def halve(step):
        return step.prediction.x_0 / 2

    assert torch.equal(sample(name, guide=Guide(halve, False)), sample(name, guide=Guide(halve, True)))


def test_consistent_noise_adds_up(denoiser, image, known):
    """x_t = sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε for the guided x_0, and the network's own ε where x_0 was left alone."""
    schedule = denoiser.schedule.respace(T)
    x_t = standard_normal(image, seeded())
    step = make_step(schedule, 3, x_t, denoiser(x_t, int(schedule.timesteps[3])), image, known)
    guide = Guide(None, True)
    assert guided_epsilon(guide, step, step.prediction.x_0) is step.prediction.epsilon
    x_0 = torch.full_like(x_t, 0.3)
    assert guided_epsilon(None, step, x_0) is step.prediction.epsilon
    epsilon = guided_epsilon(guide, step, x_0)
    again = math.sqrt(step.alpha_bar) * x_0 + math.sqrt(1 - step.alpha_bar) * epsilon
    assert torch.allclose(again, x_t, atol=1e-6)
    assert torch.allclose(schedule.ddim_step(x_t, x_0, None, 3), schedule.ddim_step(x_t, x_0, epsilon, 3))


@ALL
def test_calibrated_variance_reaches_the_guide(denoiser, image, known, name):
    table = torch.linspace(0.01, 0.3, 1000, dtype=torch.float64)
    schedule = denoiser.schedule.with_residual_variance(table).respace(3)
    seen = []
    SAMPLERS[name](
        denoiser, schedule, image, known, generator=seeded(), callback=lambda step, *_: seen.append(step.variance)
    )
    in_turn = list(dict.fromkeys(seen))  # daps comes to an index more than once
    assert in_turn == [pytest.approx(0.3), float(table[500]), pytest.approx(0.01)]


@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 1.0)])
def test_a_shift_means_the_same_for_any_number_of_steps(gaussian_denoiser, name, eta):
    """Consistent noise has a limit as steps grow; with raw noise of DDIM each step adds the whole shift anew."""
    denoiser, nothing = gaussian_denoiser(), torch.zeros(1, 1, 4, 4, dtype=torch.bool)

    def moved(steps, consistent):
        task = denoiser, denoiser.schedule.respace(steps), torch.zeros(8, 1, 4, 4), nothing
        shift = Guide(lambda step: step.prediction.x_0 + 0.05 * (step.index > 0.1 * step.num_steps), consistent)
        out = [SAMPLERS[name](*task, generator=seeded(), eta=eta, guide=guide) for guide in (shift, None)]
        return (out[0] - out[1]).mean().item()

    few, some, many = (moved(steps, True) for steps in (10, 50, 250))
    assert some == pytest.approx(many, rel=0.1) and few == pytest.approx(many, rel=0.4)
    if name == "ddim":
        assert moved(50, False) > 3 * some
