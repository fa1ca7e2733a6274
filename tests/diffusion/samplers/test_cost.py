"""What each sampler's docstring says that it costs, beside what is counted."""

import math
from types import SimpleNamespace

import pytest
import torch

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import (
    SAMPLERS,
    CoPaintSettings,
    CoPaintTTSettings,
    RePaintSettings,
    ResamplingSettings,
    count_evaluations,
)
from tiramisu_edu.diffusion.schedule import Schedule

T, B, G, P = 11, 3, 2, 4
LENGTH, REPEATS = 3, 4
J = math.ceil(T / LENGTH) - 1
N = T + J * (REPEATS - 1) * (LENGTH + 1)
GENTLE = {"gradient_steps": G, "rate": 1e-6}  # no trial is rejected

SETTINGS = {
    "repaint": RePaintSettings(LENGTH, REPEATS),
    "resampling": ResamplingSettings(P),
    "copaint": CoPaintSettings(**GENTLE),
    "copaint-tt": CoPaintTTSettings(**GENTLE, jump_length=LENGTH, repeats=REPEATS),
}
DOCUMENTED = {
    "ddim": (T, 0),
    "ddpm": (T, 0),
    "replacement": (T, 0),
    "repaint": (T + J * (REPEATS - 1) * LENGTH, 0),
    "ddrm": (T, 0),
    "ddnm": (T, 0),
    "dps": (T, T),
    "resampling": (T * P, 0),
    "copaint": (T * (1 + G), T * G),
    "copaint-tt": (N * (1 + G), N * G),
}


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_documented_cost_is_the_counted_one(smooth_denoiser, name):
    denoiser = smooth_denoiser()
    image, known = torch.zeros(B, 1, 4, 4), torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    options = {"settings": SETTINGS[name]} if name in SETTINGS else {}
    with count_evaluations(denoiser) as count:
        SAMPLERS[name](
            denoiser, denoiser.schedule.respace(T), image, known, generator=torch.Generator().manual_seed(0), **options
        )
    assert (count.forward / B, count.backward / B) == DOCUMENTED[name]


def test_published_costs_of_250_steps():
    """RePaint 2410 network calls, or 730; CoPaint-TT 489 + 24 optimisations, and one more for the last step here."""
    for repeats, calls in ((10, 2410), (3, 730)):
        assert 250 + (math.ceil(250 / 10) - 1) * (repeats - 1) * 10 == calls
    assert 250 + (math.ceil(250 / 10) - 1) * (10 + 1) == 489 + 24 + 1


def test_rejected_trials_are_counted(smooth_denoiser):
    denoiser = smooth_denoiser()
    image, known = torch.zeros(B, 1, 4, 4), torch.ones(4, 4, dtype=torch.bool)
    counts = {}
    for rate in (1e-6, 1e6):
        with count_evaluations(denoiser) as counts[rate]:
            SAMPLERS["copaint"](
                denoiser,
                denoiser.schedule.respace(3),
                image,
                known,
                generator=torch.Generator().manual_seed(0),
                settings=CoPaintSettings(rate=rate, max_backtracks=5),
            )
    assert counts[1e6].forward > counts[1e-6].forward


def test_counting_ends_with_its_block(smooth_denoiser):
    denoiser, x = smooth_denoiser(), torch.zeros(2, 1, 4, 4)
    with pytest.raises(ZeroDivisionError), count_evaluations(denoiser) as count:
        denoiser(x, 3)
        1 / 0  # noqa: B018
    denoiser(x, 3)
    assert (count.forward, count.backward) == (2, 0)


class AsDiffusers(torch.nn.Module):
    """A network whose output is `.sample` of a result."""

    def forward(self, x, t):
        return SimpleNamespace(sample=x / 2)


def test_networks_of_diffusers_are_counted():
    denoiser = Denoiser(AsDiffusers(), Schedule.linear())
    x = torch.zeros(2, 1, 4, 4, requires_grad=True)
    with count_evaluations(denoiser) as count:
        denoiser(x, 3).x_0.sum().backward()
    assert (count.forward, count.backward) == (2, 2)
