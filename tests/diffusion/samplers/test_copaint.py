import pytest
import torch

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import CoPaintSettings, copaint, ddim
from tiramisu_edu.diffusion.samplers.copaint import Objective, optimise
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import TiramisuError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(denoiser, B=4, time=400, prior_weight=1e-2, dtype=torch.float64):
    image = torch.rand(B, 1, 4, 4, generator=seeded(1), dtype=dtype) * 2 - 1
    known = torch.rand(B, 1, 4, 4, generator=seeded(2)) < 0.5
    origin = torch.randn(B, 1, 4, 4, generator=seeded(3), dtype=dtype)
    return Objective(denoiser, time, image * known, known, origin, prior_weight)


class Counting(torch.nn.Module):
    """Counts the images that pass through a network."""

    def __init__(self, network):
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, x, t):
        self.images += len(x)
        return self.network(x, t)


def test_published_rates():
    """Rates of the published 250-step run, and the same range for any length."""
    schedule = Schedule.linear().respace(250)
    settings = CoPaintSettings()
    published = {249: 1.27e-4, 226: 4.06e-4, 201: 1.31e-3, 150: 1.03e-2, 50: 0.17, 5: 0.37}
    for i, rate in published.items():
        assert settings.weights(schedule, i)[0] == pytest.approx(rate, rel=0.03)
        assert settings.weights(schedule, i)[1] == pytest.approx(1e-4 * 1.01 ** (249 - i))
    for T in (2, 25):
        short = Schedule.linear().respace(T)
        for i in (0, -1):
            assert settings.weights(short, i % T) == pytest.approx(settings.weights(schedule, i % 250))


def test_presets():
    assert CoPaintSettings.preset("celeba") == CoPaintSettings()
    assert CoPaintSettings.preset("fast").gradient_steps == 1
    assert CoPaintSettings.preset("digits").rate == 1.6
    assert CoPaintSettings.preset("imagenet").prior_weight == 0.01
    with pytest.raises(TiramisuError, match="expected celeba, imagenet, fast, digits"):
        CoPaintSettings.preset("slow")


def test_one_step_is_the_gradient_step(smooth_denoiser):
    """Without a rejection x moves by rate times the gradient of the loss, taken here by finite differences."""
    objective = problem(smooth_denoiser(dtype=torch.float64), B=1)
    rate, h = 1e-3, 1e-6
    moved = optimise(objective, rate, CoPaintSettings(gradient_steps=1)).x_t - objective.origin
    for pixel in (0, 5, 15):
        shift = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
        shift.view(-1)[pixel] = h
        row = torch.tensor([0])
        slope = (objective(objective.origin + shift, row)[0] - objective(objective.origin - shift, row)[0]) / (2 * h)
        assert moved.view(-1)[pixel].item() == pytest.approx(-rate * slope.item(), abs=1e-9)


@pytest.mark.parametrize("rate", [1e-3, 0.3, 30.0, 1e6])
def test_the_loss_never_rises(smooth_denoiser, rate):
    objective = problem(smooth_denoiser(dtype=torch.float64))
    x_t, prediction, losses = optimise(objective, rate, CoPaintSettings(gradient_steps=5))
    assert losses.shape == (6, 4) and (losses.diff(dim=0) <= 0).all() and (losses[-1] < losses[0]).any()
    loss, same = objective(x_t, torch.arange(4))
    assert torch.allclose(loss, losses[-1], atol=1e-12)
    assert torch.allclose(same.x_0, prediction.x_0) and torch.allclose(same.epsilon, prediction.epsilon)
    assert not (x_t.requires_grad or prediction.x_0.requires_grad or losses.requires_grad)


@pytest.mark.parametrize("rate", [0.3, 30.0])
def test_images_do_not_influence_each_other(smooth_denoiser, rate):
    """Each image of a batch ends where it would alone, though some need more trials than others."""
    objective = problem(smooth_denoiser(dtype=torch.float64))
    settings = CoPaintSettings(gradient_steps=3)
    together = optimise(objective, rate, settings).x_t
    for b in range(4):
        alone = objective._replace(image=objective.image[[b]], known=objective.known[[b]], origin=objective.origin[[b]])
        assert torch.allclose(optimise(alone, rate, settings).x_t, together[[b]], atol=1e-12)


def test_an_image_that_cannot_improve_stays(smooth_denoiser):
    """An absurd rate is given up after the cap; NaN in one image neither spreads nor hangs."""
    objective = problem(smooth_denoiser(dtype=torch.float64))
    settings = CoPaintSettings(max_backtracks=2)
    assert torch.equal(optimise(objective, 1e9, settings).x_t, objective.origin)
    broken = objective._replace(origin=objective.origin.clone())
    broken.origin[1] = torch.nan
    x_t = optimise(broken, 0.1, CoPaintSettings()).x_t
    assert x_t[1].isnan().all()
    whole = optimise(objective, 0.1, CoPaintSettings()).x_t
    assert torch.allclose(x_t[[0, 2, 3]], whole[[0, 2, 3]], atol=1e-12)


@pytest.mark.parametrize("G", [0, 1, 2, 3])
def test_network_calls(smooth_denoiser, G):
    """1 + G calls of an image per step when no trial is rejected."""
    plain = smooth_denoiser(dtype=torch.float64)
    denoiser = Denoiser(Counting(plain.network), plain.schedule, plain.prediction_type)
    optimise(problem(denoiser), 1e-4, CoPaintSettings(gradient_steps=G))
    assert denoiser.network.images == 4 * (1 + G)


def test_nothing_known_is_ddim(smooth_denoiser):
    denoiser = smooth_denoiser()
    schedule = denoiser.schedule.respace(5)
    image, nothing = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    plain = ddim(denoiser, schedule, image, nothing, generator=seeded())
    assert torch.equal(copaint(denoiser, schedule, image, nothing, generator=seeded()), plain)


def test_predictions_agree_with_known_pixels(smooth_denoiser):
    """What CoPaint is for: clean predictions closer to the known pixels than those of DDIM."""
    denoiser = smooth_denoiser()
    schedule = denoiser.schedule.respace(8)
    image = torch.rand(8, 1, 4, 4, generator=seeded(1)) * 1.6 - 0.8
    known = torch.rand(8, 1, 4, 4, generator=seeded(2)) < 0.5
    error = {}
    for sampler in (ddim, copaint):
        last = []
        sampler(
            denoiser,
            schedule,
            image,
            known,
            generator=seeded(),
            callback=lambda step, x_0, _, keep=last: keep.append(x_0),
        )
        error[sampler] = (last[-1] - image)[known].square().mean().item()
    assert error[copaint] < 0.5 * error[ddim]


def test_inside_no_grad_and_with_frozen_weights(smooth_denoiser):
    denoiser = smooth_denoiser().requires_grad_(False)
    schedule = denoiser.schedule.respace(3)
    image, known = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    known[..., 2:] = False
    outside = copaint(denoiser, schedule, image, known, generator=seeded())
    with torch.no_grad():
        inside = copaint(denoiser, schedule, image, known, generator=seeded())
    assert torch.equal(inside, outside)
