"""Small denoisers for tests: one that can be saved, one that is smooth and fast, one that is exact."""

import math

import pytest
import torch
from torch import nn

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.diffusion.schedule import Schedule

T, PARTICLES = 6, 3
ALL = pytest.mark.parametrize("name", sorted(SAMPLERS))
WITHOUT_ETA = ("ddpm", "repaint", "resampling", "daps", "diffpir", "ding", "tds")
EVERY_ETA = pytest.mark.parametrize(
    ("name", "eta"), [(name, eta) for name in SAMPLERS for eta in ((1.0,) if name in WITHOUT_ETA else (0.0, 0.7))]
)
QUICK = {
    "repaint": {"jump_length": 2, "repeats": 2},
    "copaint-tt": {"jump_length": 2, "repeats": 2},
    "resampling": {"particles": PARTICLES},
    "tds": {"particles": PARTICLES},
    "daps": {"ode_steps": 2},
}


def make_tiny_unet(seed=0, channels=1, out_channels=None, dropout=0.0):
    from diffusers import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DModel(
            sample_size=4,
            in_channels=channels,
            out_channels=out_channels or channels,
            layers_per_block=1,
            block_out_channels=(8,),
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
            norm_num_groups=4,
            add_attention=False,
            dropout=dropout,
        ).eval()


class SmoothNetwork(nn.Module):
    """A fixed, smooth, non-linear function of neighbouring pixels and time, cheap enough for many steps."""

    def __init__(self, seed=0, dtype=torch.float32):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        kernels = torch.randn(2, 4, 9, generator=generator, dtype=torch.float64).to(dtype) * 0.3
        self.inner = nn.Parameter(kernels[0].reshape(4, 1, 3, 3))
        self.outer = nn.Parameter(kernels[1].reshape(1, 4, 3, 3))

    def forward(self, x, t):
        hidden = nn.functional.conv2d(x, self.inner, padding=1) + (t / 1000).to(x.dtype)[:, None, None, None]
        return nn.functional.conv2d(torch.tanh(hidden), self.outer, padding=1)


class GaussianNetwork(nn.Module):
    """E[x_0 | x_t] when every pixel is N(mean, deviation²), on its own."""

    def __init__(self, schedule, mean=0.1, deviation=0.2):
        super().__init__()
        self.schedule, self.mean, self.deviation = schedule, mean, deviation

    def forward(self, x, t):
        alpha_bar = float(self.schedule.alpha_bar[int(t[0])])
        variance = alpha_bar * self.deviation**2 + 1 - alpha_bar
        return self.mean + math.sqrt(alpha_bar) * self.deviation**2 / variance * (x - math.sqrt(alpha_bar) * self.mean)


class Pairs(nn.Module):
    """E[x_0 | x_t] for two pixels that are N(0, 0.3²) with correlation 0.9."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.covariance = schedule, 0.09 * torch.tensor([[1.0, 0.9], [0.9, 1.0]])

    def forward(self, x, t):
        alpha_bar = float(self.schedule.alpha_bar[int(t[0])])
        noisy = alpha_bar * self.covariance + (1 - alpha_bar) * torch.eye(2)
        gain = math.sqrt(alpha_bar) * torch.linalg.solve(noisy, self.covariance)
        return x @ gain


def make_gaussian_denoiser(N=1000):
    schedule = Schedule.cosine(N)
    return Denoiser(GaussianNetwork(schedule), schedule, "sample").eval()


def make_smooth_denoiser(seed=0, dtype=torch.float32, prediction_type="v_prediction"):
    return Denoiser(SmoothNetwork(seed, dtype), Schedule.cosine(), prediction_type).eval()


@pytest.fixture(scope="session")
def tiny_unet():
    return make_tiny_unet


@pytest.fixture(scope="session")
def gaussian_denoiser():
    return make_gaussian_denoiser


@pytest.fixture(scope="session")
def smooth_denoiser():
    return make_smooth_denoiser


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def denoiser(smooth_denoiser):
    return smooth_denoiser()


@pytest.fixture
def image():
    return torch.rand(3, 1, 4, 4, generator=seeded(5)) * 2 - 1


@pytest.fixture
def known():
    mask = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    mask[:, :, :2], mask[1, :, 3] = True, True
    return mask


@pytest.fixture
def sample(denoiser, image, known):
    """Sample with everything at its default but what the test is about."""

    def run(name, **changes):
        arguments = {"image": image, "known": known, "generator": seeded()} | QUICK.get(name, {}) | changes
        schedule = denoiser.schedule.respace(arguments.pop("steps", T))
        return SAMPLERS[name](denoiser, schedule, arguments.pop("image"), arguments.pop("known"), **arguments)

    return run
