"""The recipe of the digits' denoiser: p_DM for 8 x 8 images, small enough to be called thousands of times.

1297 training images are few. Dropout and a moving average hold the network back from learning them by heart, and
the held-out images decide when to stop. The calibration of its errors uses held-out images too.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ...datafiles import data_path
from ...diffusion.denoiser import build_network
from ...diffusion.schedule import Schedule
from ..worlds import digits
from .denoiser_training import TrainingResult, TrainingSettings, calibrate_residual_variance, train_denoiser

FILE = "digits/denoiser.safetensors"
NETWORK = {
    "class": "UNet2DModel",
    "config": {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "layers_per_block": 1,
        "block_out_channels": (32, 64),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 8,
        "attention_head_dim": 16,
        "dropout": 0.15,
    },
}
SETTINGS = TrainingSettings(steps=10_000, batch_size=64, learning_rate=2e-3)


def digits_network(seed: int) -> nn.Module:
    """A UNet for 8 x 8 grey images with attention at 4 x 4, 0.7 million weights.

    Args:
        seed: of the initial weights; torch's global random state stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(NETWORK)


def train_digits_denoiser(
    out_path: str | Path,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    *,
    settings: TrainingSettings = SETTINGS,
    progress: bool = True,
) -> TrainingResult:
    """Train, calibrate and save the denoiser of the digits world, in 16-bit weights.

    Args:
        out_path: the safetensors file to write.
        seed: of the initial weights, training and calibration; replaces the one in `settings`.
        checkpoint: file to go on from where it exists; None trains in one go.
        settings: of the training.
        progress: show a progress bar.
    """
    settings = replace(settings, seed=seed)
    train, validation = (digits.images(split)[0] for split in ("train", "validation"))
    result = train_denoiser(
        digits_network(seed),
        train,
        Schedule.cosine(),
        settings,
        validation=validation,
        checkpoint=checkpoint,
        progress=progress,
    )
    generator = torch.Generator().manual_seed(seed)
    variance = calibrate_residual_variance(result.denoiser, validation, generator)
    denoiser = result.denoiser
    denoiser.schedule = denoiser.schedule.with_residual_variance(variance)
    denoiser.facts |= {"data": "digits, train split; calibrated on the validation split"}
    denoiser.save(out_path, half=True)
    return result


if __name__ == "__main__":
    outcome = train_digits_denoiser(data_path(FILE))
    print(f"held-out loss: {min(row['validation'] for row in outcome.history):.4f}")
