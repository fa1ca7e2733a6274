"""Metrics by hand-computed values: only hidden pixels count, one number per image."""

import math

import pytest
import torch

from tiramisu_edu.errors import ImageError
from tiramisu_edu.lab.evaluation.metrics import (
    coverage,
    diversity,
    energy_scores,
    hidden_mse,
    hidden_psnr,
    hidden_ssim,
    label_agreement,
)

KNOWN = torch.tensor([[[True, False], [True, False]]])  # (1, 2, 2): the right column is hidden
TRUTH = torch.zeros(2, 1, 2, 2)
IMAGES = torch.tensor([[[[9.0, 0.1], [9.0, 0.3]]], [[[9.0, 0.0], [9.0, 0.0]]]])  # wild where known


@pytest.mark.parametrize("known", [KNOWN, KNOWN[None], KNOWN.expand(2, 1, 2, 2), KNOWN[0]])
def test_only_hidden_pixels_count(known):
    torch.testing.assert_close(hidden_mse(IMAGES, TRUTH, known), torch.tensor([0.05, 0.0]).double())


def test_each_image_has_its_own_mask():
    known = torch.stack([KNOWN, ~KNOWN])
    torch.testing.assert_close(hidden_mse(IMAGES, TRUTH, known), torch.tensor([0.05, 81.0]).double())


def test_colours_share_the_mask():
    images, truth = IMAGES.expand(2, 3, 2, 2), TRUTH.expand(2, 3, 2, 2)
    torch.testing.assert_close(hidden_mse(images, truth, KNOWN), torch.tensor([0.05, 0.0]).double())


def test_psnr_is_relative_to_the_range_of_two():
    psnr = hidden_psnr(IMAGES, TRUTH, KNOWN)
    assert psnr[0].item() == pytest.approx(10 * math.log10(4 / 0.05), abs=1e-6)
    assert psnr[1] == math.inf


def reference_ssim(x, y):
    """The SSIM of two single-channel pictures at every pixel, window by window as in the paper: (H, W)."""
    height, width = x.shape
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    values = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for col in range(width):
            weight = torch.exp(-((rows - row) ** 2 + (cols - col) ** 2).double() / (2 * 1.5**2))
            weight[((rows - row).abs() > 5) | ((cols - col).abs() > 5)] = 0
            weight = weight / weight.sum()
            m_x, m_y = (weight * x).sum(), (weight * y).sum()
            s_x, s_y = (weight * (x - m_x) ** 2).sum(), (weight * (y - m_y) ** 2).sum()
            s_xy = (weight * (x - m_x) * (y - m_y)).sum()
            lightness = (2 * m_x * m_y + 4e-4) / (m_x**2 + m_y**2 + 4e-4)
            values[row, col] = lightness * (2 * s_xy + 3.6e-3) / (s_x + s_y + 3.6e-3)
    return values


def test_ssim_is_the_papers_formula_averaged_over_hidden_pixels():
    generator = torch.Generator().manual_seed(0)
    images, truth = (torch.rand(2, 3, 14, 9, generator=generator).double() * 2 - 1 for _ in range(2))
    known = torch.rand(2, 1, 14, 9, generator=generator) < 0.6
    channels = [[reference_ssim(x, y) for x, y in zip(*pair)] for pair in zip(images, truth)]
    expected = [torch.stack([values[~mask[0]] for values in three]).mean() for three, mask in zip(channels, known)]
    torch.testing.assert_close(hidden_ssim(images, truth, known), torch.stack(expected))


def test_ssim_is_one_for_equal_pictures_and_negative_for_the_opposite_pattern():
    pattern = 0.2 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    known = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    assert hidden_ssim(pattern, pattern, known).item() == pytest.approx(1.0)
    assert hidden_ssim(0.5 + pattern, 0.5 - pattern, known).item() < -0.5


class Reader:
    """Stands for a judge: reads the same states whatever the images."""

    def __init__(self, states):
        self.states = torch.tensor(states)

    def read(self, images):
        return self.states


def test_label_agreement_is_the_share_of_factors_read_right():
    images = torch.zeros(2, 1, 2, 2)
    two_heads = Reader([[0, 1], [2, 3]])
    assert label_agreement(two_heads, images, torch.tensor([[0, 1], [2, 0]])).tolist() == [1.0, 0.5]
    assert label_agreement(Reader([[4], [5]]), images, torch.tensor([4, 0])).tolist() == [1.0, 0.0]


def test_diversity_is_zero_for_copies_and_the_mean_distance_otherwise():
    assert diversity(IMAGES.expand(3, *IMAGES.shape), KNOWN).tolist() == [0.0, 0.0]
    seeds = torch.tensor([0.0, 1.0, 3.0])[:, None, None, None, None].expand(3, 2, 1, 2, 2)
    torch.testing.assert_close(diversity(seeds, KNOWN), torch.full((2,), 2.0).double())  # (1 + 3 + 2) / 3


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ImageError, match="image 1 of the batch has no hidden pixel"):
        hidden_mse(IMAGES, TRUTH, torch.stack([KNOWN, torch.ones_like(KNOWN)]))
    with pytest.raises(ImageError, match="one shape"):
        hidden_mse(IMAGES, TRUTH[:1], KNOWN)
    with pytest.raises(ImageError, match="S >= 2 seeds"):
        diversity(IMAGES[None], KNOWN)


def test_the_energy_score_pays_for_truth_and_variety():
    def distance(a, b):
        return hidden_mse(a, b, KNOWN).sqrt()

    x = torch.zeros(3, 1, 1, 2, 2)
    x[:, ..., 1] = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
    scores = energy_scores(distance, x, TRUTH[:1])
    assert scores[:, 0].tolist() == pytest.approx([1 - (1 + 3) / 4, 2 - (1 + 2) / 4, 4 - (3 + 2) / 4])


def test_true_draws_have_the_best_energy_and_are_covered_and_a_mean_is_not():
    """Gaussian pixels, eight completions each: true draws, draws of half and twice the spread, the mean."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(400, 1, 6, 6, generator=generator) / 4
    draws = torch.randn(8, 400, 1, 6, 6, generator=generator) / 4
    known = torch.zeros(1, 1, 6, 6, dtype=torch.bool)

    def energy(completions):
        distance = lambda a, b: hidden_mse(a, b, known).sqrt()  # noqa: E731
        return energy_scores(distance, completions, truth).mean().item()

    def covered(completions):
        return coverage(completions, truth, known).mean().item()

    assert energy(draws) < min(energy(draws / 2), energy(draws * 2), energy(draws * 0))
    assert hidden_mse(draws[0] * 0, truth, known).mean() < hidden_mse(draws[0], truth, known).mean()  # the old judge
    assert covered(draws) == pytest.approx(0.9, abs=0.01) and covered(draws / 2) < 0.7 and covered(draws * 0) < 0.05
