"""The call that all samplers share: what it refuses, and what it does not depend on."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.file_world import load_tuned

ALL = pytest.mark.parametrize("name", sorted(SAMPLERS))
QUICK = {
    "repaint": {"jump_length": 2, "repeats": 2},
    "copaint-tt": {"jump_length": 2, "repeats": 2},
    "resampling": {"particles": 3},
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def run(name, denoiser, **changes):
    """A small inpainting task, with everything at its default but what the test is about."""
    image, known = torch.rand(2, 1, 4, 4, generator=seeded(1), dtype=torch.float32), torch.eye(4, dtype=torch.bool)
    task = {"schedule": denoiser.schedule.respace(4), "image": image, "known": known, "generator": seeded()}
    return SAMPLERS[name](denoiser, **task | QUICK.get(name, {}) | changes)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ddim", {"eta": 2}, r"ddim: eta must lie in \[0, 1\], not 2"),
        ("replacement", {"eta": math.nan}, r"eta must lie in \[0, 1\], not nan"),
        ("ddnm", {"eta": -0.1}, r"eta must lie in \[0, 1\], not -0.1"),
        ("ddrm", {"eta": "full"}, r"eta must lie in \[0, 1\], not 'full'"),
        ("ddrm", {"eta_b": math.nan}, r"ddrm: eta_b must lie in \[0, 1\], not nan"),
        ("ddrm", {"clip": "yes"}, "ddrm: clip must be a bool, not str"),
        ("dps", {"zeta": -1}, "dps: zeta must be a number of at least 0, not -1"),
        ("dps", {"zeta": math.inf}, "dps: zeta must be a number of at least 0, not inf"),
        ("repaint", {"repeats": 0}, r"repaint: repeats must be a whole number in 1 \.\.\. 10000, not 0"),
        ("repaint", {"jump_length": 2.5}, r"jump_length must be a whole number in 1 \.\.\. 10000, not 2.5"),
        ("resampling", {"particles": 0}, r"resampling: particles must be a whole number in 1 \.\.\. 10000, not 0"),
        ("resampling", {"resample_below": 2}, r"resample_below must lie in \[0, 1\], not 2"),
        ("resampling", {"particles": 10**9}, r"particles must be a whole number in 1 \.\.\. 10000, not 1000000000"),
        ("repaint", {"repeats": True}, r"repeats must be a whole number in 1 \.\.\. 10000, not True"),
        ("ddim", {"eta": True}, r"eta must lie in \[0, 1\], not True"),
        (
            "copaint",
            {"gradient_steps": -1},
            r"gradient_steps must be a whole number in 0 \.\.\. 10000, not -1",
        ),
        ("copaint", {"gradient_steps": 10**9}, r"gradient_steps must be a whole number in 0 \.\.\. 10000"),
        ("copaint", {"rate_growth": 1e9}, r"copaint: rate_growth must lie in \[0, 10\], not 1000000000.0"),
        ("copaint-tt", {"prior_growth": 1e9}, r"prior_growth must lie in \[0, 10\]"),
        ("copaint-tt", {"rate": math.nan}, "copaint_tt: rate must be a number of at least 0, not nan"),
        ("dps", {"zetta": 1}, "dps has no option 'zetta': expected eta, zeta"),
        ("ddpm", {"zeta": 1}, "ddpm has no option 'zeta': expected none"),
    ],
)
def test_options_are_bounded(smooth_denoiser, name, options, message):
    with pytest.raises(TiramisuError, match=message):
        run(name, smooth_denoiser(), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": 0}, "generator must be torch.Generator.* not 0"),
        ({"generator": [0, 1]}, r"generator must be torch.Generator.* not \[0, 1\]"),
        ({"schedule": 25}, "schedule must be a Schedule, not int"),
        ({"image": np.zeros((2, 1, 4, 4))}, "image must be a Tensor, not ndarray"),
        ({"known": np.ones((4, 4), dtype=bool)}, "known must be a Tensor, not ndarray"),
        ({"guide": "difference"}, "guide must be a Callable, not str"),
        ({"guide": lambda step: None}, "the guide returned None at index 3"),
        ({"image": torch.zeros(2, 1, 0, 4)}, "image must be float"),
    ],
)
def test_odd_arguments(smooth_denoiser, changes, message):
    with pytest.raises(TiramisuError, match=message):
        run("ddim", smooth_denoiser(), **changes)


def test_other_channels_than_the_networks(tiny_unet):
    denoiser = Denoiser(tiny_unet(channels=3), Schedule.cosine())
    with pytest.raises(TiramisuError, match=r"the network takes 3 channels, the images \(2, 1, 4, 4\) have others"):
        run("ddim", denoiser)


@ALL
def test_its_own_signature(name):
    """Help and completion show the arguments of the call, not those of the loop."""
    names = list(inspect.signature(SAMPLERS[name]).parameters)
    assert names[:4] == ["denoiser", "schedule", "image", "known"] and "walk" not in names
    assert ("eta" in names) == (
        name not in ("ddpm", "repaint", "resampling", "daps", "diffpir", "ding", "tds")
    ) and SAMPLERS[name].__doc__


@ALL
def test_foreign_default_dtype(smooth_denoiser, name):
    """torch.set_default_dtype changes no picture: dtypes come from tensors."""
    denoiser = smooth_denoiser()
    expected = run(name, denoiser)
    torch.set_default_dtype(torch.float64)
    try:
        found = run(name, denoiser)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


@ALL
def test_inside_inference_mode(smooth_denoiser, name):
    """The same picture as outside, with arguments that were made inside."""
    denoiser, expected = smooth_denoiser(), run(name, smooth_denoiser())
    with torch.inference_mode():
        found = run(name, denoiser, guide=lambda step: step.prediction.x_0)
    assert torch.equal(found, expected)


@ALL
def test_weights_made_in_inference_mode(smooth_denoiser, name):
    """They cannot be differentiated through: the samplers that need that say so, the others do not care."""
    with torch.inference_mode():
        denoiser = smooth_denoiser()
    if name in ("dps", "tds", "copaint", "copaint-tt"):
        with pytest.raises(TiramisuError, match="load the denoiser outside of it"):
            run(name, denoiser)
    else:
        assert torch.equal(run(name, denoiser), run(name, smooth_denoiser()))


@pytest.mark.parametrize("path", sorted(Path("data").glob("*/samplers.json")), ids=str)
def test_shipped_options_are_accepted(smooth_denoiser, path):
    denoiser = smooth_denoiser()
    for name, tuned in load_tuned(path).items():
        assert run(name, denoiser, schedule=denoiser.schedule.respace(1), **tuned.options).isfinite().all()
