"""Training a denoiser, and measuring how far off its clean predictions are.

The loss is the mean squared error of whatever the network predicts at a random time of the schedule. What is
kept is a moving average of the weights, as it was when it did best on held-out images: a small data set is
soon learnt by heart. A killed run goes on from its last checkpoint and ends with the same weights as a run
that was never killed.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from tqdm.auto import tqdm

from ...diffusion.denoiser import Denoiser, PredictionType
from ...diffusion.schedule import Schedule
from ...errors import ImageError
from ...files import tensor_digest
from .network_checkpoint import Run

VARIANCE_FLOOR = (0.5 / 127.5) ** 2  # half a grey level of 256: no prediction is trusted more than this


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
        prediction_type: what the network learns to say; see `Denoiser`.
        patch: side of the blocks of pixels that the network sees as one place; see `Denoiser`.
        bfloat16: run the network in bfloat16 where that is safe (autocast); weights stay float32.
        seed: of everything random in training.
        validate_every: steps between two looks at the held-out loss.
        checkpoint_every: steps between two checkpoints.
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
    checkpoint_every: int = 500


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
    images: Tensor,
    schedule: Schedule,
    settings: TrainingSettings,
    *,
    validation: Tensor | None = None,
    checkpoint: str | Path | None = None,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
    report: Callable[[dict[str, Any], Denoiser], None] | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Train a network to denoise, on the device where its weights are.

        x_t = sqrt(ᾱ_t) x_0 + sqrt(1 - ᾱ_t) ε,   loss = mean (network(x_t, t) - target)²

    Args:
        network: (x_t, t) -> output. Training starts from its weights and changes them in place.
        images: (M, C, H, W) float in [-1, 1].
        schedule: the full N-step schedule.
        settings: see `TrainingSettings`.
        validation: (M', C, H, W) held-out images, always judged at the same times with the same noise.
        checkpoint: file to go on from where it exists, rewritten every `checkpoint_every` steps.
        augment: (batch, generator) -> batch, for training images only.
        callback: called after each step with the number of steps done and the loss.
        report: called at each look with its row of the history and the average as it is then.
        progress: show a progress bar where the output is a terminal.

    Raises:
        ImageError: images of the wrong shape or range.
        FileError: the checkpoint is damaged, or belongs to a run with other settings or images.

    Source: Ho et al., "Denoising Diffusion Probabilistic Models", algorithm 1; the target v is that of
    Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", section 4.
    """
    device = next(network.parameters()).device
    images = _checked(images).to(device)
    held_out = None if validation is None else _held_out(_checked(validation).to(device), schedule)
    run = _new_run(Denoiser(network, schedule, settings.prediction_type, patch=settings.patch), settings)
    identity = {"settings": dataclasses.asdict(settings), "images": tensor_digest({"images": images})}
    if checkpoint is not None and Path(checkpoint).is_file():
        run.restore(Path(checkpoint), identity)

    started = time.perf_counter() - run.seconds
    bar = tqdm(total=settings.steps, initial=run.step, desc="denoiser", disable=None if progress else True)
    with bar, torch.random.fork_rng([device] if device.type == "cuda" else []):
        while run.step < settings.steps:
            loss = _train_step(run, images, settings, augment)
            last = run.step == settings.steps
            looked = last or run.step % settings.validate_every == 0
            if looked:
                bar.set_postfix(_look(run, held_out))
            run.seconds = time.perf_counter() - started
            if checkpoint is not None and (last or run.step % settings.checkpoint_every == 0):
                run.save(Path(checkpoint), identity)
            bar.update()
            if callback is not None:
                callback(run.step, loss)
            if looked and report is not None:
                report(run.history[-1], _with_network(run, run.average))
    return _result(run, settings)


@torch.no_grad()
def calibrate_residual_variance(
    denoiser: Denoiser,
    images: Tensor,
    generator: torch.Generator,
    *,
    points: int = 48,
    repeats: int = 4,
    batch_size: int = 256,
) -> Tensor:
    """How far off the clean prediction is: r_t² = mean over images and pixels of (x_0 - f(x_t, t))².

    Taken at `points` times and interpolated in between, log r² linear in the log signal-to-noise ratio. It
    stands for Var[x_0 | x_t] of a pixel, and keeps the width of the denoiser's distribution honest: use
    images that the network has not seen. Never below (0.5 / 127.5)², half a grey level.

    Args:
        denoiser: the model to measure.
        images: (M, C, H, W) clean images in [-1, 1].
        generator: of the noise.
        points: times to measure, evenly spread, both ends included.
        repeats: noise draws per image and time.
        batch_size: images per network call.

    Returns:
        (N,) float64 on the CPU, for `Schedule.with_residual_variance`.
    """
    schedule = denoiser.schedule
    times = (torch.arange(points) * (len(schedule) - 1) / max(points - 1, 1)).round().long().unique()
    device = next(denoiser.parameters(), images).device
    copies = _checked(images).to(device).repeat(repeats, 1, 1, 1)
    measured = []
    for i in times.tolist():
        total = 0.0
        for x_0 in copies.split(batch_size):
            noise = torch.randn(x_0.shape, generator=generator, device=generator.device).to(x_0)
            prediction = denoiser(schedule.add_noise(x_0, i, noise), i)
            total += float((x_0 - prediction.x_0).double().square().sum())
        measured.append(max(total / copies.numel(), VARIANCE_FLOOR))
    log_variance = torch.tensor(measured, dtype=torch.float64).log()
    return _interpolate(-schedule.log_snr, -schedule.log_snr[times], log_variance).exp()


def _interpolate(x: Tensor, known_x: Tensor, known_y: Tensor) -> Tensor:
    """Piecewise linear through (known_x, known_y), known_x rising; constant outside."""
    right = torch.searchsorted(known_x, x).clamp(1, max(len(known_x) - 1, 1))
    if len(known_x) == 1:
        return known_y.expand(len(x)).clone()
    share = ((x - known_x[right - 1]) / (known_x[right] - known_x[right - 1])).clamp(0, 1)
    return torch.lerp(known_y[right - 1], known_y[right], share)


def _new_run(student: Denoiser, settings: TrainingSettings) -> Run:
    network = student.network
    device = next(network.parameters()).device
    average, best = (copy.deepcopy(network).eval().requires_grad_(False) for _ in range(2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    generator = torch.Generator(device).manual_seed(settings.seed)
    return Run(student, average, best, optimizer, generator, torch.zeros((), device=device))


def _train_step(
    run: Run,
    images: Tensor,
    settings: TrainingSettings,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None,
) -> Tensor:
    """One step of AdamW and of the average; returns the loss, a scalar."""
    student, generator, device = run.student, run.generator, images.device
    rows = torch.randint(len(images), (settings.batch_size,), generator=generator, device=device)
    x_0 = images[rows] if augment is None else augment(images[rows], generator)
    i = torch.randint(len(student.schedule), (len(x_0),), generator=generator, device=device)
    noise = torch.randn(x_0.shape, generator=generator, device=device, dtype=x_0.dtype)

    # Dropout reads torch's global state. Seeded by the step, it needs no place in a checkpoint.
    torch.manual_seed((settings.seed << 32) + run.step)
    student.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
        output = student.output(student.schedule.add_noise(x_0, i, noise), i)
    loss = mse_loss(output.float(), student.target(x_0, noise, i).float())

    run.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(student.parameters(), settings.gradient_norm)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(settings, run.step)
    run.optimizer.step()
    _update_average(run, min(settings.average_decay, (1 + run.step) / (10 + run.step)))
    run.loss_sum += loss.detach()
    run.step += 1
    return loss.detach()


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Rising linearly over the warm-up, then level, then half a cosine down to 0 at the last step."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    falls_from = max(settings.warmup, settings.steps - round(settings.decay * settings.steps))
    progress = max(0, step - falls_from) / max(settings.steps - falls_from, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def _update_average(run: Run, decay: float) -> None:
    student, average = run.student.network.state_dict(), run.average.state_dict()
    for name, value in average.items():
        if value.is_floating_point():
            value.lerp_(student[name], 1 - decay)
        else:
            value.copy_(student[name])


def _look(run: Run, held_out: list[tuple[Tensor, Tensor, Tensor]] | None) -> dict[str, Any]:
    """Add a row to the history and keep the average if it is the best so far; returns the row."""
    since = run.step - (run.history[-1]["step"] if run.history else 0)
    validation = None if held_out is None else _held_out_loss(_with_network(run, run.average), held_out)
    row = {"step": run.step, "loss": float(run.loss_sum) / since, "validation": validation}
    run.history.append(row)
    run.loss_sum.zero_()
    if validation is None or validation < run.best_loss:
        run.best.load_state_dict(run.average.state_dict())
        run.best_step, run.best_loss = run.step, math.inf if validation is None else validation
    return row


def _held_out(images: Tensor, schedule: Schedule, evaluations: int = 1024) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches of (x_0, noise, i): each image at several times that together cover the schedule evenly."""
    copies = images.repeat(math.ceil(evaluations / len(images)), 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    spread = torch.randperm(len(copies), generator=generator) * len(schedule) // len(copies)
    noise = torch.randn(copies.shape, generator=generator, dtype=copies.dtype)
    i, noise = spread.to(images.device), noise.to(images.device)
    return list(zip(copies.split(256), noise.split(256), i.split(256)))


@torch.no_grad()
def _held_out_loss(denoiser: Denoiser, batches: list[tuple[Tensor, Tensor, Tensor]]) -> float:
    total, count = 0.0, 0
    for x_0, noise, i in batches:
        output = denoiser.output(denoiser.schedule.add_noise(x_0, i, noise), i)
        total += float((output - denoiser.target(x_0, noise, i)).square().sum())
        count += x_0.numel()
    return total / count


def _result(run: Run, settings: TrainingSettings) -> TrainingResult:
    facts = {
        "settings": dataclasses.asdict(settings),
        "best_step": run.best_step,
        "validation_loss": run.best_loss if math.isfinite(run.best_loss) else None,
    }
    denoiser = _with_network(run, run.best)
    denoiser.facts = facts
    return TrainingResult(denoiser.eval().requires_grad_(False), run.history, run.best_step, run.seconds)


def _with_network(run: Run, network: nn.Module) -> Denoiser:
    """The run's denoiser with other weights."""
    student = run.student
    return Denoiser(network, student.schedule, student.prediction_type, patch=student.patch)


def _checked(images: Tensor) -> Tensor:
    if images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        raise ImageError(f"expected float images (M, C, H, W), got {images.dtype} {tuple(images.shape)}")
    low, high = float(images.min()), float(images.max())
    if not (low >= -1 and high <= 1):
        raise ImageError(f"expected images in [-1, 1], got values from {low:g} to {high:g}")
    return images
