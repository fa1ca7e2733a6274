"""What holds for every sampler, each with its own eta unless the test is about eta."""

import math

import pytest
import torch

from tests.diffusion.conftest import ALL, EVERY_ETA, QUICK, WITHOUT_ETA, Pairs, T, seeded
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.noise import standard_normal
from tiramisu_edu.diffusion.samplers import SAMPLERS, ddim, get_sampler
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.diffusion.walk import Walk
from tiramisu_edu.errors import ImageError, TiramisuError


@EVERY_ETA
def test_known_pixels_are_exact_and_the_rest_is_an_image(sample, image, known, name, eta):
    out = sample(name, eta=eta)
    assert out.shape == image.shape and out.dtype == image.dtype and not out.requires_grad
    assert torch.equal(out[known], image[known])
    assert out.isfinite().all() and out.abs().max() <= 1 and not torch.allclose(out[~known], image[~known])


@ALL
@pytest.mark.parametrize("hidden", [0.3, -7.0, math.nan])
def test_hidden_pixels_do_not_leak(sample, image, known, name, hidden):
    assert torch.equal(sample(name), sample(name, image=torch.where(known, image, hidden)))


@ALL
def test_the_seed_decides_everything(sample, known, name):
    first, again, other = sample(name), sample(name), sample(name, generator=seeded(1))
    assert torch.equal(first, again) and not torch.allclose(first[~known], other[~known])


@EVERY_ETA
def test_one_generator_for_each_image(sample, image, known, name, eta):
    """Each image is then the one it would be alone: nothing in a sampler couples the images of a batch."""
    together = sample(name, eta=eta, generator=[seeded(b) for b in range(3)])
    for b in range(3):
        alone = sample(name, eta=eta, image=image[b : b + 1], known=known[b : b + 1], generator=seeded(b))
        assert torch.allclose(together[b : b + 1], alone, atol=1e-5)


@ALL
def test_not_a_number_stays_in_its_image(sample, image, known, name, monkeypatch):
    """An image that begins as NaN ends as NaN, hangs nothing, and leaves its neighbours alone."""
    generators, start = [[seeded(b) for b in range(3)] for _ in range(2)], Walk.start
    healthy = sample(name, generator=generators[0])

    def broken(walk):
        x_T = start(walk)
        x_T.unflatten(0, (3, -1))[1] = torch.nan
        return x_T

    monkeypatch.setattr(Walk, "start", broken)
    out = sample(name, generator=generators[1])
    assert torch.allclose(out[[0, 2]], healthy[[0, 2]], atol=1e-5)
    assert torch.equal(out[known], image[known]) and out[1][~known[1]].isnan().all()


@ALL
def test_masks_broadcast(sample, known, name):
    full, flat = known[:1].expand(3, 1, 4, 4), known[0, 0]
    assert torch.equal(sample(name, known=full), sample(name, known=flat))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("replacement", {}),
        ("copaint", {}),
        ("copaint-tt", {"repeats": 1}),
        ("ddrm", {"eta": 0.0, "clip": True}),
        ("ddnm", {"eta": 0.0}),
    ],
)
@pytest.mark.parametrize("steps", [1, T])
def test_nothing_known_is_ddim(sample, known, name, changes, steps):
    """There is nothing to look at, so without fresh noise these samplers are DDIM."""
    nothing = torch.zeros_like(known)
    expected = sample("ddim", known=nothing, steps=steps)
    assert torch.allclose(sample(name, known=nothing, steps=steps, **changes), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "changes"), [("dps", {}), ("dps", {"zeta": 0.0})])
def test_dps_without_a_pull_is_ddpm(sample, known, name, changes):
    where = known if changes else torch.zeros_like(known)
    out, expected = sample(name, known=where, **changes), sample("ddpm", known=where)
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("name", WITHOUT_ETA)
def test_samplers_without_eta_take_one(sample, name):
    with pytest.raises(TiramisuError, match=f"{name} has one kind of noise, called eta = 1, not 0"):
        sample(name, eta=0.0)


@ALL
def test_weights_that_could_be_trained_get_no_gradient(sample, denoiser, name):
    denoiser.requires_grad_(True)
    assert not sample(name).requires_grad
    assert all(p.grad is None for p in denoiser.parameters())


@ALL
def test_bad_arguments(sample, denoiser, image, known, name):
    with pytest.raises(ImageError, match="known must be bool"):
        sample(name, known=known.float())
    with pytest.raises(ImageError, match="does not fit"):
        sample(name, known=known[:, :, :3])
    with pytest.raises(ImageError, match="does not fit"):
        sample(name, known=known[0].expand(2, 3, 1, 4, 4))
    with pytest.raises(ImageError, match=r"image must be float \(B, C, H, W\)"):
        sample(name, image=image[0])
    with pytest.raises(ImageError, match=r"in \[-1, 1\]"):
        sample(name, image=image * math.nan)
    with pytest.raises(TiramisuError, match="2 generators for 3 images"):
        sample(name, generator=[seeded(), seeded()])
    with pytest.raises(TiramisuError, match=r"guide returned \(1,\)"):
        sample(name, guide=lambda step: torch.zeros(1))
    for schedule in (Schedule.linear().respace(3), Schedule.cosine(2000).respace(3)):
        with pytest.raises(TiramisuError, match="not one of this denoiser's"):
            SAMPLERS[name](denoiser, schedule, image, known, generator=seeded())


def test_registry():
    assert get_sampler("ddim") is ddim
    with pytest.raises(TiramisuError, match=r"choose one of ddim, ddpm, replacement, .*, copaint-tt"):
        get_sampler("magic")


def test_a_generator_for_each_image_draws_what_it_would_alone():
    like = torch.empty(2, 1, 3, 3, dtype=torch.float64)
    noise = standard_normal(like, [seeded(3), seeded(4)])
    assert noise.dtype == torch.float64
    assert torch.equal(noise[1:], standard_normal(like[1:], seeded(4)))


@pytest.mark.parametrize(
    ("name", "eta"),
    [
        ("ddim", 0.0),
        ("ddim", 1.0),
        ("ddpm", 1.0),
        ("replacement", 1.0),
        ("repaint", 1.0),
        ("dps", 1.0),
        ("resampling", 1.0),
    ],
)
def test_nothing_known_samples_a_gaussian(gaussian_denoiser, name, eta):
    """With the exact denoiser of N(0.1, 0.2²), samples have that mean and deviation: 4 sigma of 4000 pixels."""
    denoiser = gaussian_denoiser()
    image, nothing = torch.zeros(250, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    out = SAMPLERS[name](
        denoiser, denoiser.schedule.respace(250), image, nothing, generator=seeded(), eta=eta, **QUICK.get(name, {})
    )
    assert out.mean().item() == pytest.approx(0.1, abs=4 * 0.2 / math.sqrt(4000))
    assert out.std().item() == pytest.approx(0.2, abs=0.003 + 4 * 0.2 / math.sqrt(8000))


def test_ddim_converges_to_the_exact_map(gaussian_denoiser):
    """The deterministic sampler carries noise z to 0.1 + 0.2 z, the closer the more steps there are."""
    denoiser = gaussian_denoiser()
    z = standard_normal(torch.empty(20, 1, 4, 4), seeded())
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    errors = []
    for steps in (10, 40, 160):
        out = ddim(denoiser, denoiser.schedule.respace(steps), torch.zeros_like(z), nothing, generator=seeded())
        errors.append((out - (0.1 + 0.2 * z)).abs().max().item())
    assert errors[0] > 3 * errors[1] and errors[1] > 3 * errors[2] and errors[2] < 0.02


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"ddim", "ddpm"}))
def test_hidden_pixels_follow_known_ones(name):
    """The exact mean of the hidden pixel is 0.9 y = 0.45. DDPM ignores y; these samplers go towards it."""
    schedule = Schedule.cosine()
    denoiser = Denoiser(Pairs(schedule), schedule, "sample")
    image, known = torch.full((200, 1, 1, 2), 0.5), torch.tensor([True, False])
    means = {}
    for sampler in (name, "ddpm"):
        out = SAMPLERS[sampler](denoiser, schedule.respace(50), image, known, generator=seeded())
        means[sampler] = out[..., 1].mean().item()
    assert abs(means["ddpm"]) < 0.08 and 0.15 < means[name] < 0.6


@pytest.mark.parametrize("name", ["replacement", "repaint", "ddrm"])
def test_known_pixels_have_the_noise_of_the_step(denoiser, image, name):
    """What is added to sqrt(ᾱ) y is sqrt(1 - ᾱ) times a standard normal: 4 sigma of 4000 pixels at each step."""
    steps = []
    images, known = image[:1].expand(500, 1, 4, 4), torch.ones(4, 4, dtype=torch.bool)
    known[2:] = False
    schedule = denoiser.schedule.respace(T)
    sample = SAMPLERS[name]
    sample(denoiser, schedule, images, known, generator=seeded(), callback=lambda step, *_: steps.append(step))
    for step in steps:
        noise = (step.x_t - math.sqrt(step.alpha_bar) * images)[..., :2, :] / math.sqrt(1 - step.alpha_bar)
        assert abs(noise.mean().item()) < 4 / math.sqrt(4000)
        assert noise.std().item() == pytest.approx(1, abs=4 / math.sqrt(8000))
