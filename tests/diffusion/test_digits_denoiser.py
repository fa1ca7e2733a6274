"""The digits' denoiser: that its recipe runs, and that the file which ships is as good as it was."""

import dataclasses
import functools

import pytest
import torch

from tiramisu_edu.diffusion.calibration import calibrate_residual_variance
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import ddim
from tiramisu_edu.lab.datafiles import data_path
from tiramisu_edu.lab.recipes import denoiser as recipe
from tiramisu_edu.lab.recipes.denoiser import DIGITS, train_world_denoiser
from tiramisu_edu.lab.recipes.training import Job
from tiramisu_edu.lab.worlds import digits
from tiramisu_edu.lab.zoo import load

FILE = "digits/denoiser.safetensors"


@pytest.fixture(scope="module")
def denoiser():
    return Denoiser.load(data_path(FILE))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_recipe_runs_and_can_be_resumed(tmp_path, monkeypatch):
    quick = functools.partial(calibrate_residual_variance, points=4, repeats=1)
    monkeypatch.setattr(recipe, "calibrate_residual_variance", quick)
    settings = dataclasses.replace(DIGITS.settings, steps=2, batch_size=4, validate_every=2)
    few = dataclasses.replace(DIGITS, images=16, held_out=16, settings=settings)
    jobs = (Job(load("digits"), tmp_path / name, seed=3, checkpoint=tmp_path / "run") for name in "ab")
    first, again = (train_world_denoiser(job, few) for job in jobs)
    assert first.history == again.history and first.denoiser.facts["settings"]["seed"] == 3
    a, b = Denoiser.load(tmp_path / "a"), Denoiser.load(tmp_path / "b")
    assert torch.equal(a.schedule.residual_variance, b.schedule.residual_variance)
    for x, y in zip(a.parameters(), b.parameters()):
        assert torch.equal(x, y)


def test_the_file_is_small(denoiser):
    assert data_path(FILE).stat().st_size < 5e6
    assert denoiser.prediction_type == "v_prediction" and len(denoiser.schedule) == 1000


@pytest.mark.parametrize(("i", "error"), [(100, 0.02), (400, 0.12), (700, 0.35), (950, 0.55)])
def test_clean_predictions_on_images_it_has_never_seen(denoiser, i, error):
    """Mean squared error on the test split, and the calibrated variance agrees with it."""
    x_0 = digits.images("test")[0][:128]
    noise = torch.randn(x_0.shape, generator=seeded())
    found = (denoiser(denoiser.schedule.add_noise(x_0, i, noise), i).x_0 - x_0).square().mean().item()
    assert found < error
    assert found == pytest.approx(denoiser.schedule.residual_variance[i].item(), rel=0.15)


def test_samples_have_the_statistics_of_digits(denoiser):
    """Mean image and spread of 64 unconditional samples against the data: far off for blur, noise or one mode."""
    image, nothing = torch.zeros(64, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    samples = ddim(denoiser, denoiser.schedule.respace(15), image, nothing, generator=seeded())
    real = digits.images("train")[0]
    assert (samples.mean(0) - real.mean(0)).abs().mean() < 0.1
    assert samples.var(0).sum().item() == pytest.approx(real.var(0).sum().item(), rel=0.2)
    nearest = torch.cdist(samples.flatten(1), real.flatten(1)).min(1).values
    assert 1.0 < nearest.mean() < 2.6
