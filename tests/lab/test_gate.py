"""What a circuit must beat: fills without a model are what they are called, and a circuit that loses is named."""

import pytest
import torch

from tests.steering.toy import coupled_patches
from tiramisu_edu.lab.evaluation.metrics import hidden_seam
from tiramisu_edu.lab.recipes.gate import circuit_mean, laplace_fill
from tiramisu_edu.lab.worlds.folder import losses
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


def test_the_circuits_mean_keeps_the_known_and_follows_it():
    circuit, book = coupled_patches()
    image = book.image(circuit.sample(4, generator=torch.Generator().manual_seed(0)))
    known = torch.zeros(1, *image.shape[2:], dtype=torch.bool)
    known[..., : image.shape[3] // 2] = True
    mean = circuit_mean(circuit, book, image, known)
    assert torch.equal(mean[..., known[0]], image[..., known[0]])
    assert (mean - image).square().mean() < image.var()


def test_losses_are_counted_by_mask():
    assert losses({"circuit": {"a": 0.2, "b": 0.1}, "mean colour of the known": {"a": 0.1, "b": 0.2}}) == 1


def test_a_seam_is_the_jump_over_the_true_one():
    truth = torch.linspace(-0.5, 0.5, 8, dtype=torch.float64).expand(1, 1, 8, 8)
    known = mask("left", 8, 8)[None]
    assert hidden_seam(truth, truth, known).item() == pytest.approx(1)
    darker = torch.where(known, truth, truth - 1)
    jump = 1 / 7
    assert hidden_seam(darker, truth, known).item() == pytest.approx((1 - jump) / jump, rel=1e-5)
