import dataclasses
import itertools
import math

import pytest
import torch

from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.diffusion.calibration import VARIANCE_FLOOR, calibrate_residual_variance
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.lab.recipes.denoiser_training import (
    TrainingSettings,
    learning_rate,
    train_denoiser,
)

SETTINGS = TrainingSettings(steps=12, batch_size=4, warmup=3, validate_every=4, seed=3)
SCHEDULE = Schedule.cosine(100)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Flat pictures of one random grey: easy to denoise, by averaging."""
    return (torch.rand(20, 1, 1, 1, generator=seeded()) * 1.6 - 0.8).expand(20, 1, 4, 4).clone()


@pytest.fixture
def train(tiny_unet, images):
    def run(settings=SETTINGS, network=None, **changes):
        arguments = {"validation": images[:5] * 0.9} | changes
        network = network or tiny_unet(dropout=0.2)
        return train_denoiser(network, images, SCHEDULE, settings, **arguments)

    return run


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def test_learning(train):
    settings = dataclasses.replace(SETTINGS, steps=90, validate_every=30, batch_size=16, learning_rate=5e-3)
    result = train(settings)
    assert [row["step"] for row in result.history] == [30, 60, 90]
    losses = [row["validation"] for row in result.history]
    assert losses[-1] < 0.9 * losses[0] and result.history[-1]["loss"] < result.history[0]["loss"]
    assert result.best_step == result.history[losses.index(min(losses))]["step"]
    assert result.denoiser.facts["validation_loss"] == min(losses)
    assert not result.denoiser.training and not any(p.requires_grad for p in result.denoiser.parameters())


def test_weights_whose_loss_is_not_finite_are_reported_and_never_kept(train, tiny_unet):
    def breaking(after):
        """A network that returns NaN in training after so many steps."""
        network, steps = tiny_unet(dropout=0.2), itertools.count()

        def hook(module, inputs):
            return (inputs[0] * math.nan, *inputs[1:]) if module.training and next(steps) >= after else None

        network.register_forward_pre_hook(hook)
        return network

    for held_out in ({}, {"validation": None}):
        with pytest.warns(UserWarning, match="the weights after (8|12) steps are not kept: their loss is nan"):
            result = train(network=breaking(6), **held_out)
        assert result.best_step == 4
        assert all(weight.isfinite().all() for weight in result.denoiser.parameters())
        with (
            pytest.warns(UserWarning, match="not kept"),
            pytest.raises(TiramisuError, match="never finite in 12 steps"),
        ):
            train(network=breaking(0), **held_out)


@pytest.mark.parametrize("killed_after", [4, 8, 12])
def test_a_killed_run_ends_like_one_that_was_not(train, tmp_path, monkeypatch, killed_after):
    """Killed at a look, when the last checkpoint is a step old; random state does not matter."""
    whole = train()
    monkeypatch.setattr(Checkpoint, "every", 0.0)

    def kill(row, average):
        if row["step"] == killed_after:
            raise KeyboardInterrupt

    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path, report=kill)
    torch.rand(9)
    resumed = train(checkpoint=path)
    assert same_weights(resumed.denoiser, whole.denoiser)
    assert resumed.history == whole.history and resumed.best_step == whole.best_step


def test_a_finished_run_is_not_run_again(train, tmp_path):
    first = train(checkpoint=tmp_path / "run")
    again = train(checkpoint=tmp_path / "run", report=lambda row, average: pytest.fail("trained again"))
    assert same_weights(first.denoiser, again.denoiser) and first.seconds == again.seconds


def test_a_checkpoint_of_another_run(train, tmp_path, images):
    path = tmp_path / "run"
    train(checkpoint=path)
    with pytest.raises(FileError, match="different: settings"):
        train(dataclasses.replace(SETTINGS, learning_rate=1e-4), checkpoint=path)
    images[0] = 0
    with pytest.raises(FileError, match="different: images"):
        train(checkpoint=path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="truncated"):
        train(checkpoint=path)


def test_a_checkpoint_of_another_network(train, tmp_path, tiny_unet):
    train(checkpoint=tmp_path / "run")
    with pytest.raises(FileError, match="different: network"):
        train(network=tiny_unet(out_channels=2), checkpoint=tmp_path / "run")


def test_training_leaves_the_global_random_state_alone(train):
    state = torch.get_rng_state()
    train()
    assert torch.equal(torch.get_rng_state(), state)


def test_the_best_average_is_kept(train):
    """With a rate that makes the weights explode late, the kept ones are from before."""
    settings = dataclasses.replace(SETTINGS, steps=40, warmup=40, learning_rate=0.5, average_decay=0.5)
    result = train(settings)
    losses = [row["validation"] for row in result.history]
    assert result.best_step < 40 and min(losses) < losses[-1]


def test_without_validation_the_last_average_is_kept(train):
    result = train(validation=None)
    assert result.best_step == 12 and result.history[-1]["validation"] is None
    assert result.denoiser.facts["validation_loss"] is None


def test_bfloat16(train):
    result = train(dataclasses.replace(SETTINGS, bfloat16=True))
    assert math.isfinite(result.history[-1]["validation"])
    assert all(p.dtype == torch.float32 for p in result.denoiser.parameters())


def test_a_trained_denoiser_can_be_saved(train, tmp_path):
    result = train()
    result.denoiser.save(tmp_path / "d")
    loaded = Denoiser.load(tmp_path / "d")
    assert same_weights(loaded, result.denoiser)
    assert loaded.facts["settings"]["batch_size"] == 4 and loaded.facts["best_step"] == result.best_step


def test_learning_rate():
    settings = TrainingSettings(steps=100, warmup=10, learning_rate=2.0)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0 and 0 < rates[-1] < 0.001
    assert learning_rate(settings, 55) == pytest.approx(1.0)
    level = dataclasses.replace(settings, decay=0.4)
    rates = [learning_rate(level, step) for step in range(100)]
    assert set(rates[9:61]) == {2.0} and rates[80] == pytest.approx(1.0) and 0 < rates[-1] < 0.01


def test_wrong_images(train, images):
    with pytest.raises(ImageError, match=r"from 0 to 2"):
        train(validation=images.abs() * 0 + torch.tensor([0.0, 2, 0, 0]))
    with pytest.raises(ImageError, match=r"\(B, C, H, W\)"):
        train(validation=images[0])


def test_calibration_of_a_known_denoiser(gaussian_denoiser):
    """For N(0.1, 0.2²) the residual variance is 0.04 (1 - ᾱ) / (0.04 ᾱ + 1 - ᾱ); 51200 pixels give 4 sigma of 2.5 %."""
    denoiser = gaussian_denoiser(200)
    images = 0.1 + 0.2 * torch.randn(200, 1, 8, 8, generator=seeded())
    images = images.clamp(-1, 1)
    found = calibrate_residual_variance(denoiser, images, seeded(1), points=40)
    alpha_bar = denoiser.schedule.alpha_bar
    exact = 0.04 * (1 - alpha_bar) / (0.04 * alpha_bar + 1 - alpha_bar)
    assert found.shape == (200,) and found.dtype == torch.float64
    assert (found / exact - 1).abs().max() < 0.03
    assert denoiser.schedule.with_residual_variance(found).respace(7).residual_variance is not None


def test_calibration_has_a_floor(gaussian_denoiser):
    """A denoiser that is right to the last digit is still not trusted more than half a grey level."""
    denoiser = gaussian_denoiser(50)
    denoiser.network.deviation = 1e-6
    found = calibrate_residual_variance(denoiser, torch.full((4, 1, 2, 2), 0.1), seeded(), points=5)
    assert torch.allclose(found, torch.full((50,), VARIANCE_FLOOR, dtype=torch.float64))
    alone = calibrate_residual_variance(denoiser, torch.full((4, 1, 2, 2), 0.1), seeded(), points=1)
    assert torch.allclose(alone, found)
