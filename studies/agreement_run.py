"""What the adapters of `studies.agreement` share: a digit with its network, and a place for the authors' code to run.

`Run` notes what the network is called with. `official` is the place: their modules, our noise, float64.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from torch import Tensor, nn

from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask

STEPS, SHAPE = 12, (1, 8, 8)
TOP = STEPS - 1
UNUSED = ("cv2", "blobfile", "numba", "util.img_utils")


class Run:
    """One digit and its network, called by the authors' code with (x, index); what it was called with is noted."""

    def __init__(self) -> None:
        world = load("digits")
        self.image, self.known = world.images("test")[0][:1].double(), mask("left", 8, 8)[None]
        self.y, self.gaps = self.image * self.known, (~self.known).flatten().nonzero()[:, 0]
        self.denoiser = world.denoiser.double()
        self.schedule = self.denoiser.schedule.respace(STEPS)
        ab = self.schedule.alpha_bar.numpy()
        self.signal, self.spread = np.sqrt(ab), np.sqrt(1 - ab)
        self.betas = 1 - ab / np.append(1.0, ab[:-1])
        self.noise: list[Tensor] = []
        self.seen: list[tuple[Tensor, int]] = []
        self._generator = torch.Generator().manual_seed(0)

    def fresh(self, rows: int = 1) -> Tensor:
        """Noise that our own sampler does not draw."""
        return torch.randn(rows, *SHAPE, generator=self._generator, dtype=torch.float64)

    def draw(self, rows: int = 1) -> Tensor:
        """Noise, the next in the order of our own sampler."""
        self.noise.append(self.fresh(rows))
        return self.noise[-1]

    def predict(self, x: Tensor, index: Any) -> Any:
        """The denoiser's prediction at an index of the respaced schedule."""
        i = int(torch.as_tensor(index).flatten()[0])
        same = self.seen and self.seen[-1][1] == i and torch.equal(self.seen[-1][0], x)
        if not same:  # CoPaint computes an accepted trial again to differentiate it
            self.seen.append((x.detach().clone(), i))
        return self.denoiser(x, int(self.schedule.timesteps[i]))

    def network(self, variance: bool = True) -> nn.Module:
        """As their code takes it: noise, and in further channels the least learned variance."""

        class Network(nn.Module):
            def __init__(self, run: Run) -> None:
                super().__init__()
                self.run, self.weight = run, nn.Parameter(torch.zeros(1), requires_grad=False)

            def forward(self, x: Tensor, t: Tensor, **_: Any) -> Tensor:
                epsilon = self.run.predict(x, t).epsilon
                return torch.cat([epsilon, -torch.ones_like(epsilon)], 1) if variance else epsilon

        return Network(self)


def modules(*names: str) -> list[Any]:
    """The authors' modules of these names, inside `official`."""
    return [importlib.import_module(name) for name in names]


class Settings(dict):
    """A configuration that answers as a dictionary, by attribute and by `pget`; what is not there is None."""

    def __missing__(self, name: str) -> Any:
        return None

    def __getattr__(self, name: str) -> Any:
        return self.get(name)

    def pget(self, name: str, default: Any = None) -> Any:
        return self.get(name, default)


@contextlib.contextmanager
def official(folder: Path, noise: Sequence[Tensor | None] | Callable[..., Tensor]) -> Iterator[None]:
    """Inside, modules are found in a folder, and randn gives these tensors in turn, None being zeros."""
    queue = iter(noise) if isinstance(noise, Sequence) else None

    def randn_like(x: Tensor, **_: Any) -> Tensor:
        if queue is None:
            return noise(x)  # type: ignore[operator]
        given = next(queue)
        return torch.zeros_like(x) if given is None else given.reshape(x.shape).clone()

    def randn(*size: Any, **_: Any) -> Tensor:
        shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        return randn_like(torch.empty(*shape))

    def to(x: Tensor, *where: Any, **more: Any) -> Tensor:
        places: list[Any] = ["cpu" if place == "cuda" else place for place in where]
        return move(x, *places, **more)

    move, before = Tensor.to, set(sys.modules)
    empty = {name: MagicMock(jit=lambda **_: lambda f: f) for name in UNUSED if name.split(".")[0] not in sys.modules}
    changed: list[Any] = [patch.object(torch, "randn", randn), patch.object(torch, "randn_like", randn_like)]
    changed += [patch.object(Tensor, "float", Tensor.double), patch.object(Tensor, "to", to)]
    changed += [patch.object(sys, "path", [str(folder), *sys.path])]
    sys.modules.update(empty)
    with contextlib.ExitStack() as stack:
        for change in changed:
            stack.enter_context(change)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)
            for name in set(sys.modules) - before:  # others stay: some of torch's can be imported only once
                if name in empty or str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                    del sys.modules[name]
