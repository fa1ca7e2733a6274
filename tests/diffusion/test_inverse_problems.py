"""DDRM, DDNM and DPS: what they do with known pixels, and where published code does something else."""

import math

import pytest
import torch

from tests.diffusion.conftest import Pairs
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import ddnm, ddrm, dps, misfit_gradient, replacement
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.diffusion.walk import Walk

T = 12


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(B=4, dtype=torch.float32):
    image = torch.rand(B, 1, 4, 4, generator=seeded(1), dtype=dtype) * 0.6 - 0.3
    return image, torch.rand(B, 1, 4, 4, generator=seeded(2)) < 0.5


def steps_of(sample, denoiser, image, known, T=T, **options):
    """All (step, x_next) of one run."""
    seen = []
    sample(
        denoiser,
        denoiser.schedule.respace(T),
        image,
        known,
        generator=seeded(),
        callback=lambda step, x_0, x_next: seen.append((step, x_next)),
        **options,
    )
    return seen


def test_ddrm_without_fresh_noise_is_replacement(gaussian_denoiser):
    """The published eta = 0: the same noise gives the same picture, where no prediction reaches the clip."""
    denoiser = gaussian_denoiser()
    schedule, (image, known) = denoiser.schedule.respace(T), problem(dtype=torch.float64)
    assert all(step.prediction.x_0.abs().max() < 1 for step, _ in steps_of(replacement, denoiser, image, known))
    replaced = replacement(denoiser, schedule, image, known, generator=seeded())
    for clip in (False, True):
        out = ddrm(denoiser, schedule, image, known, generator=seeded(), eta=0.0, clip=clip)
        assert torch.allclose(out, replaced, atol=1e-10)
    assert not torch.allclose(ddrm(denoiser, schedule, image, known, generator=seeded()), replaced, atol=1e-3)


def test_ddrm_clips_only_when_asked(smooth_denoiser):
    largest = {
        clip: max(
            float(step.prediction.x_0.abs().max())
            for step, _ in steps_of(ddrm, smooth_denoiser(), *problem(), clip=clip)
        )
        for clip in (False, True)
    }
    assert largest[False] > 1 >= largest[True]


@pytest.mark.parametrize("eta_b", [0.0, 0.5, 1.0])
def test_ddrm_draws_known_pixels_around_the_measurement(gaussian_denoiser, eta_b):
    """Mean sqrt(ᾱ) ((1 - eta_b) x_0 + eta_b y) and deviation sqrt(1 - ᾱ), to 4 sigma of 4000 pixels."""
    denoiser, known = gaussian_denoiser(), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    known[..., :2] = True
    image = torch.full((500, 1, 4, 4), 0.5)
    schedule = denoiser.schedule.respace(T)
    for step, x_next in steps_of(ddrm, denoiser, image, known, eta_b=eta_b)[:-1]:
        a = float(schedule.alpha_bar[step.index - 1])
        mean = math.sqrt(a) * ((1 - eta_b) * step.prediction.x_0 + eta_b * image)
        noise = ((x_next - mean) / math.sqrt(1 - a))[..., :2]
        assert abs(noise.mean().item()) < 4 / math.sqrt(4000)
        assert noise.std().item() == pytest.approx(1, abs=4 / math.sqrt(8000))


def test_ddnm_noise(gaussian_denoiser):
    """With eta = 1 all noise is fresh: deviation sqrt(1 - ᾱ_{t-1})."""
    denoiser, known = gaussian_denoiser(), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    image = torch.full((250, 1, 4, 4), 0.5)
    schedule = denoiser.schedule.respace(T)
    for step, x_next in steps_of(ddnm, denoiser, image, known, eta=1.0)[:-1]:
        a = float(schedule.alpha_bar[step.index - 1])
        noise = (x_next - math.sqrt(a) * image) / math.sqrt(1 - a)
        assert noise.std().item() == pytest.approx(1, rel=4 / math.sqrt(8000))


@pytest.mark.parametrize(
    ("sample", "options", "low", "high"),
    [
        (ddrm, {}, 0.16, 0.18),
        (ddnm, {}, 0.16, 0.18),
        (ddnm, {"eta": 0.0}, 0.19, 0.2),
    ],
)
def test_what_fresh_noise_costs_in_variety(gaussian_denoiser, sample, options, low, high):
    """The deviations that the docstrings state, of draws of N(0.1, 0.2²) with its exact denoiser and nothing known."""
    denoiser = gaussian_denoiser()
    image, nothing = torch.zeros(250, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    out = sample(denoiser, denoiser.schedule.respace(250), image, nothing, generator=seeded(), **options)
    assert low < out.std().item() < high


def gradient_of(denoiser, x_t, image, known):
    return misfit_gradient(Walk(denoiser, denoiser.schedule, image, known, generator=seeded()), x_t, 300)[1]


def test_dps_gradient_is_each_images_own(smooth_denoiser):
    """By finite differences of each image's norm; the other images of the batch do not enter."""
    denoiser, (image, known) = smooth_denoiser(dtype=torch.float64), problem(dtype=torch.float64)
    x_t = torch.randn(image.shape, generator=seeded(3), dtype=torch.float64)
    gradient = gradient_of(denoiser, x_t, image, known)
    h = 1e-6
    for b in range(4):
        alone = gradient_of(denoiser, x_t[[b]], image[[b]], known[[b]])
        assert torch.allclose(alone[0], gradient[b], atol=1e-12)
        for pixel in (0, 6, 15):
            shift = torch.zeros_like(x_t)
            shift[b].view(-1)[pixel] = h
            with torch.no_grad():
                ahead, behind = (denoiser(x_t + move, 300).x_0 for move in (shift, -shift))
            norms = [torch.where(known, image - x_0, 0)[b].norm() for x_0 in (ahead, behind)]
            slope = float(norms[0] - norms[1]) / (2 * h)
            assert gradient[b].view(-1)[pixel].item() == pytest.approx(slope, abs=1e-7)


def test_dps_gradient_is_zero_at_a_perfect_fit(smooth_denoiser):
    """The norm has no derivative there; NaN would end the image."""
    denoiser, x_t = smooth_denoiser(), torch.randn(2, 1, 4, 4, generator=seeded())
    image, known = denoiser(x_t, 300).x_0, torch.ones(2, 1, 4, 4, dtype=torch.bool)
    known[1] = False
    assert (gradient_of(denoiser, x_t, image, known) == 0).all()


def test_dps_fits_known_pixels_more_closely_with_more_pull():
    schedule = Schedule.cosine()
    denoiser = Denoiser(Pairs(schedule), schedule, "sample")
    image, known = torch.full((100, 1, 1, 2), 0.5), torch.tensor([True, False])
    misfits = [
        (steps_of(dps, denoiser, image, known, T=40, zeta=zeta)[-1][0].prediction.x_0 - image)[..., 0]
        .abs()
        .mean()
        .item()
        for zeta in (0.0, 0.1, 0.3)
    ]
    assert misfits[2] < misfits[1] < misfits[0]
