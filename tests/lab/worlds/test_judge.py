"""Judges: one head per factor, files that say what they hold, and the digits' judge as shipped."""

from dataclasses import replace

import pytest
import torch

from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.errors import FileError, ImageError
from tiramisu_edu.files import save_safetensors
from tiramisu_edu.lab.datafiles import data_path, verified
from tiramisu_edu.lab.recipes.judge import DIGITS, JudgeSettings, fit_judge, train_judge
from tiramisu_edu.lab.recipes.training import Job
from tiramisu_edu.lab.worlds import digits
from tiramisu_edu.lab.worlds.judge import Judge, accuracy
from tiramisu_edu.lab.zoo import load

FILE = "digits/judge.safetensors"


def shipped() -> Judge:
    return Judge.load(verified(data_path(FILE)))


def digits_with_states(split: str):
    images, labels = digits.images(split)
    return images, labels[:, None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_judge() -> Judge:
    torch.manual_seed(0)
    return Judge([2, 3], size=8, channels=3, patch=2, widths=(8, 16), num_features=12).eval()


def of_corners(epochs, augment, **changes):
    return JudgeSettings(2, (8, 16), 12, epochs, augment=augment, bfloat16=False, **changes)


def corners(count: int):
    """Noisy pictures with two independent factors: the left half dark or light, and which channel is brightest."""
    states = torch.stack([torch.randint(n, (count,), generator=seeded(n)) for n in (2, 3)], dim=1)
    images = 0.2 * torch.randn(count, 3, 8, 8, generator=seeded()) - 0.5
    images[:, :, :, :4] += states[:, 0, None, None, None]
    images[torch.arange(count), states[:, 1], :, 4:] += 1.0
    return images.clamp(-1, 1), states


def test_shipped_judge_is_accurate_and_small():
    assert accuracy(shipped(), *digits_with_states("test")).item() >= 0.975
    assert data_path(FILE).stat().st_size <= 200_000


def test_shipped_judge_reads_noisy_pictures():
    images, states = digits_with_states("test")
    noise = torch.randn(images.shape, generator=seeded())
    assert accuracy(shipped(), images + 0.2 * noise, states).item() >= 0.95


def test_every_head_gives_log_probabilities_and_gradients_reach_the_image():
    judge, images = small_judge(), torch.rand(5, 3, 8, 8, generator=seeded()).requires_grad_()
    heads = judge(images)
    assert [head.shape for head in heads] == [(5, 2), (5, 3)]
    for head in heads:
        torch.testing.assert_close(head.exp().sum(1), torch.ones(5))
    assert judge.features(images).shape == (5, 12)
    assert [layer.shape for layer in judge.layers(images)] == [(5, 8, 4, 4), (5, 16, 2, 2)]
    assert judge.read(images).tolist() == [[int(head[n].argmax()) for head in heads] for n in range(5)]
    heads[1][:, 2].sum().backward()
    assert images.grad.abs().sum() > 0


def test_a_judge_learns_every_factor():
    images, states = corners(600)
    settings = of_corners(6, lambda batch, generator: batch, batch_size=32, learning_rate=1e-2)
    judge = fit_judge(small_judge(), images[:400], states[:400], settings, seeded())
    assert accuracy(judge, images[400:], states[400:]).min() >= 0.95


def test_a_saved_judge_reads_as_before_and_keeps_its_facts(tmp_path):
    judge, (images, _) = small_judge(), corners(64)
    judge.save(tmp_path / "judge.safetensors", seed=3)
    state = torch.random.get_rng_state()
    loaded = Judge.load(tmp_path / "judge.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loaded.facts == {"seed": 3}
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for before, after in zip(judge(images), loaded(images)):
        torch.testing.assert_close(before, after, atol=2e-3, rtol=0)


def test_files_of_another_kind_or_shape_are_refused(tmp_path):
    path = tmp_path / "judge.safetensors"
    for metadata in ({}, {"architecture": small_judge().architecture, "facts": {}}):
        save_safetensors(path, {"x": torch.zeros(1)}, kind="judge", version=1, metadata=metadata)
        with pytest.raises(FileError, match="truncated or damaged"):
            Judge.load(path)
    with pytest.raises(FileError, match="holds a images, expected a judge"):
        Judge.load(data_path(digits.FILE))


def test_images_of_another_shape_are_refused():
    with pytest.raises(ImageError, match=r"reads images \(B, 3, 8, 8\), not \(2, 3, 16, 16\)"):
        small_judge().read(torch.zeros(2, 3, 16, 16))


def test_training_learns_is_reproducible_and_leaves_global_randomness_alone(tmp_path):
    state = torch.random.get_rng_state()
    first, second = (Job(load("digits"), tmp_path / f"{name}.safetensors", seed=1) for name in "ab")
    report = train_judge(first, replace(DIGITS, epochs=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert report["accuracy"] > 0.8
    train_judge(second, replace(DIGITS, epochs=2))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_killed_judge_goes_on_in_the_middle_of_a_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "every", 0.0)
    images, states = corners(100)

    def train(kill_at=None, checkpoint=None):
        calls = []

        def augment(batch, generator):
            calls.append(len(batch))
            if len(calls) == kill_at:
                raise KeyboardInterrupt
            return batch + 0.01 * torch.randn(batch.shape, generator=generator)

        with torch.random.fork_rng():
            return fit_judge(small_judge(), images, states, of_corners(3, augment), seeded(), checkpoint)

    whole, kept = train(), Checkpoint(tmp_path / "run", {})
    with pytest.raises(KeyboardInterrupt):
        train(kill_at=4, checkpoint=kept)
    resumed = train(checkpoint=kept)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))
