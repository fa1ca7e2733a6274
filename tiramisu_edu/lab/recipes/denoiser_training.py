"""Training a denoiser, and measuring how far off its clean predictions are.

The loss is the mean squared error of whatever the network predicts at a random time of the schedule. What is kept is a
moving average of the weights, as it was when it did best on held-out images: on a small data set later weights overfit.
A killed run goes on from its last checkpoint and ends with the same weights as a run that was never killed.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ...checkpoint import Checkpoint
from ...checks import check_images
from ...diffusion.denoiser import Denoiser, PredictionType
from ...diffusion.schedule import Schedule, signal_and_noise
from ...errors import TiramisuError
from ...ranks import num_ranks, process_rank, summed
from ..worlds.stored import Pictures, pictures_digest
from .training import Clock, Training, adamw, own_rows


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: images per step, drawn with replacement.
        learning_rate: highest rate of AdamW, reached after `warmup` steps; at the end half a cosine down to 0.
        weight_decay: of AdamW.
        warmup: steps.
        decay: share of the steps, the last ones, over which the rate falls; 1: from the warm-up on.
        gradient_norm: longer gradients are shortened to this.
        average_decay: decay of the moving average of the weights; smaller during the first steps.
        prediction_type: what the network learns to predict; see `Denoiser`.
        patch: side of the blocks of pixels that the network sees as one place; see `Denoiser`.
        bfloat16: run the network in bfloat16 where that is safe (autocast); weights stay float32.
        seed: of everything random in training.
        validate_every: steps between two looks at the held-out loss.
        minutes: after which training ends, the rate having fallen in time; None for no limit.
    """

    steps: int = 10_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 200
    decay: float = 1.0
    gradient_norm: float = 1.0
    average_decay: float = 0.999
    prediction_type: PredictionType = "v_prediction"
    patch: int = 1
    bfloat16: bool = False
    seed: int = 0
    validate_every: int = 250
    minutes: float | None = None


class TrainingResult(NamedTuple):
    """What training gives back.

    Attributes:
        denoiser: the best average of the weights; the last one where there are no held-out images.
        history: one row per look: "step", "loss" (mean training loss since the row before), "validation"
            (held-out loss of the average, None without held-out images).
        best_step: the step after which the weights were kept.
        seconds: time spent, killed runs included.
    """

    denoiser: Denoiser
    history: list[dict[str, Any]]
    best_step: int
    seconds: float


def train_denoiser(
    network: nn.Module,
    images: Pictures,
    schedule: Schedule,
    settings: TrainingSettings,
    *,
    validation: Tensor | None = None,
    checkpoint: str | Path | None = None,
    report: Callable[[dict[str, Any], Denoiser], None] | None = None,
) -> TrainingResult:
    """Train a network to denoise, on the device where its weights are.

        x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon,   loss = mean (network(x_t, t) - target)^2

    Args:
        network: (x_t, t) -> output. Training starts from its weights and changes them in place.
        images: (M, C, H, W) float in [-1, 1].
        schedule: the full N-step schedule.
        settings: see `TrainingSettings`.
        validation: (M', C, H, W) held-out images, always judged at the same times with the same noise.
        checkpoint: file to go on from where it exists, rewritten while training runs.
        report: called at each look with its row of the history and the average as it is then.

    Raises:
        ImageError: images of the wrong shape or range.
        FileError: the checkpoint is damaged, or belongs to a run with other settings, images or network.
        TiramisuError: the loss was never finite.
    Source: Ho et al., "Denoising Diffusion Probabilistic Models", algorithm 1; the target v is that of
    Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", section 4.
    """
    s, device = settings, next(network.parameters()).device
    for name, pictures in (("images", images), ("validation", validation)):
        if isinstance(pictures, Tensor):
            check_images(name, pictures, limit=1)
    held_out = None if validation is None else _held_out(validation.to(device), schedule)
    student, average = (Denoiser(n, schedule, s.prediction_type, patch=s.patch) for n in (network, _frozen(network)))
    looks = _Looks(average, held_out)
    clock = Clock(s.steps, s.minutes)
    rate = adamw(network, lambda step: learning_rate(s, clock.at(step)), s.weight_decay)
    generator = torch.Generator(device).manual_seed(s.seed)
    training = Training(network, rate, generator, clock, {"looks": looks}, s.gradient_norm)

    def after(step: int, value: Tensor) -> None:
        looks.follow(network, min(s.average_decay, step / (9 + step)), value)
        if step % s.validate_every == 0 or clock.finished:
            row = looks.look(step)
            if report is not None and process_rank() == 0:
                report(row, average)

    shapes = [list(weight.shape) for weight in network.parameters()]
    request = {"settings": asdict(s), "images": pictures_digest(images), "network": shapes}
    loss = _loss(student, images, s, generator)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        training.run("denoiser", loss, Checkpoint(checkpoint, request), after=after)
    if looks.best_step == 0:
        raise TiramisuError(f"the loss was never finite in {clock.step} steps: choose a lower learning rate")
    average.network.load_state_dict(looks.best.state_dict())
    best_loss = None if validation is None else looks.best_loss
    average.facts = {"settings": asdict(s), "best_step": looks.best_step, "validation_loss": best_loss}
    return TrainingResult(average.eval(), looks.history, looks.best_step, clock.seconds)


def _loss(
    student: Denoiser, images: Pictures, settings: TrainingSettings, generator: torch.Generator
) -> Callable[[int], Tensor]:
    """Number of steps done -> the loss of this process's rows of a fresh batch at random times."""
    s, schedule, device, own = settings, student.schedule, generator.device, own_rows(settings.batch_size)
    dtype = images.dtype if isinstance(images, Tensor) else torch.float32

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(images), (s.batch_size,), generator=generator, device=device)
        i = torch.randint(len(schedule), (s.batch_size,), generator=generator, device=device)[own]
        noise = torch.randn((s.batch_size, *images.shape[1:]), generator=generator, device=device, dtype=dtype)[own]
        x_0 = images[rows[own].cpu()].to(device)
        torch.manual_seed((s.seed << 32) + step)  # of dropout, which reads torch's global state
        student.network.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=s.bfloat16):
            output = student.output(schedule.add_noise(x_0, i, noise), i)
        return mse_loss(output.float(), target(student, x_0, noise, i).float()) * (len(own) / s.batch_size)

    return loss


class _Looks:
    """The moving average of the weights, its looks at held-out images, and a copy of it at its best.

    Args:
        average: the denoiser with the average as its network.
        held_out: batches (x_0, noise, i); None where there are no held-out images.
    """

    def __init__(self, average: Denoiser, held_out: list[tuple[Tensor, Tensor, Tensor]] | None) -> None:
        self.average, self.held_out = average, held_out
        self.best, self.best_step, self.best_loss = copy.deepcopy(average.network), 0, math.inf
        self.history: list[dict[str, Any]] = []
        self.loss_sum = torch.zeros((), device=next(average.parameters()).device)  # since the last look

    @torch.no_grad()
    def follow(self, network: nn.Module, decay: float, loss: Tensor) -> None:
        """average <- decay average + (1 - decay) network."""
        for mine, theirs in zip(self.average.parameters(), network.parameters()):
            mine.lerp_(theirs, 1 - decay)
        self.loss_sum += loss

    def look(self, step: int) -> dict[str, Any]:
        """Add a row to the history, and keep the average if it is the best so far; returns the row."""
        since = step - (self.history[-1]["step"] if self.history else 0)
        validation = None if self.held_out is None else _held_out_loss(self.average, self.held_out)
        self.history.append({"step": step, "loss": float(self.loss_sum) / since, "validation": validation})
        self.loss_sum.zero_()
        if not math.isfinite(value := self.history[-1]["loss"] if validation is None else validation):
            warnings.warn(f"the weights after {step} steps are not kept: their loss is {value}", stacklevel=4)
        elif validation is None or validation < self.best_loss:
            self.best.load_state_dict(self.average.network.state_dict())
            self.best_step, self.best_loss = step, math.inf if validation is None else validation
        return self.history[-1]

    def state_dict(self) -> dict[str, Any]:
        networks = {"average": self.average.network.state_dict(), "best": self.best.state_dict()}
        return networks | {name: getattr(self, name) for name in ("loss_sum", "history", "best_step", "best_loss")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.network.load_state_dict(state["average"])
        self.best.load_state_dict(state["best"])
        self.loss_sum.copy_(state["loss_sum"])
        self.history, self.best_step, self.best_loss = state["history"], state["best_step"], state["best_loss"]


def _frozen(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False)


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Rising linearly over the warm-up, then level, then half a cosine down to 0 at the last step."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    falls_from = max(settings.warmup, settings.steps - round(settings.decay * settings.steps))
    progress = max(0, step - falls_from) / max(settings.steps - falls_from, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _held_out(images: Tensor, schedule: Schedule) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches of (x_0, noise, i), 1024 rows or more: each image at times that together cover the schedule evenly."""
    copies = images.repeat(math.ceil(1024 / len(images)), 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    spread = torch.randperm(len(copies), generator=generator) * len(schedule) // len(copies)
    noise = torch.randn(copies.shape, generator=generator, dtype=copies.dtype)
    return list(zip(*(part.to(images.device).split(256) for part in (copies, noise, spread))))


@torch.no_grad()
def _held_out_loss(denoiser: Denoiser, batches: list[tuple[Tensor, Tensor, Tensor]]) -> float:
    total = torch.zeros((), dtype=torch.float64)
    for x_0, noise, i in batches[process_rank() :: num_ranks()]:
        output = denoiser.output(denoiser.schedule.add_noise(x_0, i, noise), i)
        total += float((output - target(denoiser, x_0, noise, i)).square().sum())
    return float(summed([total])[0]) / sum(x_0.numel() for x_0, _, _ in batches)


def target(denoiser: Denoiser, x_0: Tensor, noise: Tensor, i: int | Tensor) -> Tensor:
    """What a perfect network outputs for x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise, (B, C, H, W)."""
    signal, spread = signal_and_noise(denoiser.schedule.alpha_bar, i, x_0)
    return {"epsilon": noise, "v_prediction": signal * noise - spread * x_0, "sample": x_0}[denoiser.prediction_type]
