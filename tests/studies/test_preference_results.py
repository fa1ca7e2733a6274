"""The vote difference by hand, its test against all signs, and an interval that covers the truth.

The coverage test makes 400 studies of 24 voters and 40 pairs whose true vote difference is known, and accepts 0.92 to
0.99. Where the true coverage is 0.96 it fails with probability 0.0005 (binomial, s.d. 0.010); the seed is fixed.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.preference.results import preference, sign_flip_p, vote_interval
from studies.preference.votes import Votes, read_votes
from tests.studies.test_preference import a_study, cast, prefers_a
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation.significance import interval


def test_vote_difference_by_hand(tmp_path):
    """Ada: 4 for A, 1 tie, 1 for B. Bob stops after two pairs, both for B. Together 4 - 3 of 8 votes."""
    key = a_study().key
    wanted = iter([1, 1, 0, 1, -1, 1])
    path = tmp_path / "ada.csv"
    cast(key, "ada", path, lambda pair: {0: "tie", 1: prefers_a(pair), -1: prefers_a(pair.mirrored)}[next(wanted)])
    ada = read_votes(path, key)
    assert ada.scores == (1, 1, 0, 1, -1, 1)
    bob = Votes("bob", ada.pairs[:2], ("left", "left"), (-1, -1))
    found = preference([ada])
    assert (found.for_a, found.ties, found.for_b, found.difference) == (4, 1, 1, 0.5)
    assert found.p == pytest.approx(2 * (math.comb(5, 0) + math.comb(5, 1)) / 2**5)  # the sign test on 5 votes
    assert found.low <= 0.5 <= found.high
    pooled = preference([ada, bob])
    assert (pooled.for_a, pooled.ties, pooled.for_b, pooled.difference) == (4, 1, 3, 1 / 8)


def test_one_voter_has_the_interval_of_the_plain_bootstrap():
    scores = torch.tensor([1, 1, 1, 0, -1, 1, 0, 1, -1, 1, 1, 0, 1, 1, -1, 0])
    found = preference([Votes("ada", tuple(map(str, range(16))), ("left",) * 16, tuple(scores.tolist()))])
    plain = interval(scores)
    assert found.difference == plain.mean
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.07)  # one step of 1/16


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_sign_flip_test_against_all_signs(sums):
    totals = [abs(sum(s * e for s, e in zip(sums, signs))) for signs in itertools.product((-1, 1), repeat=len(sums))]
    assert sign_flip_p(sums) == sum(total >= abs(sum(sums)) for total in totals) / len(totals)


def votes_of(scores):
    names = tuple(str(n) for n in range(scores.shape[1]))
    return [Votes(f"v{n}", names, ("left",) * len(names), tuple(row.tolist())) for n, row in enumerate(scores)]


def test_ties_alone_prefer_nothing():
    found = preference(votes_of(torch.zeros(3, 5, dtype=torch.long)))
    assert found[:4] == (0, 15, 0, 0.0) and (found.low, found.high, found.p) == (0.0, 0.0, 1.0)
    everybody = preference(votes_of(torch.ones(3, 5, dtype=torch.long)))
    assert (everybody.difference, everybody.low, everybody.p) == (1.0, 1.0, 2 / 2**5)


def test_interval_covers_the_truth_and_ignoring_the_groups_does_not():
    """Taste of a voter, quality of a pair and a mood, all normal; within 0.5 of zero the voter sees no difference."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    voters, pairs, mean, blur = 24, 40, 0.3, 0.5
    normal = torch.distributions.Normal(0.0, math.sqrt(0.4**2 + 0.7**2 + 1))
    truth = float(normal.cdf(torch.tensor(mean - blur)) - normal.cdf(torch.tensor(-mean - blur)))
    covered = naive = 0
    for _ in range(400):
        taste, quality = torch.randn(voters, 1, generator=generator), torch.randn(1, pairs, generator=generator)
        liking = mean + 0.4 * taste + 0.7 * quality + torch.randn(voters, pairs, generator=generator)
        scores = (liking > blur).long() - (liking < -blur).long()
        low, high = vote_interval(scores.numpy(), np.ones((voters, pairs)), rng, 500)
        covered += low <= truth <= high
        votes = scores.flatten().double()
        naive += abs(votes.mean() - truth) <= 1.96 * votes.std() / len(votes) ** 0.5
    assert 0.92 <= covered / 400 <= 0.99
    assert naive / 400 < 0.75


def test_votes_that_cannot_be_pooled():
    ada = votes_of(torch.ones(1, 5, dtype=torch.long))
    with pytest.raises(TiramisuError, match="two files of the voter 'v0'"):
        preference(ada * 2)
    for too_few in ([], votes_of(torch.ones(3, 1, dtype=torch.long))):
        with pytest.raises(TiramisuError, match="at least two pairs"):
            preference(too_few)
