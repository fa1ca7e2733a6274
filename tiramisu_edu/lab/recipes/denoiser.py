"""The recipes of the denoisers: of the digits, and of colour pictures (faces, rooms, folders of photographs).

1297 digits are few. Dropout and a moving average hold the network back from learning them by heart, and the held-out
images decide when to stop. Colour pictures are cut into blocks:

    picture (3, S, S) -> blocks of 2 x 2 pixels (12, S/2, S/2) -> UNet -> blocks -> v (3, S, S)

A UNet at full resolution spends nearly all of its time on the outermost level, where there is least to decide. On
blocks of 2 x 2 pixels it works on a quarter of the places; attention on the two coarsest grids, 8 x 8 and 4 x 4,
carries the rules that tie distant parts together. Sizes are set in `SCALES` and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from ...errors import ImageError, TiramisuError
from ..memory import PROGRAM
from ..pictures import save_image
from ..worlds import digits
from .denoiser_training import TrainingResult, TrainingSettings, train_denoiser
from .training import Images

PATCH, COARSEST, ATTENTION = 2, 4, 8  # side of a block of pixels; side of the last grid; largest grid with attention
CALIBRATION = {"points": 48, "repeats": 2}  # of colour pictures

DIGITS_SETTINGS = TrainingSettings(steps=10_000, batch_size=64, learning_rate=2e-3)


def train_digits_denoiser(
    path: str | Path,
    seed: int = 0,
    *,
    checkpoint: str | Path | None = None,
    settings: TrainingSettings = DIGITS_SETTINGS,
) -> TrainingResult:
    """Train, calibrate and save the denoiser of the digits: a UNet with attention at 4 x 4, 0.7 million weights.

    Args:
        path: the safetensors file to write, with 16-bit weights.
        seed: of the initial weights, training and calibration; replaces the one in `settings`.
        checkpoint: file to go on from where it exists; None trains in one go.
        settings: of the training.
    """
    train, validation = (digits.images(split)[0] for split in ("train", "validation"))
    what = digits_network(seed), train, Schedule.cosine(), replace(settings, seed=seed)
    result = train_denoiser(*what, validation=validation, checkpoint=checkpoint)
    facts = {"data": "digits, train split; calibrated on the validation split"}
    _calibrate_and_save(result.denoiser, validation, path, facts, Checkpoint(checkpoint, {}).stage("calibration"))
    return result


def digits_network(seed: int) -> nn.Module:
    """The UNet for 8 x 8 grey pictures, with dropout; see `_unet`."""
    return _unet((8, 1), (32, 64), (False, True), seed, layers_per_block=1, attention_head_dim=16, dropout=0.15)


def _unet(shape: tuple[int, int], widths: Sequence[int], attends: Sequence[bool], seed: int, **sizes: Any) -> nn.Module:
    """A UNet with the initial weights of a seed; torch's global random state stays as it is.

    Args:
        shape: side of the pictures, and channels.
        widths: channels on each grid, from fine to coarse.
        attends: whether each has attention.
        seed: of the weights.
        sizes: the other arguments of diffusers' class.
    """
    config = {
        "sample_size": shape[0],
        "in_channels": shape[1],
        "out_channels": shape[1],
        "block_out_channels": tuple(widths),
        "down_block_types": tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        "norm_num_groups": 8,
        **sizes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network({"class": "UNet2DModel", "config": config})


def _calibrate_and_save(
    denoiser: Denoiser, images: Tensor, path: str | Path, facts: dict[str, Any], checkpoint: Path | None, **sizes: int
) -> None:
    generator = torch.Generator().manual_seed(denoiser.facts["settings"]["seed"])
    variance = calibrate_residual_variance(denoiser, images, generator, checkpoint=checkpoint, **sizes)
    denoiser.schedule = denoiser.schedule.with_residual_variance(variance)
    denoiser.facts |= facts
    denoiser.save(path, half=True)


@dataclass(frozen=True)
class Recipe:
    """One size of the recipe.

    Attributes:
        widths: channels on the three coarsest grids, the finest of them first; finer grids repeat the first. Pictures
            of 28 pixels have two grids.
        layers: residual blocks per grid.
        head: channels per attention head.
        train: training images, None for all of them.
        held_out: validation images.
        settings: of the training.
    """

    widths: tuple[int, int, int]
    layers: int
    head: int
    train: int | None
    held_out: int
    settings: TrainingSettings


def _settings(**changes: Any) -> TrainingSettings:
    """A level rate with a fall at the end: what is learnt before the fall does not depend on how long training is."""
    common = TrainingSettings(patch=PATCH, learning_rate=1e-3, decay=0.4, average_decay=0.998, validate_every=500)
    return replace(common, **changes)


SCALES = {
    # Seconds: to see that everything works.
    "toy": Recipe((8, 8, 16), 1, 8, 32, 16, _settings(steps=10, batch_size=8, warmup=2, validate_every=5)),
    # What ships: 2.6 million weights, 5.2 MB, an hour on one core.
    "laptop": Recipe((64, 80, 96), 1, 40, None, 1024, _settings(steps=6_000, batch_size=64)),
    # 14 million weights, an hour or two on one GPU.
    "gpu": Recipe((96, 160, 224), 2, 32, None, 2048, _settings(steps=30_000, batch_size=256, average_decay=0.9995)),
    # 90 million weights and as many steps as published models of photographs: days on a GPU.
    "paper": Recipe(
        (256, 384, 512),
        2,
        64,
        None,
        2048,
        _settings(steps=500_000, batch_size=128, learning_rate=1e-4, warmup=5_000, average_decay=0.9999),
    ),
}
WEAK = 10  # the weak denoiser stops after this part of the steps, its learning rate fallen to 0


def scene_network(size: int, recipe: Recipe, seed: int, channels: int = 3) -> nn.Module:
    """The UNet for blocks of pictures of S x S pixels: grids from S/2 down to 4 x 4, of 28 pixels to 7 x 7.

    Args:
        size: S, 28, or 32 or a power of two above it.
        recipe: its sizes.
        seed: of the initial weights; torch's global random state stays as it is.
        channels: of the pictures.

    Raises:
        ImageError: another size.
    """
    if size != 28 and (size < 32 or size & (size - 1)):
        raise ImageError(f"size {size} does not halve down to {COARSEST} x {COARSEST}: use 32, 64, 128, 256, ...")
    levels = int(math.log2(size // PATCH // COARSEST)) + 1
    widths = (recipe.widths[0],) * (levels - len(recipe.widths)) + recipe.widths[:levels]
    attends = [size // PATCH >> level <= ATTENTION for level in range(len(widths))]
    sizes = {"layers_per_block": recipe.layers, "attention_head_dim": recipe.head}
    network = _unet((size // PATCH, channels * PATCH**2), widths, attends, seed, **sizes)
    for module in network.modules():  # softmax(Q K^T) V written out: of 64 places the fused kernel's gradient is slower
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())
    return network


def scaled(scale: str, *, num_images: int | None = None, **settings: Any) -> Recipe:
    """The recipe of a scale, with another number of training images or other settings where they are not None.

    Raises:
        TiramisuError: an unknown scale.
    """
    if scale not in SCALES:
        raise TiramisuError(f"unknown scale {scale!r}: choose one of {', '.join(SCALES)}")
    recipe, own = SCALES[scale], {name: value for name, value in settings.items() if value is not None}
    return replace(recipe, train=num_images or recipe.train, settings=replace(recipe.settings, **own))


def denoiser_memory(recipe: Recipe, size: int) -> float:
    """About how many bytes `train_scene_denoiser` takes for pictures of size x size.

    The activations were measured: 20 numbers a place, channel and layer.
    """
    network: Any = scene_network(size, recipe, 0)
    weights = sum(parameter.numel() for parameter in network.parameters())
    widths = network.config["block_out_channels"]
    places = sum((size // PATCH >> level) ** 2 * width for level, width in enumerate(widths))
    activations = 20 * recipe.settings.batch_size * places * (2 * recipe.layers + 1)
    held_out = 3 * max(recipe.held_out, 1024) * 3 * size**2
    return PROGRAM + 4 * (12 * weights + activations + held_out)


def train_scene_denoiser(
    world: str,
    images: Images,
    path: str | Path,
    *,
    weak: bool = False,
    scale: str = "laptop",
    seed: int = 0,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train, calibrate and save a denoiser in 16-bit weights, with a sheet of samples beside it (.png).

    Args:
        world: its name, for the notes in the file.
        images: (split, count) -> (pictures (N, C, S, S) in [-1, 1], anything).
        path: the safetensors file to write.
        weak: stop after a tenth of the steps. How much steering helps depends on how good the denoiser is.
        scale: one of `SCALES`.
        seed: of the initial weights, training, calibration and samples.
        device: where to train, such as "cuda".
        checkpoint: file to go on from where it exists; None trains in one go.
        changes: of the scale, see `scaled`.

    Raises:
        TiramisuError: an unknown scale.
        ImageError: pictures whose size is not 28, 32, 64, 128, ...
    """
    recipe = scaled(scale, **changes)
    train, held_out = images("train", recipe.train)[0], images("validation", recipe.held_out)[0][:]
    settings = replace(recipe.settings, seed=seed, bfloat16=fast_bfloat16(device))
    if weak:
        settings = replace(settings, steps=max(1, settings.steps // WEAK))
    network = scene_network(train.shape[-1], recipe, seed, train.shape[1]).to(device)
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(f"{len(train)} images, {weights / 1e6:.2f} million weights, {settings.steps} steps", flush=True)

    report = Report(settings, held_out[:12], Path(path).with_suffix(".png"))
    what = network, train, Schedule.cosine(), settings
    result = train_denoiser(*what, validation=held_out, checkpoint=checkpoint, report=report)
    data = f"{world}, {len(train)} images of the train split; calibrated on the validation split"
    facts = {"data": data, "scale": scale, "seconds": round(result.seconds)}
    kept = Checkpoint(checkpoint, {}).stage("calibration")
    _calibrate_and_save(result.denoiser, held_out[:256], path, facts, kept, **CALIBRATION)
    report.draw(result.denoiser)
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


def fast_bfloat16(device: str) -> bool:
    """Whether 16-bit arithmetic saves time there: on GPUs, and on processors with instructions for it."""
    return torch.device(device).type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
