"""The recipe of a scene's tokenizer: 32 x 32 pictures as 8 x 8 codes."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from ...tokenizer import Tokenizer
from ..worlds.scene import Scene
from .tokenizer_training import TokenizerSettings, train_tokenizer

IMAGES = 16_384  # of the training split
SETTINGS = TokenizerSettings()


class TokenizerReport(NamedTuple):
    """What a tokenizer is worth, on validation images that it has not seen.

    Attributes:
        psnr: of the decoded codes, in decibels.
        usage: share of the codes that occur.
        seconds: processor time of training.
    """

    psnr: float
    usage: float
    seconds: float


def train_scene_tokenizer(
    scene: Scene,
    out_path: str | Path,
    seed: int = 0,
    *,
    num_images: int = IMAGES,
    settings: TokenizerSettings = SETTINGS,
    num_validation: int = 2048,
    progress: bool = True,
) -> TokenizerReport:
    """Trains the tokenizer of a scene on its training split and saves it.

    Args:
        scene: the world.
        out_path: the safetensors file to write.
        seed: of everything random; replaces the one in `settings`.
        num_images: the first so many images of the training split.
        settings: of the training.
        num_validation: validation images for the report.
        progress: show a progress bar.

    Returns: the report on the tokenizer as saved; the same numbers are its `facts`.
    """
    started = time.process_time()
    settings = replace(settings, seed=seed)
    images, _ = scene.images("train", num_images)
    tokenizer = train_tokenizer(images, settings, progress=progress)
    seconds = round(time.process_time() - started, 1)
    report = tokenizer_report(tokenizer.half().float(), scene, num_validation)._replace(seconds=seconds)
    tokenizer.save(out_path, {"settings": asdict(settings), "images": num_images, **report._asdict()})
    return report


def tokenizer_report(tokenizer: Tokenizer, scene: Scene, num_validation: int = 2048) -> TokenizerReport:
    """Encodes and decodes the first `num_validation` validation images."""
    images, _ = scene.images("validation", num_validation)
    return TokenizerReport(tokenizer.psnr(images), tokenizer.usage(images), 0.0)
