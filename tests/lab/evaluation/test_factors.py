"""Determined, violations, calibration: by hand on a network of three factors, and against draws from it."""

import math

import pytest
import torch

from tiramisu_edu.lab.evaluation.factors import calibration, determined
from tiramisu_edu.lab.worlds.factors import FactorModel, equal, factors, violations

COLOURS = ("red", "blue", "green")
SHIRT = ("shirt", COLOURS)
HAT = ("hat", COLOURS, ["shirt"], equal)  # always matches
WALL = ("wall", COLOURS, ["shirt"], lambda c: {"red": 1, "blue": 1, "green": 1, c: 8})
MODEL = FactorModel(factors(SHIRT, HAT, WALL))
SHIRT_SEEN = torch.tensor([True, False, False])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shown(count: int, seen=SHIRT_SEEN):
    """The masks of `count` images that all show the same factors and hide the others."""
    return seen.expand(count, 3), (~seen).expand(count, 3)


def test_determined_counts_hidden_factors_whose_value_is_certain():
    truth = torch.tensor([[0, 0, 0], [1, 1, 0], [2, 2, 2]])
    read = torch.tensor([[0, 0, 2], [1, 2, 0], [0, 2, 2]])  # hats: right, wrong, right; walls are open, so not scored
    assert determined(MODEL, read, truth, *shown(3)).tolist() == [1.0, 0.0, 1.0]


def test_determined_is_the_share_where_several_factors_follow():
    chain = FactorModel(factors(SHIRT, HAT, ("scarf", COLOURS, ["hat"], equal), WALL))
    truth = torch.tensor([[1, 1, 1, 1]])
    seen = torch.tensor([[False, True, False, False]])  # the hat gives away shirt and scarf
    assert determined(chain, torch.tensor([[1, 1, 0, 1]]), truth, seen, ~seen).tolist() == [0.5]


def test_nothing_determined_is_nan_and_partly_visible_factors_are_not_scored():
    truth = torch.tensor([[0, 0, 0]])
    wall_seen = torch.tensor([[False, False, True]])
    assert determined(MODEL, truth, truth, wall_seen, ~wall_seen).isnan().all()
    shirt_seen, _ = shown(1)
    nothing_hidden = torch.zeros_like(shirt_seen)
    assert determined(MODEL, truth, truth, shirt_seen, nothing_hidden).isnan().all()


def test_only_the_seen_part_of_the_truth_is_used():
    truth, other = torch.tensor([[1, 1, 2]]), torch.tensor([[1, 0, 0]])
    read = torch.tensor([[1, 1, 1]])
    for measured in (determined, lambda *a: calibration(*a).distance):
        first, second = (measured(MODEL, read, states, *shown(1)) for states in (truth, other))
        torch.testing.assert_close(first, second, equal_nan=True)


def test_violations_counts_broken_rules():
    read = torch.tensor([[0, 0, 2], [0, 1, 0], [2, 0, 2]])
    assert violations(MODEL, read).tolist() == [0.0, 1.0, 1.0]


def test_calibration_by_hand():
    """Two groups, red and blue shirts; p(wall | red) = .8, .1, .1."""
    truth = torch.tensor([[0, 0, 0]] * 4 + [[1, 1, 1]] * 2)
    read = truth.clone()
    read[:4, 2] = torch.tensor([0, 0, 1, 1])
    found = calibration(MODEL, read, truth, *shown(6))
    assert found.cases.tolist() == [0, 0, 6]
    assert found.distance[:2].isnan().all()
    red, blue = (0.3 + 0.4 + 0.1) / 2, (0.1 + 0.2 + 0.1) / 2
    assert found.distance[2].item() == pytest.approx((4 * red + 2 * blue) / 6)
    spread = math.sqrt(0.8 * 0.2) + 2 * math.sqrt(0.1 * 0.9)
    by_group = [math.sqrt(2 / (math.pi * n)) * spread / 2 for n in (4, 2)]
    assert found.chance[2].item() == pytest.approx((4 * by_group[0] + 2 * by_group[1]) / 6)
    assert found.mean == (found.distance[2].item(), found.chance[2].item())


def test_exact_draws_show_what_chance_predicts():
    """300 sets of 200 coherent images: the mean distance is within 5 % of `chance` (its own error is about 2 %)."""
    distances, chances = [], []
    for seed in range(300):
        states = MODEL.sample(200, seeded(seed))
        found = calibration(MODEL, states, states, *shown(200))
        distances.append(found.distance[2])
        chances.append(found.chance[2])
    assert torch.stack(distances).mean() == pytest.approx(torch.stack(chances).mean().item(), rel=0.05)


def test_taking_the_likeliest_and_ignoring_the_visible_are_both_found_out():
    truth = MODEL.sample(3000, seeded())
    greedy, blind = truth.clone(), truth.clone()
    greedy[:, 2] = truth[:, 0]  # always the shirt's colour: off by 1 - .8
    blind[:, 2] = torch.randint(3, (3000,), generator=seeded(1))  # the overall frequencies: off by .8 - 1/3
    found = [calibration(MODEL, read, truth, *shown(3000)).distance[2].item() for read in (greedy, blind)]
    assert found[0] == pytest.approx(0.2)
    assert found[1] == pytest.approx(0.8 - 1 / 3, abs=0.03)


def test_nothing_open_has_no_mean():
    truth = MODEL.sample(5, seeded())
    everything = torch.ones(5, 3, dtype=torch.bool)
    found = calibration(MODEL, truth, truth, everything, ~everything)
    assert found.cases.tolist() == [0, 0, 0]
    assert all(math.isnan(value) for value in found.mean)
