"""What each sampler's docstring says that it costs, beside what is counted."""

import math
import time

import pytest
import torch

from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.diffusion.walk import Cost

T, B, G, P = 11, 3, 2, 4
LENGTH, REPEATS = 3, 4
J = math.ceil(T / LENGTH) - 1
N = T + J * (REPEATS - 1) * (LENGTH + 1)
GENTLE = {"gradient_steps": G, "rate": 1e-6}  # no trial is rejected

JUMPS = {"jump_length": LENGTH, "repeats": REPEATS}
OPTIONS = {"repaint": JUMPS, "resampling": {"particles": P}, "tds": {"particles": P}}
OPTIONS |= {"copaint": GENTLE, "copaint-tt": GENTLE | JUMPS, "daps": {"ode_steps": 2}}
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
    "daps": (2 * T - 1, 0),
    "diffpir": (T, 0),
    "ding": (2 * T - 1, 0),
    "tds": (T * P, T * P),
}


def cost_of(name, denoiser, known, T=T, **options):
    cost, generator = Cost(), torch.Generator().manual_seed(0)
    SAMPLERS[name](
        denoiser,
        denoiser.schedule.respace(T),
        torch.zeros(B, 1, 4, 4),
        known,
        generator=generator,
        cost=cost,
        **options,
    )
    return cost


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_documented_cost_is_the_counted_one(smooth_denoiser, name):
    known = torch.zeros(4, 4, dtype=torch.bool)
    known[:2] = True
    cost = cost_of(name, smooth_denoiser(), known, **OPTIONS.get(name, {}))
    assert (cost.forward / B, cost.backward / B, cost.guide_seconds) == (*DOCUMENTED[name], 0)


def test_published_costs_of_250_steps():
    """RePaint 2410 network calls, or 730; CoPaint-TT 489 + 24 optimisations, and one more for the last step here."""
    for repeats, calls in ((10, 2410), (3, 730)):
        assert 250 + (math.ceil(250 / 10) - 1) * (repeats - 1) * 10 == calls
    assert 250 + (math.ceil(250 / 10) - 1) * (10 + 1) == 489 + 24 + 1


def test_rejected_trials_are_counted(smooth_denoiser):
    known = torch.ones(4, 4, dtype=torch.bool)
    gentle, wild = (cost_of("copaint", smooth_denoiser(), known, 3, rate=rate) for rate in (1e-6, 1e15))
    assert wild.forward > gentle.forward and wild.backward < gentle.backward


@pytest.mark.parametrize("name", ["dps", "copaint-tt"])
def test_the_count_is_what_the_network_sees(smooth_denoiser, name):
    """Images forward through the network and gradients back through it, as counted by hooks; rejected trials too."""
    denoiser, seen = smooth_denoiser(), {"forward": 0, "backward": 0}

    def note(_, __, output):
        seen["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(note_gradient)

    def note_gradient(gradient):
        seen["backward"] += len(gradient)

    denoiser.network.register_forward_hook(note)
    cost = cost_of(name, denoiser, torch.eye(4, dtype=torch.bool), **({"rate": 3.0} if name == "copaint-tt" else {}))
    assert (cost.forward, cost.backward) == (seen["forward"], seen["backward"]) and cost.backward > 0


def test_the_guides_seconds_are_counted(smooth_denoiser):
    def slow(step):
        begun = time.process_time()
        while time.process_time() < begun + 0.01:
            pass
        return step.prediction.x_0

    cost = cost_of("ddim", smooth_denoiser(), torch.zeros(4, 4, dtype=torch.bool), guide=slow)
    assert T * 0.01 <= cost.guide_seconds < T * 0.1
