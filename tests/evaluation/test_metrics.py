"""Metrics by hand-computed values: only hidden pixels count, one number per image."""

import math

import pytest
import torch

from tiramisu_edu.errors import ImageError
from tiramisu_edu.evaluation.metrics import diversity, hidden_mse, hidden_psnr, label_agreement

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


def test_label_agreement_is_one_per_image():
    def judge(images):
        return images.flatten(1).log_softmax(1)

    images = torch.eye(4).reshape(4, 1, 2, 2)
    assert label_agreement(judge, images, torch.tensor([0, 1, 0, 3])).tolist() == [1.0, 1.0, 0.0, 1.0]


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
