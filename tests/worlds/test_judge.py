"""The judge as shipped: accurate, robust to noise, small; and its training on a short run."""

import pytest
import torch

from tiramisu_edu.errors import FileError
from tiramisu_edu.files import save_safetensors
from tiramisu_edu.worlds import digits
from tiramisu_edu.worlds.judge import FILE, NUM_FEATURES, Judge, accuracy, train_digits_judge
from tiramisu_edu.zoo import data_path, verified


def shipped() -> Judge:
    return Judge.load(verified(data_path(FILE)))


def test_shipped_judge_is_accurate_and_small():
    assert accuracy(shipped(), *digits.images("test")) >= 0.975
    assert data_path(FILE).stat().st_size <= 200_000


def test_shipped_judge_reads_noisy_pictures():
    images, labels = digits.images("test")
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert accuracy(shipped(), images + 0.2 * noise, labels) >= 0.95


def test_outputs_are_log_probabilities_and_gradients_reach_the_image():
    judge = shipped()
    images = digits.images("test")[0][:5].requires_grad_()
    log_probabilities = judge(images)
    assert log_probabilities.shape == (5, 10)
    torch.testing.assert_close(log_probabilities.exp().sum(1), torch.ones(5))
    assert judge.features(images).shape == (5, NUM_FEATURES)
    log_probabilities[:, 3].sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(not weight.requires_grad for weight in judge.parameters())


def test_files_of_another_kind_or_shape_are_refused(tmp_path):
    path = tmp_path / "judge.safetensors"
    save_safetensors(path, {"x": torch.zeros(1)}, kind="digits judge", version=1, metadata={})
    with pytest.raises(FileError, match="judge of another shape"):
        Judge.load(path)
    with pytest.raises(FileError, match="holds a images, expected a digits judge"):
        Judge.load(data_path(digits.FILE))


def test_training_learns_is_reproducible_and_leaves_global_randomness_alone(tmp_path):
    state = torch.random.get_rng_state()
    reached = train_digits_judge(tmp_path / "a.safetensors", seed=1, epochs=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert reached > 0.8
    train_digits_judge(tmp_path / "b.safetensors", seed=1, epochs=2)
    first, second = (Judge.load(tmp_path / name).state_dict() for name in ("a.safetensors", "b.safetensors"))
    assert all(torch.equal(first[name], second[name]) for name in first)
