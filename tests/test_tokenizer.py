"""The tokenizer: codes of patches and back, soft evidence with a temperature, and training on toy pictures."""

import math

import pytest
import torch

from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.files import save_safetensors
from tiramisu_edu.lab.recipes.tokenizer import Codebook, TokenizerSettings, psnr, train_tokenizer, usage
from tiramisu_edu.tokenizer import Tokenizer

SMALL = TokenizerSettings(num_codes=16, code_size=4, width=24, steps=200, unquantised_steps=60, batch_size=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, size: int = 16, seed: int = 0) -> torch.Tensor:
    """Two of three colours side by side, meeting in the middle of a patch or between two, with a little noise."""
    generator = seeded(seed)
    left, right = torch.eye(3)[torch.randint(3, (2, count), generator=generator)] - 0.5  # (count, 3) each
    border = 2 * torch.randint(2, size // 2 - 1, (count, 1, 1, 1), generator=generator)
    images = torch.where(torch.arange(size) < border, left[:, :, None, None], right[:, :, None, None])
    noise = 0.02 * torch.randn(count, 3, size, size, generator=generator)
    return (images + noise).clamp(-1, 1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(pictures(400), SMALL)


def test_training_learns_pictures_and_uses_its_codes(tokenizer):
    held_out = pictures(200, seed=1)
    squared_error = (tokenizer.decode(tokenizer.encode(held_out)) - held_out).square().mean()
    assert psnr(tokenizer, held_out) == pytest.approx(10 * math.log10(4 / squared_error), abs=1e-3)
    psnr_of_the_mean_picture = 10 * math.log10(4 / held_out.var(0).mean())
    assert psnr(tokenizer, held_out) > psnr_of_the_mean_picture + 6
    assert usage(tokenizer, held_out) >= 0.9


def test_codes_are_the_nearest_and_shapes_fit_any_size(tokenizer):
    for size in (16, 32):
        images = pictures(5, size)
        codes = tokenizer.encode(images)
        assert codes.shape == (5, (size // tokenizer.patch) ** 2)
        assert codes.dtype == torch.int64
        features = tokenizer.embed(images)
        gaps = (features[:, :, None] - tokenizer.codebook).square().sum(-1)
        assert torch.equal(codes, gaps.argmin(-1))
        decoded = tokenizer.decode(codes)
        assert decoded.shape == images.shape
        assert decoded.abs().max() <= 1


def test_codes_lie_in_reading_order_and_see_only_their_patch(tokenizer):
    images = pictures(1)
    changed = images.clone()
    changed[:, :, 4:8, 8:12] = 1.0  # row 1, column 2 of the grid
    moved = (tokenizer.embed(images) != tokenizer.embed(changed)).any(-1)
    assert moved.nonzero().tolist() == [[0, 6]]


def test_log_probabilities_follow_the_formula(tokenizer):
    images = pictures(3)
    distance = (tokenizer.embed(images)[:, :, None] - tokenizer.codebook).norm(dim=-1) / 2 / tokenizer.spread  # D = 4
    for temperature in (0.3, torch.rand(3, 16, 1, generator=seeded()) + 0.1):
        expected = (-distance / temperature).log_softmax(-1)
        torch.testing.assert_close(tokenizer.log_probabilities(images, temperature), expected, atol=1e-4, rtol=1e-4)
    cold = tokenizer.log_probabilities(images, 1e-4)
    assert torch.equal(cold.argmax(-1), tokenizer.encode(images))
    hot = tokenizer.log_probabilities(images, 1e4).exp()
    torch.testing.assert_close(hot, torch.full_like(hot, 1 / 16), atol=1e-3, rtol=0)


def test_the_unit_of_distance_is_the_usual_rounding_error(tokenizer):
    images = pictures(400)
    gap = tokenizer.embed(images) - tokenizer.codebook[tokenizer.encode(images)]
    assert gap.square().mean().sqrt().item() == pytest.approx(tokenizer.spread.item(), rel=1e-3)


def test_gradients_reach_the_image(tokenizer):
    images = pictures(2).requires_grad_()
    tokenizer.log_probabilities(images)[:, :, 0].sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in tokenizer.parameters())


def test_a_saved_tokenizer_is_half_as_large_and_says_the_same(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.safetensors"
    tokenizer.save(path, {"seed": 3})
    state = torch.random.get_rng_state()
    loaded = Tokenizer.load(path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loaded.facts == {"seed": 3}
    images = pictures(200, seed=1)
    assert (loaded.encode(images) == tokenizer.encode(images)).double().mean() > 0.99
    assert psnr(loaded, images) == pytest.approx(psnr(tokenizer, images), abs=0.05)


def test_training_is_reproducible_and_leaves_global_randomness_alone():
    state = torch.random.get_rng_state()
    settings = TokenizerSettings(num_codes=16, code_size=4, width=8, steps=20, unquantised_steps=5, batch_size=8)
    first, second = (train_tokenizer(pictures(50), settings) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


def test_a_killed_run_ends_like_one_that_was_not(tmp_path, monkeypatch):
    """Killed once the codebook follows the features, at a batch that is drawn but not learnt from."""
    monkeypatch.setattr(Checkpoint, "every", 0.0)
    settings = TokenizerSettings(num_codes=16, code_size=4, width=8, steps=20, unquantised_steps=5, batch_size=8)
    whole, rounds = train_tokenizer(pictures(50), settings), []

    def kill(codebook, features, step, kept=Codebook.round):
        rounds.append(step)
        if len(rounds) == 8:
            raise KeyboardInterrupt
        return kept(codebook, features, step)

    monkeypatch.setattr(Codebook, "round", kill)
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(pictures(50), settings, checkpoint=tmp_path / "run")
    resumed = train_tokenizer(pictures(50), settings, checkpoint=tmp_path / "run")
    assert rounds == [*range(5, 13), *range(12, 20)]
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))


def test_a_code_that_nothing_is_rounded_to_is_moved_to_where_features_are():
    tokenizer = Tokenizer(num_codes=8, code_size=2, width=8)
    settings = TokenizerSettings(num_codes=8, code_size=2, steps=200, settle=0.5)
    features = torch.rand(1, 64, 2, generator=seeded())
    codebook = Codebook(tokenizer, settings, seeded())
    codebook.start(features[0])
    tokenizer.codebook[3] = 100.0
    for step in range(150):  # the average of the strayed code fades; in the last half nothing is moved any more
        codebook.round(features, step)
        strayed = bool((tokenizer.codebook[3] == 100.0).all())
        assert not strayed or step < 99
    assert not strayed


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda t: t.encode(torch.zeros(1, 1, 16, 16)),
            ImageError,
            r"square images \(N, 3, H, H\), not \(1, 1, 16, 16\)",
        ),
        (lambda t: t.encode(torch.zeros(1, 3, 16, 20)), ImageError, "square images"),
        (lambda t: t.encode(torch.zeros(1, 3, 18, 18)), ImageError, "18 pixels are no multiple of 4"),
        (lambda t: t.decode(torch.zeros(1, 15, dtype=torch.long)), TiramisuError, "15 codes do not fill a square grid"),
        (lambda t: t.log_probabilities(torch.zeros(1, 3, 16, 16), 0.0), TiramisuError, "must be positive, not 0"),
    ],
)
def test_what_cannot_be_tokenized_is_refused(tokenizer, call, error, message):
    with pytest.raises(error, match=message):
        call(tokenizer)


def test_too_few_images_and_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(ImageError, match="16 patches cannot make 256 codes"):
        train_tokenizer(pictures(1), TokenizerSettings(steps=2, unquantised_steps=1))
    path = tmp_path / "tokenizer.safetensors"
    for metadata in ({}, {"config": Tokenizer(num_codes=4).config, "facts": {}}):
        save_safetensors(path, {"x": torch.zeros(1)}, kind="tokenizer", version=1, metadata=metadata)
        with pytest.raises(FileError, match="truncated or damaged"):
            Tokenizer.load(path)
