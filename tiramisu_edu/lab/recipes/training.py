"""What all recipes share: the job that they are given, and the loop in which every network is trained.

The loop takes steps of an optimiser and goes on where a killed run stopped. Under `torchrun` each process takes its
share of every batch, and the gradients are summed over all: the weights are those of one process, to rounding.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint
from ...errors import FileError, TiramisuError
from ...ranks import agreed, num_ranks, process_rank, share, summed
from ..worlds.stored import Pictures, pictures_digest


class Source(Protocol):
    """Where a world's pictures come from: a scene draws them, a folder or a file holds them."""

    @property
    def name(self) -> str:
        """The world's, for the notes in the files."""

    def images(self, split: str, count: int | None = None) -> tuple[Pictures, Tensor]:
        """The first `count` pictures (N, C, H, W) in [-1, 1] of a split, all if None, and what is known of them."""


@dataclass(frozen=True)
class Job:
    """One file to make.

    Args:
        source: whose pictures.
        path: the file, written atomically.
        seed: of everything random.
        device: where to train, such as "cuda".
        checkpoint: file to go on from where it exists; None: in one go.
        command: that makes another part of the same world, without the part's name.
    """

    source: Source
    path: Path
    seed: int = 0
    device: str = "cpu"
    checkpoint: Path | None = None
    command: str = "tiramisu-edu train WORLD --part"

    def generator(self) -> torch.Generator:
        """A fresh one of the seed."""
        return torch.Generator().manual_seed(self.seed)

    def kept(self, settings: Any, images: Pictures) -> Checkpoint:
        """The checkpoint of a run with these settings, a dataclass, on these pictures."""
        request = {"world": self.source.name, "seed": self.seed, "settings": asdict(settings)}
        return Checkpoint(self.checkpoint, request | {"images": pictures_digest(images)})

    def beside(self, part: str) -> Path:
        """The file of another part of the same world."""
        return self.path.with_name(f"{part}.safetensors")

    def made(self, part: str) -> Path:
        """The file of another part, which was made before.

        Raises:
            FileError: it was not.
        """
        if not (found := self.beside(part)).is_file():
            raise FileError(f"{found} is not made yet; make it with: {self.command} {part}")
        return found


def checkpoint_of(path: Path) -> Path:
    """Where an unfinished run keeps its state, beside the file it will write."""
    return path.with_name(f".{path.stem}.checkpoint")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator, of which layers draw weights and dropout its zeros: here of a seed, then as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def adamw(network: nn.Module, rate: Callable[[int], float], weight_decay: float = 0.01) -> LRScheduler:
    """AdamW whose learning rate is a function of the number of steps done."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=weight_decay)
    return torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def own_rows(count: int) -> Tensor:
    """The numbers of those rows of a batch that this process takes.

    Raises:
        TiramisuError: there are more processes than rows.
    """
    if count < num_ranks():
        raise TiramisuError(f"a batch of {count} cannot be shared by {num_ranks()} processes: start fewer")
    return share(torch.arange(count))


@dataclass
class Clock:
    """How far a training is.

    Args:
        steps: optimiser steps at most.
        minutes: after which training ends, at whatever step, the first at least; None for no limit.

    Attributes:
        step: optimiser steps done.
        seconds: time spent, killed runs included.
    """

    steps: int
    minutes: float | None = None
    step: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> float:
        """Share of the training that is done, in steps or in minutes, whichever is more."""
        in_time = 0.0 if self.minutes is None else self.seconds / max(60 * self.minutes, 1e-9)
        return max(self.step / self.steps, in_time)

    @property
    def finished(self) -> bool:
        return self.done >= 1

    def at(self, step: int) -> int:
        """The step to which a schedule of all steps has come; later than `step` where minutes are what is short."""
        return step if self.minutes is None else max(step, round(self.done * self.steps))


@dataclass
class Training:
    """What changes while a network is trained.

    Args:
        network: whose weights are moved.
        rate: the learning rate of an optimiser, of torch; it goes on by one after each step.
        generator: of everything random but dropout, which reads torch's global state.
        clock: see `Clock`.
        more: name -> what else changes, with `state_dict` and `load_state_dict`.
        gradient_norm: longer gradients are shortened to this; None leaves them as they are.
    """

    network: nn.Module
    rate: LRScheduler
    generator: torch.Generator
    clock: Clock
    more: Mapping[str, Any] = field(default_factory=dict)
    gradient_norm: float | None = None

    def run(
        self,
        name: str,
        loss: Callable[[int], Tensor],
        checkpoint: Checkpoint,
        *,
        after: Callable[[int, Tensor], object] = lambda step, loss: None,
    ) -> None:
        """Train to the end; without a limit of time, a killed run ends with the weights of one that was never killed.

        Args:
            name: of the progress bar, which is shown where the output is a terminal; elsewhere a line is printed with
                each checkpoint that is written.
            loss: number of steps done -> the loss of this process's `own_rows` of a batch, a sum over them divided by
                the size of the whole batch; a scalar.
            checkpoint: read at the start, written when it is due and at the end.
            after: called after each step with the number of steps done and the loss.
        """
        if (state := checkpoint.load()) is not None:
            self._restore(state)
        clock, optimiser = self.clock, self.rate.optimizer
        started = time.perf_counter() - clock.seconds
        first = process_rank() == 0
        bar = tqdm(total=clock.steps, initial=clock.step, desc=name, disable=None if first else True)
        while not clock.finished:
            found = loss(clock.step)
            optimiser.zero_grad()
            found.backward()
            found = found.detach()
            summed([found, *(p.grad for p in self.network.parameters() if p.grad is not None)])
            if self.gradient_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_norm)
            optimiser.step()
            self.rate.step()
            clock.step += 1
            clock.seconds = time.perf_counter() - started
            if clock.minutes is not None:
                clock.seconds = agreed(lambda: clock.seconds)
            after(clock.step, found)
            if checkpoint.due() or clock.finished:
                checkpoint.save(self._state())
                if bar.disable and first and checkpoint.path is not None:
                    left = clock.seconds * max(0.0, 1 / clock.done - 1) / 60
                    print(f"{name}: step {clock.step}, loss {found.item():.4f}, {left:.1f} minutes left", flush=True)
            if not bar.disable:
                bar.set_postfix(loss=f"{found.item():.4f}", refresh=False)
            bar.update()
        bar.close()

    @property
    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimiser": self.rate.optimizer, "rate": self.rate, **self.more}

    def _state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        random = {"generator": self.generator.get_state(), "dropout": torch.get_rng_state()}
        return {**parts, **random, "step": self.clock.step, "seconds": self.clock.seconds}

    def _restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        self.clock.step, self.clock.seconds = state["step"], state["seconds"]
