"""What a circuit must beat: fills without a model are what they are called, and a circuit that loses is named."""

import re

import pytest
import torch

from tests.steering.toy import coupled_patches
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.evaluation.comparison import circuit_mean
from tiramisu_edu.lab.evaluation.metrics import hidden_seam
from tiramisu_edu.lab.pictures import save_image
from tiramisu_edu.lab.recipes import denoiser
from tiramisu_edu.lab.recipes.gate import RIDGES, full_gaussian, laplace_fill
from tiramisu_edu.lab.worlds.folder import losses
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask


def test_a_smooth_fill_restores_what_is_linear_and_is_the_mean_of_its_neighbours():
    across = torch.linspace(-0.8, 0.8, 12).expand(2, 3, 12, 12)
    hole = torch.ones(1, 12, 12, dtype=torch.bool)
    hole[:, 4:8, 4:8] = False
    torch.testing.assert_close(laplace_fill(across, hole), across)
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    filled = laplace_fill(images, hole)
    around = (filled[..., :-2, 1:-1] + filled[..., 2:, 1:-1] + filled[..., 1:-1, :-2] + filled[..., 1:-1, 2:]) / 4
    hidden = ~hole[0, 1:-1, 1:-1]
    torch.testing.assert_close(filled[..., 1:-1, 1:-1][..., hidden], around[..., hidden])
    assert torch.equal(filled[..., hole[0]], images[..., hole[0]])


def test_a_full_gaussian_in_terms_of_pictures_is_that_in_terms_of_pixels():
    images = torch.rand(9, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = mask("left", 4, 4)
    rows, seen = images[:7].flatten(1), k.expand(3, 4, 4).flatten()
    covariance, mean = torch.cov(rows.T, correction=0), rows.mean(0)
    for ridge, fill in zip(RIDGES, full_gaussian(images[:7], images[7:], k)):
        precise = torch.linalg.inv(covariance[seen][:, seen] + ridge * torch.eye(int(seen.sum())))
        expected = mean[~seen] + (images[7:].flatten(1) - mean)[:, seen] @ precise @ covariance[seen][:, ~seen]
        torch.testing.assert_close(fill.flatten(1)[:, ~seen], expected)


def test_the_circuits_mean_keeps_the_known_and_follows_it():
    circuit, book = coupled_patches()
    image = book.image(circuit.sample(4, generator=torch.Generator().manual_seed(0)))
    known = torch.zeros(1, *image.shape[2:], dtype=torch.bool)
    known[..., : image.shape[3] // 2] = True
    mean = circuit_mean(circuit, book, image, known)
    assert torch.equal(mean[..., known[0]], image[..., known[0]])
    assert (mean - image).square().mean() < image.var()


def test_losses_are_counted_by_mask():
    assert losses({"circuit": {"a": 0.2, "b": 0.1}, "mean": {"a": 0.1, "b": 0.2}}, "mean") == 1


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    """A folder of 80 pictures, each smooth noise of its own: a circuit over patches learns them by heart."""
    place, generator = tmp_path_factory.mktemp("folder") / "waves", torch.Generator().manual_seed(0)
    for n in range(80):
        smooth = torch.randn(1, 3, 4, 4, generator=generator)
        picture = torch.nn.functional.interpolate(smooth, size=32, mode="bicubic")[0]
        split = "train" if n < 60 else "val" if n < 70 else "test"
        save_image((picture / 2).clamp(-1, 1), place / split / f"{n}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser, "CALIBRATION", {"points": 3, "repeats": 1})
        for part in ("circuit", "denoiser"):
            assert main(["train", f"folder:{place}", "--size", "32", "--scale", "toy", "--part", part]) == 0
    return place


def test_a_circuit_that_loses_is_named_and_the_better_guide_is_used(waves, tmp_path, capsys):
    world = load(f"folder:{waves}", size=32)
    floors = {name: sum(own.values()) for name, own in world.gate.items()}
    assert floors["stationary Gaussian"] < min(floors["circuit"], floors["mean colour of the known"])
    assert floors["full Gaussian"] < floors["mean training picture"]
    assert any(re.fullmatch(r"kernel of \d+ pictures", name) for name in floors)
    with pytest.warns(UserWarning, match="worse .*the stationary Gaussian under 7 .* say --guide difference-field"):
        _ = world.circuit
    flags = ["inpaint", "--world", f"folder:{waves}", "--size", "32", "--num-inference-steps", "2", "--batch", "2"]
    assert main([*flags, "--out", str(tmp_path / "a.png")]) == 0  # without a warning: the circuit takes no part
    printed = capsys.readouterr().out
    assert "replacement + difference-field" in printed and "circuit alone" not in printed
    with pytest.warns(UserWarning, match="may steer wrong"):
        assert main([*flags, "--guide", "difference", "--out", str(tmp_path / "b.png")]) == 0
    assert "circuit alone" in capsys.readouterr().out


def test_a_circuit_that_wins_stays_the_guide(waves):
    world = load(f"folder:{waves}", size=32)
    world.__dict__["gate"] = {"circuit": {"left": 0.1, "top": 0.2}, "stationary Gaussian": {"left": 0.2, "top": 0.1}}
    assert world.best_guide == load("faces").best_guide == "difference"  # equal on average


def test_a_seam_is_the_jump_over_the_true_one():
    truth = torch.linspace(-0.5, 0.5, 8, dtype=torch.float64).expand(1, 1, 8, 8)
    known = mask("left", 8, 8)[None]
    assert hidden_seam(truth, truth, known).item() == pytest.approx(1)
    darker = torch.where(known, truth, truth - 1)
    jump = 1 / 7
    assert hidden_seam(darker, truth, known).item() == pytest.approx((1 - jump) / jump, rel=1e-5)
