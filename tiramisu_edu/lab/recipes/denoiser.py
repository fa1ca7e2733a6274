"""The recipes of the denoisers: of the digits, and of colour pictures (faces, rooms, folders of photographs).

1297 digits are few. Dropout and a moving average of the weights reduce overfitting, and the weights that did best on
held-out images are kept. Larger pictures are cut into blocks:

    picture (C, S, S) -> blocks of 2 x 2 pixels (4 C, S/2, S/2) -> UNet -> blocks -> v (C, S, S)

A UNet at full resolution spends nearly all of its time on the finest grid. On blocks of 2 x 2 pixels it works on a
quarter of the places. Attention on the two coarsest grids, 8 x 8 and 4 x 4, relates distant parts of a picture. Sizes
are set in `SCALES` and `DIGITS` and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint
from ...diffusion.calibration import calibrate_residual_variance
from ...diffusion.denoiser import Denoiser, build_network
from ...diffusion.samplers import ddim
from ...diffusion.schedule import Schedule
from ...errors import ImageError
from ..common import fast_bfloat16
from ..memory import PROGRAM
from ..pictures import save_image
from .denoiser_training import TrainingResult, TrainingSettings, train_denoiser
from .training import Job, seeded

PATCH, COARSEST = 2, 4  # side of a block of pixels; side of the last grid
CALIBRATION = {"points": 48, "repeats": 2}  # of all but digits


@dataclass(frozen=True)
class Recipe:
    """A network and its training.

    Attributes:
        scale: what it is called.
        widths: channels on the coarsest grids, the finest of them first; finer grids repeat the first. Pictures of 28
            pixels have two grids.
        layers: residual blocks per grid.
        head: channels per attention head.
        images: of the training split, None for all of them.
        held_out: validation images.
        settings: of the training.
        attention: side of the largest grid with attention.
        dropout: share of the features that are left out while training.
    """

    scale: str
    widths: tuple[int, ...]
    layers: int
    head: int
    images: int | None
    held_out: int | None
    settings: TrainingSettings
    attention: int = 8
    dropout: float = 0.0


DIGITS_SETTINGS = TrainingSettings(steps=10_000, batch_size=64, learning_rate=2e-3)
DIGITS = Recipe("laptop", (32, 64), 1, 16, None, None, DIGITS_SETTINGS, attention=4, dropout=0.15)


def _settings(**changes: Any) -> TrainingSettings:
    """A constant learning rate that falls at the end: weights before the fall do not depend on the steps' number."""
    common = TrainingSettings(patch=PATCH, learning_rate=1e-3, decay=0.4, average_decay=0.998, validate_every=500)
    return replace(common, **changes)


_PAPER = {"steps": 500_000, "batch_size": 128, "learning_rate": 1e-4, "warmup": 5_000, "average_decay": 0.9999}
_OF_COLOUR = (
    # Seconds: to see that everything works.
    Recipe("toy", (8, 8, 16), 1, 8, 32, 16, _settings(steps=10, batch_size=8, warmup=2, validate_every=5)),
    # What ships: 2.6 million weights, 5.2 MB, an hour on one core.
    Recipe("laptop", (64, 80, 96), 1, 40, None, 1024, _settings(steps=6_000, batch_size=64)),
    # 14 million weights, an hour or two on one GPU.
    Recipe("gpu", (96, 160, 224), 2, 32, None, 2048, _settings(steps=30_000, batch_size=256, average_decay=0.9995)),
    # 90 million weights and as many steps as published models of photographs: days on a GPU.
    Recipe("paper", (256, 384, 512), 2, 64, None, 2048, _settings(**_PAPER)),
)
SCALES = {recipe.scale: recipe for recipe in _OF_COLOUR}
WEAK = 10  # the weak denoiser stops after this part of the steps, its learning rate fallen to 0


def weak(recipe: Recipe) -> Recipe:
    """With a tenth of the steps: how much steering helps depends on how good the denoiser is."""
    return replace(recipe, settings=replace(recipe.settings, steps=max(1, recipe.settings.steps // WEAK)))


def build_unet(size: int, recipe: Recipe, seed: int, channels: int = 3) -> nn.Module:
    """The UNet for blocks of pictures of S x S pixels: grids from S/2 down to 4 x 4, of 28 pixels to 7 x 7.

    Args:
        size: S: 28, or 32 or a power of two above it; of digits 8.
        recipe: its sizes.
        seed: of the initial weights; torch's global random state stays as it is.
        channels: of the pictures.

    Raises:
        ImageError: another size.
    """
    patch = recipe.settings.patch
    if size != 28 and (size // patch < 2 * recipe.attention or size & (size - 1)):
        raise ImageError(f"size {size} does not halve down to {COARSEST} x {COARSEST}: use 32, 64, 128, 256, ...")
    levels = int(math.log2(size // patch // COARSEST)) + 1
    widths = (recipe.widths[0],) * (levels - len(recipe.widths)) + recipe.widths[:levels]
    attends = [size // patch >> level <= recipe.attention for level in range(len(widths))]
    config = {
        "sample_size": size // patch,
        "in_channels": channels * patch**2,
        "out_channels": channels * patch**2,
        "block_out_channels": widths,
        "down_block_types": tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        "norm_num_groups": 8,
        "layers_per_block": recipe.layers,
        "attention_head_dim": recipe.head,
        "dropout": recipe.dropout,
    }
    with seeded(seed):
        network = build_network({"class": "UNet2DModel", "config": config})
    for module in network.modules() if patch > 1 else ():
        if isinstance(module, Attention):  # softmax(Q K^T) V written out: of 64 places the fused kernel is slower
            module.set_processor(AttnProcessor())
    return network


def denoiser_memory(recipe: Recipe, count: int, size: int) -> float:
    """About how many bytes `train_world_denoiser` takes for pictures of size x size.

    Measured: 20 numbers a place, channel and layer in a step, 3 in a look at 256 held-out images; 26 copies of the
    weights, most of them while a checkpoint is written.
    """
    network: Any = build_unet(size, recipe, 0)
    weights = sum(parameter.numel() for parameter in network.parameters())
    widths = network.config["block_out_channels"]
    places = sum((size // recipe.settings.patch >> level) ** 2 * width for level, width in enumerate(widths))
    activations = max(20 * recipe.settings.batch_size, 3 * 256) * places * (2 * recipe.layers + 1)
    held_out = 3 * max(recipe.held_out or 0, 1024) * 3 * size**2
    return PROGRAM + 4 * (26 * weights + activations + held_out)


def train_world_denoiser(job: Job, recipe: Recipe) -> TrainingResult:
    """Train, calibrate and save a denoiser in 16-bit weights, with a sheet of samples beside it (.png).

    Raises:
        ImageError: pictures of a size that `build_unet` does not take.
    """
    train = job.source.images("train", recipe.images)[0]
    held_out = job.source.images("validation", recipe.held_out)[0][:]
    in_blocks = recipe.settings.patch > 1
    settings = replace(recipe.settings, seed=job.seed, bfloat16=in_blocks and fast_bfloat16(job.device))
    network = build_unet(train.shape[-1], recipe, job.seed, train.shape[1]).to(job.device)
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(f"{len(train)} images, {weights / 1e6:.2f} million weights, {settings.steps} steps", flush=True)

    report = Report(settings, held_out[:12], job.path.with_suffix(".png"))
    what = network, train, Schedule.cosine(), settings
    result = train_denoiser(*what, validation=held_out, checkpoint=job.checkpoint, report=report)
    denoiser, kept = result.denoiser, Checkpoint(job.checkpoint, {}).stage("calibration")
    sizes = CALIBRATION if in_blocks else {}
    variance = calibrate_residual_variance(denoiser, held_out[:256], job.generator(), checkpoint=kept, **sizes)
    denoiser.schedule = denoiser.schedule.with_residual_variance(variance)
    data = f"{job.source.name}, {len(train)} images of the train split; calibrated on the validation split"
    denoiser.facts |= {"data": data, "scale": recipe.scale, "seconds": round(result.seconds)}
    denoiser.save(job.path, half=True)
    report.draw(denoiser)
    return result


@dataclass
class Report:
    """What is printed and drawn while training runs."""

    settings: TrainingSettings
    pictures: Tensor
    sheet: Path

    def __call__(self, row: dict[str, Any], average: Denoiser) -> None:
        """A line for this look, and the sheet drawn anew."""
        losses = f"loss {row['loss']:.4f}, held out {row['validation']:.4f}"
        tqdm.write(f"step {row['step']} of {self.settings.steps}: {losses}")
        self.draw(average)

    def draw(self, denoiser: Denoiser, rows: int = 4) -> None:
        """A row of real pictures, and rows of samples: DDIM with 25 steps, always from the same noise."""
        device = next(denoiser.parameters()).device
        image = self.pictures.repeat(rows, 1, 1, 1).to(device)
        nothing = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=device)
        generator = torch.Generator(device).manual_seed(self.settings.seed)
        samples = ddim(denoiser, denoiser.schedule.respace(25), image, nothing, generator=generator)
        lines = torch.stack([self.pictures, *samples.cpu().chunk(rows)])  # (rows + 1, columns, C, S, S)
        save_image(lines.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2), self.sheet, scale=2)
