"""The recipe of a scene's judge: which value has each factor of a completed picture?

Its training pictures have factors that are all independent, hats that do not match shirts and glasses with one frame:
a judge that had seen only coherent pictures would fill in what it cannot see, and find every rule kept.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..worlds.factors import violations
from ..worlds.judge import Judge, accuracy, fit_judge
from ..worlds.scene import Scene

IMAGES = 65_536  # training pictures, made for this purpose


class JudgeReport(NamedTuple):
    """What a judge is worth, on coherent test images that it has not seen.

    Attributes:
        accuracy: factor -> share read right.
        violations: share of these images in which it finds a rule broken; there is none.
        seconds: processor time of training.
    """

    accuracy: dict[str, float]
    violations: float
    seconds: float


def train_scene_judge(
    scene: Scene,
    out_path: str | Path,
    seed: int = 0,
    *,
    num_images: int = IMAGES,
    epochs: int = 4,
    num_test: int = 2048,
    progress: bool = True,
) -> JudgeReport:
    """Trains the judge of a scene on independent factors and saves it.

    Args:
        scene: the world.
        out_path: the safetensors file to write.
        seed: of the pictures, initial weights, batches, dropout and augmentation.
        num_images: how many pictures are made.
        epochs: passes over them, each time changed in other ways.
        num_test: images of the test split for the report.
        progress: show a progress bar.

    Returns: the report on the judge as saved; the same numbers are its `facts`.
    """
    started = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    images, states = scene.sample(num_images, generator=generator, independent=True)
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(seed)
        judge = Judge(scene.model.cardinalities, size=32, channels=3, patch=2, widths=(48, 96, 128), num_features=256)
        fit_judge(
            judge,
            images,
            states,
            epochs=epochs,
            batch_size=64,
            learning_rate=3e-3,
            augment=augmented,
            generator=generator,
            bfloat16=True,
            progress=progress,
        )
    seconds = time.process_time() - started
    report = judge_report(judge.half().float(), scene, num_test)._replace(seconds=round(seconds, 1))
    judge.save(out_path, seed=seed, images=num_images, epochs=epochs, **report._asdict())
    return report


def judge_report(judge: Judge, scene: Scene, num_test: int = 2048) -> JudgeReport:
    """Reads the first `num_test` images of the test split."""
    images, states = scene.images("test", num_test)
    right = accuracy(judge, images, states).tolist()
    broken = (violations(scene.model, judge.read(images)) > 0).double().mean().item()
    return JudgeReport(dict(zip(scene.model.names, right)), broken, 0.0)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures as completions are: in places sharp and clean, in places soft and noisy.

    A third stays as it is. In the others a rectangle is blurred and made noisy, or everything outside it.

    Args: images (B, C, H, W) in [-1, 1].
    Returns: (B, C, H, W) in [-1, 1].
    """
    count, _, height, width = images.shape
    softness, noise = torch.rand(2, count, 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    changed = torch.lerp(images, blurred, 0.8 * softness)
    changed = changed + 0.25 * noise * torch.randn(images.shape, generator=generator)

    # Two corners per picture make a rectangle; a coin says whether its inside or its outside changes.
    corners = torch.rand(4, count, 1, 1, 1, generator=generator)
    (left, right), (top, bottom) = corners[:2].sort(0).values, corners[2:].sort(0).values
    x, y = torch.arange(width) / width, torch.arange(height)[:, None] / height
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    coin = torch.rand(2, count, 1, 1, 1, generator=generator)
    plain, inverted = coin[0] < 1 / 3, coin[1] < 1 / 2
    return torch.where(~plain & (inside ^ inverted), changed.clamp(-1, 1), images)
