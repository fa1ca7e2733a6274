"""The bootstrap covers the true difference as often as it says, clusters included.

Each coverage test makes 400 intervals from data whose truth is known and accepts 0.90 to 0.98. Where the true
coverage is 0.94 it fails with probability 0.0007 (binomial, s.d. 0.012); the seeds are fixed, so the outcome
does not vary.
"""

import numpy as np
import pytest
import torch

from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation import significance
from tiramisu_edu.lab.evaluation.significance import Interval, interval

TRIALS = 400


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(significance, "RESAMPLES", 500)


def coverage(draw, **options) -> float:
    """The share of TRIALS intervals that contain the true difference -0.3; draw gives a, b, clusters."""
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(TRIALS):
        a, b, clusters = draw(generator)
        found = interval(a - b, clusters if options else None)
        covered += found.low <= -0.3 <= found.high
    return covered / TRIALS


def independent_pairs(generator):
    """60 images of very different difficulty (s.d. 5), the methods differing by -0.3 with s.d. 1."""
    difficulty = 5 * torch.randn(60, generator=generator)
    return difficulty - 0.3 + torch.randn(60, generator=generator), difficulty, None


def skewed_pairs(generator):
    """As squared errors are: the difference is exponential, shifted to the mean -0.3."""
    return torch.empty(60).exponential_(generator=generator) - 1.3, torch.zeros(60), None


def clustered_pairs(generator):
    """40 images with 5 seeds each: the image decides most of the difference."""
    per_image = torch.randn(40, 1, generator=generator).expand(40, 5)
    gaps = -0.3 + per_image + 0.3 * torch.randn(40, 5, generator=generator)
    return gaps.flatten(), torch.zeros(200), torch.arange(40).repeat_interleave(5)


@pytest.mark.parametrize("draw", [independent_pairs, skewed_pairs])
def test_interval_covers_the_truth(draw):
    assert 0.90 <= coverage(draw) <= 0.98


def test_clusters_keep_the_coverage_that_ignoring_them_loses():
    assert 0.90 <= coverage(clustered_pairs, clusters=True) <= 0.98
    assert coverage(clustered_pairs) < 0.75


def test_one_number_prints_itself():
    found = interval((torch.tensor([1.0, 2.0, 3.0, 4.0]) - torch.tensor([2.0, 2.0, 5.0, 1.0])).repeat(2))
    assert found.mean == pytest.approx(0.0) and found.low < 0 < found.high
    assert f"{Interval(0.5, 0.25, 1):+.2f}" == "+0.50 [+0.25, +1.00]"


def test_fewer_than_eight_pictures_have_no_interval():
    """However many cases they make: seeds and masks of a picture are not independent."""
    few, enough = interval(torch.arange(70.0), torch.arange(70) % 7), interval(torch.arange(8.0))
    assert few.mean == 34.5 and few.low != few.low and few.high != few.high
    assert f"{few:+.1f}" == "+34.5 [–]" and "[–]" not in f"{enough:+.1f}"
    assert not (few.low > 0 or few.high < 0)  # no difference is clear
    for values, text in (([2.0], "+2.0 [–]"), ([], "– [–]"), ([float("nan")] * 9, "– [–]")):
        assert f"{interval(values):+.1f}" == text
    several = significance.resampled(lambda x, axis: (x.mean(axis), x.max(axis)), torch.arange(7.0).numpy())
    assert [ends.shape for ends in several] == [(2,), (2,)] and np.isnan(several).all()


def test_the_same_interval_again_and_with_any_cluster_names():
    gaps, image = torch.randn(18, generator=torch.Generator().manual_seed(0)), torch.arange(9).repeat_interleave(2)
    first, second = interval(gaps, image), interval(gaps, image**3 + 5)
    assert first == second and first.low < first.mean < first.high


def test_unequal_clusters_are_weighed_by_their_cases():
    """Eight images, of which one has three cases: mean* of n draws of it is (3 n 4) / (3 n + 8 - n)."""
    found = interval([4.0, 4.0, 4.0] + [0.0] * 7, [0, 0, 0, *range(1, 8)])
    assert found == pytest.approx((1.2, 0.0, 12 * 3 / (8 + 2 * 3)))  # P(n > 3) = 0.01, P(n > 2) = 0.07


def test_numbers_that_do_not_apply_are_left_out():
    whole = interval([*range(9)], [7, 7, *range(20, 27)])
    assert interval([0, float("nan"), *range(1, 9), float("inf")], [7, 8, 7, *range(20, 27), 1]) == whole


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        (torch.zeros(2, 2), None, r"\(2, 2\)"),
        (torch.zeros(3), torch.zeros(2), "clusters"),
    ],
)
def test_unusable_cases_are_refused(values, clusters, message):
    with pytest.raises(TiramisuError, match=message):
        interval(values, clusters)
