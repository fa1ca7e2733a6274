"""The state of a long run in one file, so that a killed run goes on as if nothing had happened.

    checkpoint = Checkpoint(path, {"epochs": 30, "images": tensor_digest({"images": images})})
    if (state := checkpoint.load()) is not None:
        network.load_state_dict(state["network"])
        ...
    while not finished:
        ...
        if checkpoint.due():
            checkpoint.save({"network": network.state_dict(), "step": step, "generator": generator.get_state()})

A state is made of dictionaries, lists, tensors, strings, numbers (NaN and infinities too), booleans and None, so
`state_dict()` of a network or an optimiser can be saved as it is.
"""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .errors import FileError
from .files import loaded, save_safetensors
from .ranks import agreed, process_rank

KIND, VERSION = "checkpoint", 1


class Checkpoint:
    """A file that holds the state of one run, written at most every `every` seconds.

    Args:
        path: the file; None for a run without checkpoints, which is never due and whose state is not saved.
        request: JSON values that identify the run: settings, seed, digests of its data. A file is loaded only for the
            same request.
    """

    every = 30.0  # seconds

    def __init__(self, path: str | Path | None, request: Mapping[str, Any]):
        self.path = None if path is None else Path(path)
        self.request = json.loads(json.dumps(request))  # as it is after a round trip through the file
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state last saved, its tensors on the CPU; None where there is no file.

        Of several processes under `torchrun` the first one reads, and tells the others.

        Raises:
            FileError: the file is damaged, or belongs to a run with another request.
        """
        return agreed(self._read)

    def _read(self) -> dict[str, Any] | None:
        if self.path is None or not self.path.is_file():
            return None
        with loaded(self.path, kind=KIND, version=VERSION) as (tensors, metadata):
            found = metadata["request"]
            keys = sorted(found.keys() | self.request.keys())
            if different := [key for key in keys if found.get(key) != self.request.get(key)]:
                names = ", ".join(different)
                raise FileError(
                    f"{self.path} is the checkpoint of another run (different: {names}): remove or rename it"
                )
            return dict(_joined(metadata["state"], tensors))

    def due(self) -> bool:
        """Whether `every` seconds have passed since the last save, or since the start."""
        return self.path is not None and time.monotonic() - self._saved_at >= self.every

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state, atomically. Of several processes under `torchrun` only the first writes."""
        if self.path is None or process_rank() > 0:
            return
        tensors: dict[str, Tensor] = {}
        metadata = {"request": self.request, "state": _split(state, tensors)}
        save_safetensors(self.path, tensors, kind=KIND, version=VERSION, metadata=metadata)
        self._saved_at = time.monotonic()

    def results(self, jobs: Sequence[Callable[[], Any]], generator: torch.Generator, name: str) -> list[Any]:
        """What each of the jobs gives, in turn; a resumed run does only those that are left.

        Args:
            jobs: each gives something that a state can hold, and may draw from `generator`.
            generator: goes on as after the last job done.
            name: of the progress bar, which is shown where the output is a terminal.
        """
        state = self.load() or {"results": [], "generator": generator.get_state()}
        results: list[Any] = state["results"]
        generator.set_state(state["generator"])
        for job in tqdm(jobs[len(results) :], desc=name, disable=None, delay=10):  # a bar for what takes longer
            results.append(job())
            if self.due() or len(results) == len(jobs):
                self.save({"results": results, "generator": generator.get_state()})
        return results

    def stage(self, name: str) -> Path | None:
        """A path for the checkpoint of one stage of the run; `remove` deletes it too."""
        return None if self.path is None else self.path.with_name(f"{self.path.name}.{name}")

    def remove(self) -> None:
        """Delete the file and those of its stages, if there are any: the result of the run is safe elsewhere."""
        if self.path is not None and process_rank() == 0:
            for path in self.path.parent.glob(f"{glob.escape(self.path.name)}*"):
                path.unlink(missing_ok=True)


def _split(state: Any, tensors: dict[str, Tensor]) -> Any:
    """The state as JSON: tensors go to `tensors`, by number; dictionaries become pairs, so keys keep their type."""
    if isinstance(state, Tensor):
        tensors[str(len(tensors))] = state
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(state, Mapping):
        return {"pairs": [[key, _split(value, tensors)] for key, value in state.items()]}
    if isinstance(state, (list, tuple)):
        return [_split(value, tensors) for value in state]
    return state


def _joined(state: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_split`; tuples come back as lists."""
    if isinstance(state, list):
        return [_joined(value, tensors) for value in state]
    if not isinstance(state, dict):
        return state
    return tensors[state["tensor"]] if "tensor" in state else {k: _joined(v, tensors) for k, v in state["pairs"]}
