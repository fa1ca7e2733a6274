"""A world: an image distribution and the models trained on it, each read from its file at first use."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import torch
from torch import Tensor

from .checks import instance
from .circuits.circuit import Circuit
from .datafiles import checksums, data_path, digest_of, verified
from .diffusion.calibration import FEW, calibrated, drawn
from .diffusion.denoiser import Denoiser
from .diffusion.schedule import Schedule
from .errors import FileError, TiramisuError, unknown_name
from .names import WEAK
from .steering.codebooks import load_codebook
from .steering.evidence import Codebook, PixelCodebook
from .steering.patches import PatchCodebook
from .tokenizer import Tokenizer
from .tuned import load_tuned

_RENAMED = {"denoiser_weak": "weak_denoiser", "circuit_independent": "independent_circuit"}  # part -> attribute

_Value = TypeVar("_Value")
_MAKING = RLock()


class once(cached_property[_Value]):
    """A cached property made by one thread, of ordinary tensors also inside `torch.inference_mode()`."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> _Value:  # type: ignore[override]
        with _MAKING, torch.inference_mode(False):
            return super().__get__(instance, owner)


class World:
    """An image distribution and the models trained on it, each read from its file at first use.

    Args:
        name: as given to `load`; "-weak" at its end selects the weak denoiser.
        device: of the models; the judge stays on the CPU.
    """

    parts: tuple[str, ...] = ()
    """The files that the world is made of, as `tiramisu-edu train` names them."""
    scene: Any = None
    """The factors behind the pictures and the rules between them; None where they are not known."""
    judge: Any = None
    """Images -> log-probabilities of the factors, trained apart from all other models; None without labels."""
    listed = True
    """Whether their SHA-256 are in data/checksums.txt."""
    best_guide = "difference"
    """The guide of `tiramisu-edu inpaint` where none is asked for."""

    def __init__(self, name: str, device: str | torch.device = "cpu") -> None:
        self.name, self.device = name, torch.device(device)

    @property
    def family(self) -> str:
        """The name without "-weak", which is the name of the folder of its files."""
        return self.name.removesuffix(WEAK)

    @property
    def label(self) -> str:
        """The name in titles and in the names of files."""
        return self.name

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
        """p_DM: (x_t, t) -> clean prediction and noise."""
        return self.weak_denoiser if self.name != self.family else self._denoiser("denoiser")

    @once
    def weak_denoiser(self) -> Denoiser:
        """The same network after a tenth of the training."""
        return self._denoiser("denoiser_weak")

    @property
    def schedule(self) -> Schedule:
        """The denoiser's full schedule; respace it for fewer steps."""
        return self.denoiser.schedule

    @once
    def circuit(self) -> Circuit:
        """p_PC over the categories of the pixels or patches."""
        return self._circuit("circuit")

    @once
    def independent_circuit(self) -> Circuit:
        """The control: the same categories, all independent."""
        return self._circuit("circuit_independent")

    @once
    def codebook(self) -> PixelCodebook | PatchCodebook:
        """Pixels -> log weights for the circuit, and its marginals -> pixel means."""
        return load_codebook(self.file("codebook")).to(self.device)

    @once
    def tokenizer(self) -> Tokenizer | None:
        """Images -> grid of codes and back; None for a world without."""
        return Tokenizer.load(self.file("tokenizer")).to(self.device) if "tokenizer" in self.parts else None

    @once
    def code_circuits(self) -> Mapping[str, Circuit]:
        """Structure -> p_PC over the codes of the tokenizer; empty for a world without."""
        return {part.removeprefix("codes_"): self._circuit(part) for part in self.parts if part.startswith("codes_")}

    @once
    def sampler_options(self) -> Mapping[str, Mapping[str, Any]]:
        """Sampler name -> its keyword arguments as tuned for this world on validation images."""
        return self._tuned("samplers")

    @once
    def guide_options(self) -> Mapping[str, Mapping[str, Any]]:
        """Guide name -> its keyword arguments as tuned for this world on validation images."""
        return self._tuned("guides")

    def calibrate(self) -> None:
        """Measure Var[x_0 | x_t] where the denoiser came without; see `diffusion.calibration`."""
        if self.denoiser.schedule.residual_variance is None:
            self.denoiser.schedule = calibrated(self.denoiser, self.images("validation", FEW)[0].to(self.device))

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, all if None, and what is on them.

        Args:
            split: "train", "validation" or "test".

        Returns: images (N, C, H, W) in [-1, 1]; states (N, F) long, a value of each factor, for digits labels (N,).
        """
        raise NotImplementedError

    def to(self, device: str | torch.device) -> World:
        """This world with its models on a device; the same object where they are there already."""
        return self if torch.device(device) == self.device else type(self)(self.name, device)

    def read_all(self) -> list[str]:
        """Reads every model that is published or made, so that a damaged one shows now; returns their parts."""
        there = [part for part in self.parts if self._published(part) or self._path(part).is_file()]
        for part in there:
            self._circuit(part) if part.startswith("codes_") else getattr(self, _RENAMED.get(part, part))
        return there

    def file(self, part: str) -> Path:
        """The file of a part, checked.

        Raises:
            TiramisuError: for a part that the world does not have.
            FileError: for a file that is not made yet, or not as published.
        """
        if part not in self.parts:
            raise TiramisuError(f"world {self.name!r} has no {part}; it has {', '.join(self.parts)}")
        path = self._path(part)
        if not path.is_file() and not self._published(part):
            raise FileError(f"{path} is not made yet; make it with: tiramisu-edu train {self.to_train} --part {part}")
        return verified(path) if self.listed else path

    @property
    def to_train(self) -> str:
        """The arguments of `tiramisu-edu train` for this world."""
        return self.family

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

    def _denoiser(self, part: str) -> Denoiser:
        return Denoiser.load(self.file(part)).to(self.device)

    def _circuit(self, part: str) -> Circuit:
        path = self.file(part)
        circuit = Circuit.load(path).to(self.device)
        kept: Any = circuit.facts.get("made_from", {})
        self.check_made_from(path, kept, f"tiramisu-edu train {self.to_train} --part {part}")
        return circuit


class PartsWorld(World):
    """A world of models at hand, without files; nothing is tuned or fitted for them.

    Args:
        denoiser: p_DM.
        circuit, codebook: p_PC over pixels or patches, and what turns pixels into its evidence.
        tokenizer, code_circuit: pictures to codes, and p_PC over these.
        pictures: (N, C, H, W) in [-1, 1], held out, on which the denoiser is calibrated where a guide needs that; a
            few that it draws itself if None.

    Raises:
        TiramisuError: a part of another kind. One that is missing is named when it is asked for.
    """

    listed = False

    def __init__(self, device: str | torch.device = "cpu", **parts: Any) -> None:
        super().__init__("of your parts", device)
        given = checked_parts(parts)
        self.parts = tuple(given)
        self.given = {name: part.to(self.device) if hasattr(part, "to") else part for name, part in given.items()}
        self.__dict__ |= {"tokenizer": None, "code_circuits": {}} | attributes(self.given)

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        pictures = self.given.get("pictures")
        if pictures is None:
            pictures = drawn(self.denoiser, count or FEW)
        return pictures[:count], torch.zeros(len(pictures[:count]), 0, dtype=torch.long)

    def to(self, device: str | torch.device) -> PartsWorld:
        return self if torch.device(device) == self.device else PartsWorld(device, **self.given)


MODELS: dict[str, type] = {"denoiser": Denoiser, "circuit": Circuit, "codebook": Codebook, "tokenizer": Tokenizer}
KINDS = MODELS | {"code_circuit": Circuit, "pictures": Tensor}


def checked_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are given, each of its kind."""
    given = {name: part for name, part in parts.items() if part is not None}
    for name, part in given.items():
        if name not in KINDS:
            raise unknown_name("part", name, KINDS)
        instance(name, part, KINDS[name])
    return given


def attributes(parts: Mapping[str, Any]) -> dict[str, Any]:
    """What a world has with these parts: nothing is tuned for them."""
    codes = {"code_circuits": {"own": parts["code_circuit"]}} if "code_circuit" in parts else {}
    return {"sampler_options": {}, "guide_options": {}, **parts, **codes}


def parts_of(world: World | None, parts: Mapping[str, Any]) -> World:
    """A world itself; one of parts; or a world with some of its models replaced by parts.

    Raises:
        TiramisuError: neither a world nor a denoiser, or a part of another kind.
    """
    given = checked_parts(parts)
    if world is None and given:
        if "denoiser" not in given:
            raise TiramisuError("give a world from load(...), or denoiser=... with the parts that its guide needs")
        return PartsWorld(**given)
    instance("world", world, World)
    assert world is not None  # checked just now
    if not given:
        return world
    changed = copy.copy(world)  # its other models are still read when they are asked for
    changed.__dict__ |= {"models": world.models} | attributes(given) | {"name": f"{world.name} with your parts"}
    return changed
