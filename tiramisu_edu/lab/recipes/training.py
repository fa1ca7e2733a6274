"""The loop in which every network is trained: steps of an optimiser, taken up where a killed run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint

Images = Callable[[str, int | None], tuple[Tensor, Tensor]]
"""(split, count, or None for all) -> pictures (N, C, H, W) in [-1, 1], and whatever is known of them."""


class Pictures(Protocol):
    """A world's pictures, as a scene draws them or a file holds them."""

    @property
    def name(self) -> str:
        """The world's, for the notes in the files."""

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """As `Images`."""


@dataclass
class Training:
    """What changes while a network is trained.

    Args:
        network: whose weights the optimiser moves.
        optimiser: of torch.
        rate: the learning rate, of torch; it goes on by one after each step.
        generator: of everything random but dropout, which reads torch's global state.
        more: name -> what else changes, with `state_dict` and `load_state_dict`.
        gradient_norm: longer gradients are shortened to this; None leaves them as they are.

    Attributes:
        step: optimiser steps done.
        seconds: time spent, killed runs included.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    more: Mapping[str, Any] = field(default_factory=dict)
    gradient_norm: float | None = None
    step: int = 0
    seconds: float = 0.0

    def run(
        self,
        name: str,
        steps: int,
        loss: Callable[[int], Tensor],
        checkpoint: Checkpoint,
        *,
        after: Callable[[int, Tensor], object] = lambda step, loss: None,
        progress: bool = True,
    ) -> None:
        """Train up to `steps`; a killed run ends with the same weights as one that was never killed.

        Args:
            name: of the progress bar, which is shown where the output is a terminal.
            steps: optimiser steps.
            loss: number of steps done -> the loss of a batch, a scalar.
            checkpoint: read at the start, written when it is due and at the end.
            after: called after each step with the number of steps done and the loss.
            progress: whether to show the bar.
        """
        if (state := checkpoint.load()) is not None:
            self._restore(state)
        started = time.perf_counter() - self.seconds
        bar = tqdm(total=steps, initial=self.step, desc=name, disable=None if progress else True)
        while self.step < steps:
            found = loss(self.step)
            self.optimiser.zero_grad()
            found.backward()
            if self.gradient_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_norm)
            self.optimiser.step()
            self.rate.step()
            self.step += 1
            after(self.step, found.detach())
            self.seconds = time.perf_counter() - started
            if checkpoint.due() or self.step == steps:
                checkpoint.save(self._state())
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
        return {**parts, **random, "step": self.step, "seconds": self.seconds}

    def _restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        self.step, self.seconds = state["step"], state["seconds"]
