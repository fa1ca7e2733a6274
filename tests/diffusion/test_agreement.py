"""Each sampler gives its network what the authors' own code gave it: the same noise, the same images, to rounding.

The file is made by `python -m studies.agreement`, which runs the authors' code; none of it is here. One digit under the
mask "left", 12 steps, the shipped denoiser, float64. Published code of the CoPaint repository stops one step earlier.
For `ddim` and `ddpm`, which do not inpaint, diffusers is run here.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_ddim, scheduling_ddpm

from tiramisu_edu.diffusion import particles, walk
from tiramisu_edu.diffusion.pretrained import Clip
from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask

STEPS, TOP, OFFICIAL = 12, 11, np.load(Path(__file__).with_name("agreement.npz"))
SOURCES = json.loads(str(OFFICIAL["sources"]))
OPTIONS = {  # as in the run of the authors' code
    "replacement": {"eta": 0.95},
    "repaint": {"jump_length": 3, "repeats": 2},
    "ddrm": {"eta": 0.85, "eta_b": 1.0},
    "ddnm": {"eta": 0.85, "clip": False},
    "dps": {"zeta": 8.0},
    "resampling": {"particles": 4, "resample_below": 0.0},
    "copaint": {"backtrack": 0.8, "carry": False},
    "copaint-tt": {"backtrack": 0.8, "carry": False, "jump_length": 4, "repeats": 2, "gradient_steps": 1},
    "tds": {"particles": 4},
    "diffpir": {"zeta": 0.3, "trust": 0.01},
    "ding": {},
    "daps": {"ode_steps": 2, "langevin_time": 1e-10},
}
UNCLIPPED = {"tds", "daps"}  # whose authors do not hold clean predictions in [-1, 1]


@pytest.fixture(scope="module")
def task():
    """A digit, its mask, and the denoiser, which notes what it is given."""
    world = load("digits")
    denoiser, seen = world.denoiser.double(), []
    denoiser.network.register_forward_pre_hook(lambda _, given: seen.append((given[0].detach().clone(), given[1])))
    return denoiser, world.images("test")[0][:1].double(), mask("left", 8, 8)[None], seen


def given_noise(monkeypatch, values):
    """Samplers draw these numbers, in turn."""
    left = iter(torch.from_numpy(values))

    def next_noise(like, generator):
        return torch.stack([next(left) for _ in range(like.numel())]).view(like.shape).to(like)

    monkeypatch.setattr(walk, "standard_normal", next_noise)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_network_sees_what_the_authors_code_showed_it(monkeypatch, task, name):
    denoiser, image, known, seen = task
    schedule, generator = denoiser.schedule.respace(STEPS), torch.Generator().manual_seed(0)
    given_noise(monkeypatch, OFFICIAL[f"{name}.noise"])
    monkeypatch.setattr(particles, "uniform", lambda like, generator: torch.full_like(like, 0.37))
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # of times too, as in their run
    monkeypatch.setattr(denoiser, "clip", Clip(math.inf if name in UNCLIPPED else 1.0))
    seen.clear()
    SAMPLERS[name](denoiser, schedule, image, known, generator=generator, **OPTIONS[name])
    x, index = OFFICIAL[f"{name}.x"], OFFICIAL[f"{name}.index"]
    assert 0 <= len(seen) - len(x) <= (3 if name.startswith("copaint") else 1)  # they leave out the last step
    assert [int(t[0]) for _, t in seen[: len(x)]] == schedule.timesteps[index].tolist()
    found = torch.stack([x for x, _ in seen[: len(x)]])
    assert found.dtype == torch.float64
    assert float((found - torch.from_numpy(x)).abs().max()) < 1e-8


@pytest.mark.parametrize("eta", [None, 0.7])
def test_unconditional_samplers_step_as_diffusers_does(monkeypatch, task, eta):
    denoiser, image, known, seen = task
    schedule, generator, hidden = denoiser.schedule.respace(STEPS), torch.Generator(), torch.zeros_like(known)
    x_T, *noise = torch.randn(STEPS + 1, *image.shape, generator=generator.manual_seed(0), dtype=torch.float64)
    draws = torch.stack([x_T, *noise]).flatten().numpy()
    given_noise(monkeypatch, draws)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: noise[TOP - i])
    seen.clear()
    name, options = ("ddpm", {}) if eta is None else ("ddim", {"eta": eta})
    found = SAMPLERS[name](denoiser, schedule, image, hidden, generator=generator, **options)
    theirs = (scheduling_ddpm.DDPMScheduler if eta is None else scheduling_ddim.DDIMScheduler)(STEPS)
    theirs.set_timesteps(STEPS)
    theirs.alphas_cumprod, x = schedule.alpha_bar, x_T
    for (own, t), i in zip(list(seen), range(TOP, -1, -1)):
        assert float((own - x).abs().max()) < 1e-8
        more = {} if eta is None else {"eta": eta, "variance_noise": noise[TOP - i]}
        x = theirs.step(denoiser(x, t).epsilon, i, x, **more).prev_sample
    assert float((found - x.clamp(-1, 1)).abs().max()) < 1e-8
