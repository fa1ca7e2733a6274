"""The recipes of the judges: which digit does a completed picture show, which value has each factor of a scene?

A scene's training pictures have factors that are all independent: hats that do not match shirts, glasses with one
frame. A judge trained on coherent pictures would predict hidden factors from the visible ones and find no rule broken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...checkpoint import Checkpoint
from ..memory import PROGRAM
from ..worlds.factors import violations
from ..worlds.judge import READ, Judge, accuracy
from ..worlds.scene import Scene
from .training import Clock, Job, Source, Training, seeded


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


@dataclass(frozen=True)
class JudgeSettings:
    """A judge and its training.

    Attributes:
        patch, widths, num_features: of the `Judge`.
        epochs: passes over the training pictures, each time changed in other ways.
        images: how many pictures a scene makes; of the others all are taken.
        augment: (images, generator) -> images, for every batch anew.
        bfloat16: run the network in bfloat16 where that is safe (autocast); weights stay float32.
        batch_size: images per step.
        learning_rate: the highest, of AdamW with one warm-up and decay.
        num_test: images of the test split for the report; None for all.
    """

    patch: int
    widths: tuple[int, ...]
    num_features: int
    epochs: int
    images: int = 65_536
    augment: Callable[[Tensor, torch.Generator], Tensor] = augmented
    bfloat16: bool = True
    batch_size: int = 64
    learning_rate: float = 3e-3
    num_test: int | None = None


DIGITS = JudgeSettings(1, (24, 48, 64), 64, 60, augment=augmented_digits, bfloat16=False)
CLOTHES = JudgeSettings(2, (48, 96, 128), 128, 5)
SCENE = JudgeSettings(2, (48, 96, 128), 256, 4, num_test=2048)


def train_judge(job: Job, settings: JudgeSettings) -> dict[str, Any]:
    """Train the judge of a world, and save it.

    Returns: `judge_report` of the judge as saved; it is part of its `facts` too.
    """
    s, source, generator = settings, job.source, job.generator()
    if isinstance(source, Scene):
        images, states = source.sample(s.images, generator=generator, independent=True)
        cardinalities = list(source.model.cardinalities)
    else:
        pictures, labels = source.images("train")
        images, states, cardinalities = pictures[:], labels[:, None], [int(labels.max()) + 1]
    kept = Checkpoint(
        job.checkpoint, {"world": source.name, "seed": job.seed, "images": len(images), "epochs": s.epochs}
    )
    with seeded(job.seed):
        sizes: dict[str, Any] = {"patch": s.patch, "widths": s.widths, "num_features": s.num_features}
        judge = Judge(cardinalities, size=images.shape[-1], channels=images.shape[1], **sizes)
        fit_judge(judge, images, states, s, generator, kept)
    report = judge_report(judge.half().float(), source, s.num_test)
    judge.save(job.path, seed=job.seed, images=len(images), epochs=s.epochs, **report)
    return report


def judge_memory(settings: JudgeSettings, count: int, size: int) -> float:
    """About how many bytes `train_judge` takes besides its pictures: most are activations of `READ` test pictures."""
    return PROGRAM + 4 * 4 * READ * (size // settings.patch) ** 2 * settings.widths[1]


def fit_judge(
    judge: Judge,
    images: Tensor,
    states: Tensor,
    settings: JudgeSettings,
    generator: torch.Generator,
    checkpoint: Checkpoint | None = None,
) -> Judge:
    """Train a judge in place on the sum of its heads' cross-entropies.

    Args:
        images: (N, C, H, W) in [-1, 1].
        states: (N, F) long, the factors of each image.
        settings: see `JudgeSettings`.
        generator: of batches and augmentation; dropout draws from torch's global state.
        checkpoint: to go on from; None trains in one go.

    Returns: the judge, in evaluation mode.
    """
    s, rows = settings, _Shuffled(len(images), settings.batch_size, generator)
    steps = s.epochs * len(rows)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=s.learning_rate, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=s.learning_rate, total_steps=steps)

    def loss(step: int) -> Tensor:
        batch = rows[step]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=s.bfloat16):
            heads = judge(s.augment(images[batch], generator))
        return torch.stack([F.nll_loss(head.float(), states[batch, f]) for f, head in enumerate(heads)]).sum()

    judge.train()
    training = Training(judge, rate, generator, Clock(steps), {"rows": rows})
    training.run("judge", loss, checkpoint or Checkpoint(None, {}))
    return judge.eval()


def judge_report(judge: Judge, source: Source, num_test: int | None = None) -> dict[str, Any]:
    """What a judge is worth on the first `num_test` images of the test split.

    Returns: "accuracy": factor -> share read right, of a world of labels one number; "violations", of a scene: share of
        these coherent images in which it finds a rule broken.
    """
    pictures, states = source.images("test", num_test)
    right = accuracy(judge, pictures[:], states.view(len(states), -1)).tolist()
    if not isinstance(source, Scene):
        return {"accuracy": right[0]}
    broken = (violations(source.model, judge.read(pictures[:])) > 0).double().mean().item()
    return {"accuracy": dict(zip(source.model.names, right)), "violations": broken}
