"""The state of a training run, and the file that lets a killed run go on as if nothing had happened."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...diffusion.denoiser import Denoiser
from ...errors import FileError
from ...files import load_safetensors, save_safetensors

KIND, VERSION = "denoiser checkpoint", 1


@dataclass
class Run:
    """Everything that changes while a denoiser is trained.

    Attributes:
        student: the denoiser whose network the optimiser moves.
        average: moving average of that network.
        best: copy of `average` at the best held-out loss.
        optimizer: AdamW and its moments.
        generator: the source of batches, times and noise.
        loss_sum: () sum of the training losses since the last row of the history.
        step: optimiser steps done.
        best_step: steps done when `best` was copied.
        best_loss: its held-out loss.
        seconds: time spent so far, over all restarts.
        history: one row per look at the held-out images.
    """

    student: Denoiser
    average: nn.Module
    best: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    loss_sum: Tensor
    step: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write the run to a file, atomically; `identity` says what run this is."""
        tensors = {"generator": self.generator.get_state(), "loss_sum": self.loss_sum}
        for part, network in self._networks().items():
            tensors |= {f"{part}.{name}": value for name, value in network.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        metadata = {"identity": identity, "numbers": numbers}
        save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=metadata)

    def restore(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Take over the state of a file that `save` wrote.

        Raises:
            FileError: the file is damaged, or belongs to a run with another identity.
        """
        tensors, metadata = load_safetensors(path, kind=KIND, version=VERSION)
        found = metadata["identity"]
        if found != identity:
            differing = ", ".join(key for key in identity if found.get(key) != identity[key])
            raise FileError(f"{path} is the checkpoint of another run ({differing} differ): remove it or rename it")
        try:
            for part, network in self._networks().items():
                network.load_state_dict(_under(f"{part}.", tensors))
            self.optimizer.load_state_dict(self._optimizer_state(_under("optimizer.", tensors)))
        except (RuntimeError, ValueError) as error:
            raise FileError(f"{path} is the checkpoint of another network: remove it or rename it") from error
        self.generator.set_state(tensors["generator"])
        self.loss_sum.copy_(tensors["loss_sum"])
        for name, value in metadata["numbers"].items():
            setattr(self, name, value)

    def _networks(self) -> dict[str, nn.Module]:
        return {"student": self.student.network, "average": self.average, "best": self.best}

    def _optimizer_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            number, name = key.split(".")
            state.setdefault(int(number), {})[name] = value
        return self.optimizer.state_dict() | {"state": state}


_NUMBERS = ("step", "best_step", "best_loss", "seconds", "history")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
