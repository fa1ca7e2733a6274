"""The recipes of the judges: which digit does a completed picture show, which value has each factor of a scene?

A scene's training pictures have factors that are all independent, hats that do not match shirts and glasses with one
frame: a judge that had seen only coherent pictures would fill in what it cannot see, and find every rule kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...checkpoint import Checkpoint
from ..worlds import digits
from ..worlds.clothes import LABELS, SIZE, Clothes
from ..worlds.factors import violations
from ..worlds.judge import Judge, accuracy
from ..worlds.scene import Scene
from .training import Clock, Training

Augment = Callable[[Tensor, torch.Generator], Tensor]


class _Shuffled:
    """The rows of passes over N images in an order drawn anew for each pass."""

    def __init__(self, count: int, batch_size: int, generator: torch.Generator) -> None:
        self.count, self.batch_size, self.generator = count, batch_size, generator
        self.order = torch.arange(count)

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __getitem__(self, step: int) -> Tensor:
        place = step % len(self)
        if place == 0:
            self.order = torch.randperm(self.count, generator=self.generator)
        return self.order.split(self.batch_size)[place]

    def state_dict(self) -> dict[str, Tensor]:
        return {"order": self.order}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.order = state["order"]


def fit_judge(
    judge: Judge,
    images: Tensor,
    states: Tensor,
    augment: Augment,
    generator: torch.Generator,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    bfloat16: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Judge:
    """Train a judge in place: AdamW with one warm-up and decay, the sum of the heads' cross-entropies.

    Args:
        images: (N, C, H, W) in [-1, 1].
        states: (N, F) long, the factors of each image.
        augment: (images, generator) -> images, for every batch anew.
        generator: of batches and augmentation; dropout draws from torch's global state.
        epochs: passes over the images.
        batch_size: images per step.
        learning_rate: the highest.
        bfloat16: run the network in bfloat16 where that is safe (autocast); weights stay float32.
        checkpoint: to go on from; None trains in one go.

    Returns: the judge, in evaluation mode.
    """
    rows = _Shuffled(len(images), batch_size, generator)
    steps = epochs * len(rows)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=learning_rate, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=learning_rate, total_steps=steps)

    def loss(step: int) -> Tensor:
        batch = rows[step]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            heads = judge(augment(images[batch], generator))
        return torch.stack([F.nll_loss(head.float(), states[batch, f]) for f, head in enumerate(heads)]).sum()

    judge.train()
    training = Training(judge, optimiser, rate, generator, Clock(steps), {"rows": rows})
    training.run("judge", loss, checkpoint or Checkpoint(None, {}))
    return judge.eval()


def train_digits_judge(path: str | Path, seed: int = 0, *, epochs: int = 60, checkpoint: Path | None = None) -> float:
    """Train the judge of the digits on the training split, and save it.

    Args:
        path: the safetensors file to write.
        seed: of initial weights, batches, dropout and augmentation.
        epochs: passes over the 1297 images.
        checkpoint: file to go on from where it exists.

    Returns: accuracy on the test split, of the judge as saved.
    """
    images, labels = digits.images("train")
    kept = Checkpoint(checkpoint, {"seed": seed, "epochs": epochs})
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(seed)
        judge = Judge([10], size=8, channels=1, patch=1, widths=(24, 48, 64), num_features=64)
        fit_judge(judge, images, labels[:, None], augmented_digits, generator, epochs=epochs, checkpoint=kept)
    judge.save(path, seed=seed, epochs=epochs)
    images, labels = digits.images("test")
    return accuracy(Judge.load(path), images, labels[:, None]).item()


def augmented_digits(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, 8, 8) shifted by up to a pixel, blurred and made noisy, each image by its own amount; a third stays."""
    count = len(images)
    row, col = torch.randint(3, (2, count, 1), generator=generator)
    rows, cols = row + torch.arange(8), col + torch.arange(8)
    padded = F.pad(images, (1, 1, 1, 1), value=-1.0).squeeze(1)  # (B, 10, 10)
    shifted = padded[torch.arange(count)[:, None, None], rows[:, :, None], cols[:, None, :]].unsqueeze(1)

    # A third stays where and as it was, so that the unshifted picture remains the common case.
    plain = torch.rand(count, 1, 1, 1, generator=generator) < 1 / 3
    softness, noise = torch.rand(2, count, 1, 1, 1, generator=generator) * 0.4
    blurred = F.avg_pool2d(F.pad(shifted, (1, 1, 1, 1), value=-1.0), 3, stride=1)
    mixed = (1 - softness) * shifted + softness * blurred
    changed = mixed + noise * torch.randn(shifted.shape, generator=generator)
    return torch.where(plain, images, changed.clamp(-1.0, 1.0))


def train_clothes_judge(
    clothes: Clothes, path: str | Path, seed: int = 0, *, epochs: int = 5, checkpoint: Path | None = None
) -> float:
    """Train the judge of clothes on its training split, and save it.

    Args:
        clothes: the pictures.
        path: the safetensors file to write.
        seed: of initial weights, batches, dropout and augmentation.
        epochs: passes over the images.
        checkpoint: file to go on from where it exists.

    Returns: accuracy on the test split, of the judge as saved; it is one of its `facts` too.
    """
    images, labels = clothes.images("train")
    kept = Checkpoint(checkpoint, {"images": len(images), "seed": seed, "epochs": epochs})
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(seed)
        judge = Judge([len(LABELS)], size=SIZE, channels=1, patch=2, widths=(48, 96, 128), num_features=128)
        sizes: dict[str, Any] = {"epochs": epochs, "bfloat16": True, "checkpoint": kept}
        fit_judge(judge, images, labels[:, None], augmented, generator, **sizes)
    tested, truth = clothes.images("test")
    found = accuracy(judge.half().float(), tested, truth[:, None]).item()
    judge.save(path, seed=seed, images=len(images), epochs=epochs, accuracy=found)
    return found


def train_scene_judge(
    scene: Scene,
    path: str | Path,
    seed: int = 0,
    *,
    num_images: int = 65_536,
    epochs: int = 4,
    num_test: int = 2048,
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Train the judge of a scene on independent factors, and save it.

    Args:
        scene: the world.
        path: the safetensors file to write.
        seed: of the pictures, initial weights, batches, dropout and augmentation.
        num_images: how many pictures are made.
        epochs: passes over them, each time changed in other ways.
        num_test: images of the test split for the report.
        checkpoint: file to go on from where it exists.

    Returns: `judge_report` of the judge as saved, and the "seconds" of processor time; they are its `facts` too.
    """
    started = time.process_time()
    kept = Checkpoint(checkpoint, {"scene": scene.name, "seed": seed, "images": num_images, "epochs": epochs})
    generator = torch.Generator().manual_seed(seed)
    images, states = scene.sample(num_images, generator=generator, independent=True)
    sizes: dict[str, Any] = {"epochs": epochs, "bfloat16": True, "checkpoint": kept}
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(seed)
        judge = Judge(scene.model.cardinalities, size=32, channels=3, patch=2, widths=(48, 96, 128), num_features=256)
        fit_judge(judge, images, states, augmented, generator, **sizes)
    seconds = round(time.process_time() - started, 1)
    report = judge_report(judge.half().float(), scene, num_test) | {"seconds": seconds}
    judge.save(path, seed=seed, images=num_images, epochs=epochs, **report)
    return report


def judge_report(judge: Judge, scene: Scene, num_test: int = 2048) -> dict[str, Any]:
    """What a judge is worth on the first `num_test` images of the test split, which are coherent.

    Returns: "accuracy": factor -> share read right; "violations": share of these images in which it finds a rule
        broken, although none is.
    """
    images, states = scene.images("test", num_test)
    right = accuracy(judge, images, states).tolist()
    broken = (violations(scene.model, judge.read(images)) > 0).double().mean().item()
    return {"accuracy": dict(zip(scene.model.names, right)), "violations": broken}


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

    # Two corners per picture make a rectangle; by a coin its inside or its outside changes.
    corners = torch.rand(4, count, 1, 1, 1, generator=generator)
    (left, right), (top, bottom) = corners[:2].sort(0).values, corners[2:].sort(0).values
    x, y = torch.arange(width) / width, torch.arange(height)[:, None] / height
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    coin = torch.rand(2, count, 1, 1, 1, generator=generator)
    plain, inverted = coin[0] < 1 / 3, coin[1] < 1 / 2
    return torch.where(~plain & (inside ^ inverted), changed.clamp(-1, 1), images)
