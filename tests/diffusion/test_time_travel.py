"""RePaint, CoPaint-TT, and the path that both travel."""

from itertools import pairwise

import pytest
import torch

from tests.diffusion.conftest import Pairs
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import copaint, copaint_tt, repaint
from tiramisu_edu.diffusion.schedule import Schedule, jump_schedule


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("repeats", "down", "up"), [(10, 2410, 2160), (3, 730, 480), (2, 490, 240), (1, 250, 0)])
def test_published_counts(repeats, down, up):
    """250 steps, jumps of 10. The published CoPaint-TT ends at index 0, one step earlier: 489."""
    path = jump_schedule(250, 10, repeats)
    moves = [following - i for i, following in pairwise(path)]
    assert (moves.count(-1), moves.count(1), len(moves)) == (down, up, down + up)
    assert path[0] == 249 and path[-1] == -1 and min(path[:-1]) == 0 and max(path) == 249


def test_a_short_path():
    assert jump_schedule(5, length=2, repeats=2) == [4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0, -1]
    assert jump_schedule(3, length=3, repeats=9) == jump_schedule(3, length=1, repeats=1) == [2, 1, 0, -1]


@pytest.mark.parametrize(("T", "length", "repeats"), [(7, 1, 3), (12, 3, 2), (12, 5, 4), (13, 4, 3)])
def test_each_stretch_is_denoised_as_often_as_asked(T, length, repeats):
    """Every index is left downwards `repeats` times; the clean end and what lies above the last climb, once."""
    path = jump_schedule(T, length, repeats)
    down = [i for i, following in pairwise(path) if following < i]
    top = max(range(0, T - length, length)) + length
    assert [down.count(i) for i in range(T)] == [repeats if 1 <= i <= top else 1 for i in range(T)]


def test_renoising_is_one_step_of_the_forward_process():
    """Noise added index by index has the law of noise added at once: 4 sigma of 4000 pixels."""
    schedule = Schedule.cosine().respace(6)
    x_0, g = torch.full((4000, 1, 1, 1), 0.5), seeded()
    x = schedule.add_noise(x_0, 1, torch.randn(x_0.shape, generator=g))
    for i in range(1, 4):
        x = schedule.renoise(x, i, torch.randn(x_0.shape, generator=g))
    a = float(schedule.alpha_bar[4])
    assert x.mean().item() == pytest.approx(0.5 * a**0.5, abs=4 * ((1 - a) / 4000) ** 0.5)
    assert x.var().item() == pytest.approx(1 - a, rel=4 * (2 / 4000) ** 0.5)


def test_without_jumps_it_is_copaint(smooth_denoiser):
    denoiser = smooth_denoiser()
    schedule = denoiser.schedule.respace(5)
    image, known = torch.rand(2, 1, 4, 4, generator=seeded(1)), torch.eye(4, dtype=torch.bool)
    for still in ({"repeats": 1}, {"jump_length": 5, "repeats": 3}):
        travelled = copaint_tt(denoiser, schedule, image, known, generator=seeded(), **still)
        assert torch.equal(travelled, copaint(denoiser, schedule, image, known, generator=seeded()))


def test_travel_makes_pixels_fit():
    """The point of RePaint, on pixels of correlation 0.9 in pairs: more repeats, closer to the exact mean 0.9 y."""
    schedule = Schedule.cosine()
    denoiser = Denoiser(Pairs(schedule), schedule, "sample")
    image, known = torch.full((300, 1, 1, 2), 0.5), torch.tensor([True, False])
    errors = []
    for repeats in (1, 3, 10):
        out = repaint(
            denoiser,
            schedule.respace(30),
            image,
            known,
            generator=seeded(),
            jump_length=5,
            repeats=repeats,
        )
        errors.append(abs(out[..., 1].mean().item() - 0.45))
    assert errors[2] < errors[1] < errors[0]
