"""The loop in which every network is trained: steps of an optimiser, taken up where a killed run stopped.

Under `torchrun` each process takes its share of every batch, and the gradients are summed over all: the weights are
those of one process, to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint
from ...errors import TiramisuError
from ...ranks import agreed, num_ranks, process_rank, share, summed
from ..worlds.stored import Pictures

Images = Callable[[str, int | None], tuple[Pictures, Tensor]]
"""(split, count, or None for all) -> pictures (N, C, H, W) in [-1, 1], and whatever is known of them."""


class Source(Protocol):
    """Where a world's pictures come from: a scene draws them, a folder or a file holds them."""

    @property
    def name(self) -> str:
        """The world's, for the notes in the files."""

    def images(self, split: str, count: int | None = None) -> tuple[Pictures, Tensor]:
        """As `Images`."""


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
        minutes: after which training ends, at whatever step; None for no limit.

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
        in_time = 0.0 if self.minutes is None else self.seconds / (60 * self.minutes)
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
        network: whose weights the optimiser moves.
        optimiser: of torch.
        rate: the learning rate, of torch; it goes on by one after each step.
        generator: of everything random but dropout, which reads torch's global state.
        clock: see `Clock`.
        more: name -> what else changes, with `state_dict` and `load_state_dict`.
        gradient_norm: longer gradients are shortened to this; None leaves them as they are.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
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
        progress: bool = True,
    ) -> None:
        """Train to the end; without a limit of time, a killed run ends with the weights of one that was never killed.

        Args:
            name: of the progress bar, which is shown where the output is a terminal; elsewhere a line is printed with
                each checkpoint.
            loss: number of steps done -> the loss of this process's `own_rows` of a batch, a sum over them divided by
                the size of the whole batch; a scalar.
            checkpoint: read at the start, written when it is due and at the end.
            after: called after each step with the number of steps done and the loss.
            progress: whether to show the bar.
        """
        if (state := checkpoint.load()) is not None:
            self._restore(state)
        clock = self.clock
        started = time.perf_counter() - clock.seconds
        hidden = True if not progress or process_rank() > 0 else None
        bar = tqdm(total=clock.steps, initial=clock.step, desc=name, disable=hidden)
        while not clock.finished:
            found = loss(clock.step)
            self.optimiser.zero_grad()
            found.backward()
            found = found.detach()
            summed([found, *(p.grad for p in self.network.parameters() if p.grad is not None)])
            if self.gradient_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_norm)
            self.optimiser.step()
            self.rate.step()
            clock.step += 1
            clock.seconds = time.perf_counter() - started
            if clock.minutes is not None:
                clock.seconds = agreed(lambda: clock.seconds)
            after(clock.step, found)
            if checkpoint.due() or clock.finished:
                checkpoint.save(self._state())
                if bar.disable and hidden is None:
                    left = clock.seconds * max(0.0, 1 / clock.done - 1) / 60
                    print(f"{name}: step {clock.step}, loss {found.item():.4f}, {left:.0f} minutes left", flush=True)
            if not bar.disable:
                bar.set_postfix(loss=f"{found.item():.4f}", refresh=False)
            bar.update()
        bar.close()

    @property
    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimiser": self.optimiser, "rate": self.rate, **self.more}

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
