"""The denoisers of faces and rooms that ship: as good as they were, calibrated, and the weak ones weaker."""

import functools

import pytest
import torch

from tiramisu_edu.diffusion.samplers import ddim
from tiramisu_edu.lab import zoo
from tiramisu_edu.names import WEAK

TIMES = (100, 400, 700, 950)
ERRORS = {  # mean squared error of the clean prediction at TIMES on test images, with a fifth to spare
    "faces": (0.0038, 0.012, 0.037, 0.18),
    "rooms": (0.0034, 0.0094, 0.030, 0.152),
}


@functools.cache
def world(name):
    return zoo.load(name)


def errors(name):
    """At each of TIMES, for 64 images that neither training nor calibration has seen."""
    loaded = world(name)
    x_0, _ = world(name.removesuffix(WEAK)).images("test", 64)
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    schedule = loaded.schedule
    return [(loaded.denoiser(schedule.add_noise(x_0, i, noise), i).x_0 - x_0).square().mean().item() for i in TIMES]


@pytest.mark.parametrize("name", list(ERRORS))
def test_clean_predictions_on_images_it_has_never_seen(name):
    """Better than the bounds and than the weak denoiser; the calibrated variances of both agree with their errors."""
    good, weak = errors(name), errors(f"{name}-weak")
    assert all(found < bound for found, bound in zip(good, ERRORS[name]))
    assert all(found < worse for found, worse in zip(good, weak))
    for label, found in ((name, good), (f"{name}-weak", weak)):
        assert world(label).schedule.residual_variance[list(TIMES)].tolist() == pytest.approx(found, rel=0.15)


@pytest.mark.parametrize("name", list(ERRORS))
def test_the_files_are_small_and_see_blocks(name):
    for part in ("denoiser", "denoiser_weak"):
        assert world(name).file(part).stat().st_size < 6e6
    assert world(name).denoiser.patch == 2 and world(name).denoiser.prediction_type == "v_prediction"


@pytest.mark.parametrize("name", list(ERRORS))
def test_samples_are_pictures_of_the_world(name):
    """32 samples against the data: mean picture, spread, and how often the judge finds a rule broken."""
    denoiser, scene = world(name).denoiser, world(name).scene
    nothing = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    samples = ddim(denoiser, denoiser.schedule.respace(15), torch.zeros(32, 3, 32, 32), nothing, generator=generator)
    real, states = world(name).images("test", 512)
    assert (samples.mean(0) - real.mean(0)).abs().mean() < 0.12
    assert samples.var(0).sum().item() == pytest.approx(real.var(0).sum().item(), rel=0.35)
    broken = scene.model.violations(world(name).judge.read(samples)).double().mean().item()
    shuffled = torch.stack([column[torch.randperm(len(column), generator=generator)] for column in states.T], 1)
    assert broken < 0.25 * scene.model.violations(shuffled).double().mean().item()
