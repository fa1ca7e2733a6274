"""A world whose models are files: published ones, checked against their list, or those of a folder of one's own."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..circuits.circuit import Circuit
from ..diffusion.denoiser import Denoiser
from ..errors import FileError
from ..files import reading
from ..methods import FITTING
from ..names import WEAK
from ..steering.beyond.difference import WeightTable
from ..world import READERS, TABLES, World, once
from .datafiles import checksums, data_path, digest_of, verified

ATTRIBUTES = {"denoiser_weak": "weak_denoiser", "circuit_independent": "independent_circuit"}
"""Part -> the attribute of a world, where that is called otherwise."""


class FileWorld(World):
    """A world with a file for each model, read when it is first used.

    Args:
        name: as given to `load`; "-weak" at its end selects the weak denoiser.
        device: of the models; the judge stays on the CPU.
    """

    listed = True
    """Whether their SHA-256 are in data/checksums.txt."""
    best_guide = "difference"
    """The guide of `tiramisu-edu inpaint` where none is asked for."""

    @property
    def family(self) -> str:
        """The name without "-weak", which is the name of the folder of its files."""
        return self.name.removesuffix(WEAK)

    @property
    def to_train(self) -> str:
        return self.family

    @once
    def models(self) -> Path:
        """The folder of the models."""
        return data_path(self.family)

    @property
    def tuned_folder(self) -> Path:
        """Where what was tuned and fitted for its models lies."""
        return data_path(self.name) if self.listed else self.models

    @once
    def denoiser(self) -> Denoiser:
        return self.weak_denoiser if self.name != self.family else self.read("denoiser")

    @once
    def weak_denoiser(self) -> Denoiser:
        """The same network after a tenth of the training."""
        return self.read("denoiser_weak")

    @once
    def sampler_options(self) -> Mapping[str, Mapping[str, Any]]:
        return self._tuned("samplers")

    @once
    def guide_options(self) -> Mapping[str, Mapping[str, Any]]:
        return self._tuned("guides")

    def weights(self, of: str) -> WeightTable | None:
        """As of any world.

        Raises:
            FileError: they were fitted for other models than the world has now.
        """
        path = self.tuned_folder / TABLES[of]
        if not path.is_file():
            return None
        table = WeightTable.load(verified(path) if self.listed else path)
        self.check_made_from(path, table.facts.get("made_from", {}), f"{FITTING} {self.to_train} --of {of}")
        return table

    def read(self, part: str) -> Any:
        """The model in the file of a part.

        Raises:
            TiramisuError, FileError: as `file`; a circuit was made with another codebook or tokenizer.
        """
        path, kind = self.file(part), "code_circuit" if part.startswith("codes_") else part.partition("_")[0]
        model = READERS[kind](path).to(self.device)
        if isinstance(model, Circuit):
            kept: Any = model.facts.get("made_from", {})
            self.check_made_from(path, kept, f"tiramisu-edu train {self.to_train} --part {part}")
        return model

    def read_all(self) -> list[str]:
        """Reads every model that is published or made, so that a damaged one shows now; returns their parts."""
        there = [part for part in self.parts if self._published(part) or self._path(part).is_file()]
        for part in there:
            self.read(part) if part.startswith("codes_") else getattr(self, ATTRIBUTES.get(part, part))
        return there

    def file(self, part: str) -> Path:
        """The file of a part, checked.

        Raises:
            TiramisuError: for a part that the world does not have.
            FileError: for a file that is not made yet, or not as published.
        """
        if part not in self.parts:
            super().read(part)
        path = self._path(part)
        if not path.is_file() and not self._published(part):
            raise FileError(f"{path} is not made yet; make it with: tiramisu-edu train {self.to_train} --part {part}")
        return verified(path) if self.listed else path

    def made_from(self, *parts: str) -> dict[str, str]:
        """Part -> SHA-256 of its file as it is now, to be kept with what is made from it; see `check_made_from`."""
        return {part: digest_of(self._path(part)) for part in parts}

    def check_made_from(self, path: Path, kept: Mapping[str, str], command: str) -> None:
        """Whether the parts that a file was made from are still as they were.

        Raises:
            FileError: one is not; it names the command that makes the file again.
        """
        if other := self.changed(kept):
            raise FileError(f"{path} was made with another {other}: make it again with: {command}")

    def changed(self, kept: Mapping[str, str]) -> str:
        """The parts whose files are not as in `made_from`, with commas; empty where all are."""
        paths = {part: self._path(part) for part in kept}
        return ", ".join(p for p, path in paths.items() if not path.is_file() or digest_of(path) != kept[p])

    def _path(self, part: str) -> Path:
        return self.models / f"{part}.safetensors"

    def _published(self, part: str) -> bool:
        return self.listed and f"{self.family}/{part}.safetensors" in checksums()

    def _tuned(self, what: str) -> Mapping[str, Mapping[str, Any]]:
        path = self.tuned_folder / f"{what}.json"
        path = path if path.is_file() else self.models / f"{what}.json"
        is_checked = self.listed and (path.is_file() or f"{self.family}/{what}.json" in checksums())
        found = load_tuned(verified(path) if is_checked else path)
        if stale := [name for name, entry in found.items() if self.changed(entry.made_from)]:
            command = f"tiramisu-edu tune {self.to_train} --{what} {','.join(stale)}"
            warnings.warn(f"{path}: tuned for another denoiser, so not used; tune again with: {command}", stacklevel=3)
        return {name: entry.options for name, entry in found.items() if name not in stale}


class Tuned(NamedTuple):
    """Keyword arguments as tuned, and part -> SHA-256 of the files they were tuned with."""

    options: dict[str, Any]
    made_from: dict[str, str]


def load_tuned(path: str | Path) -> dict[str, Tuned]:
    """Name of a sampler or guide -> what was tuned; empty where there is no file.

    Raises:
        FileError: the file is not what `tiramisu-edu tune` writes.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    with reading(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: Tuned(_flat(dict(e["options"])), dict(e.get("made_from", {}))) for name, e in found.items()}


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments; some files keep a part of them under "settings"."""
    return options | dict(options.pop("settings", {}))
