"""The trained models that come with the package: found, checked against their SHA-256, loaded by name.

    world = load("faces")
    world.denoiser, world.schedule, world.circuit, world.codebook, world.judge, world.images("test")

A model is read when it is first asked for, so a world costs nothing until then.

The files lie in data/ at the root of a checkout, in tiramisu_edu/data in an installed wheel, or where the
environment variable TIRAMISU_DATA points. data/checksums.txt (the format of sha256sum) lists every one of
them, and no file is opened before it agrees with its line. `python -m tiramisu_edu.zoo` writes the list anew.
"""

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.files import atomic_path, sha256

if TYPE_CHECKING:
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.diffusion.denoiser import Denoiser
    from tiramisu_edu.diffusion.schedule import Schedule
    from tiramisu_edu.steering.evidence import PixelCodebook
    from tiramisu_edu.steering.patches import PatchCodebook
    from tiramisu_edu.tokenizer import Tokenizer
    from tiramisu_edu.worlds.judge import Judge
    from tiramisu_edu.worlds.scene import Scene

CHECKSUMS = "checksums.txt"
FOLDER = "folder:"  # load("folder:PATH"): pictures of your own
WEAK = "-weak"  # load("faces-weak"): faces, with the denoiser that was trained for a tenth as long


class World:
    """An image distribution and the models trained on it, each read from its file when it is first asked for.

    Args:
        name: as given to `load`; with "-weak" at the end, the weak denoiser takes the place of the good one.
        device: where the models are; the judge stays on the CPU, where pictures are looked at.
    """

    parts: tuple[str, ...] = ()
    """The files that the world is made of, as `tiramisu-edu train` names them."""
    listed = True
    """Whether their SHA-256 are in data/checksums.txt."""

    def __init__(self, name: str, device: str | torch.device = "cpu") -> None:
        self.name, self.device = name, torch.device(device)

    @property
    def family(self) -> str:
        """The name without "-weak": whose files are read."""
        return self.name.removesuffix(WEAK)

    @property
    def scene(self) -> "Scene | None":
        """The factors behind the pictures and the rules between them; None where they are not known."""
        return None

    @cached_property
    def denoiser(self) -> "Denoiser":
        """p_DM: (x_t, t) -> clean prediction and noise."""
        return self.weak_denoiser if self.name != self.family else self._denoiser("denoiser")

    @cached_property
    def weak_denoiser(self) -> "Denoiser":
        """The same network after a tenth of the training."""
        return self._denoiser("denoiser_weak")

    @property
    def schedule(self) -> "Schedule":
        """The denoiser's full schedule; respace it for fewer steps."""
        return self.denoiser.schedule

    @cached_property
    def circuit(self) -> "Circuit":
        """p_PC over the categories of the pixels or patches."""
        return self._circuit("circuit")

    @cached_property
    def independent_circuit(self) -> "Circuit":
        """The control: the same categories, all independent."""
        return self._circuit("circuit_independent")

    @cached_property
    def codebook(self) -> "PixelCodebook | PatchCodebook":
        """Pixels -> log weights for the circuit, and its marginals -> pixel means."""
        from tiramisu_edu.steering.patches import PatchCodebook

        return PatchCodebook.load(self.file("codebook")).to(self.device)

    @cached_property
    def tokenizer(self) -> "Tokenizer | None":
        """Images -> grid of codes and back; None for a world without."""
        from tiramisu_edu.tokenizer import Tokenizer

        return Tokenizer.load(self.file("tokenizer")).to(self.device) if "tokenizer" in self.parts else None

    @cached_property
    def code_circuits(self) -> "Mapping[str, Circuit]":
        """Structure -> p_PC over the codes of the tokenizer; empty for a world without."""
        return {part.removeprefix("codes_"): self._circuit(part) for part in self.parts if part.startswith("codes_")}

    @cached_property
    def judge(self) -> "Judge":
        """Images -> log-probabilities of the factors; trained apart from the models it judges."""
        from tiramisu_edu.worlds.judge import Judge

        return Judge.load(self.file("judge"))

    @cached_property
    def sampler_options(self) -> Mapping[str, Mapping[str, Any]]:
        """Sampler name -> its keyword arguments as tuned for this world on validation images."""
        from tiramisu_edu.evaluation.tuning import load_tuned

        return load_tuned(data_path(f"{self.family}/samplers.json"))

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, all if None, and what is on them.

        Args:
            split: "train", "validation" or "test".

        Returns: images (N, C, H, W) in [-1, 1], states (N, F) long, the value of each of the F factors; for digits
            the labels (N,).
        """
        raise NotImplementedError

    def to(self, device: str | torch.device) -> "World":
        """This world with its models on a device; the same object where they are there already."""
        return self if torch.device(device) == self.device else type(self)(self.name, device)

    def read_all(self) -> list[str]:
        """Reads every model that is published or made, so that a damaged one shows now; returns their parts."""
        there = [part for part in self.parts if self._published(part) or self._path(part).is_file()]
        for part in there:
            if part.startswith("codes_"):
                self._circuit(part)
            elif part in _ATTRIBUTES:
                getattr(self, _ATTRIBUTES[part])
        return there

    def file(self, part: str) -> Path:
        """The file of a part, checked.

        Raises: TiramisuError for a part that the world does not have; FileError for a file that is not made yet, or
            not as published.
        """
        if part not in self.parts:
            raise TiramisuError(f"world {self.name!r} has no {part}; it has {', '.join(self.parts)}")
        path = self._path(part)
        if not path.is_file() and not self._published(part):
            raise FileError(f"{path} is not made yet; make it with: tiramisu-edu train {self.to_train} --part {part}")
        return verified(path) if self.listed else path

    @property
    def to_train(self) -> str:
        """The arguments by which `tiramisu-edu train` knows the world."""
        return self.family

    def _path(self, part: str) -> Path:
        return data_path(f"{self.family}/{part}.safetensors")

    def _published(self, part: str) -> bool:
        return self.listed and f"{self.family}/{part}.safetensors" in checksums()

    def _denoiser(self, part: str) -> "Denoiser":
        from tiramisu_edu.diffusion.denoiser import Denoiser

        return Denoiser.load(self.file(part)).to(self.device)

    def _circuit(self, part: str) -> "Circuit":
        from tiramisu_edu.circuits.circuit import Circuit

        return Circuit.load(self.file(part)).to(self.device)


_ATTRIBUTES = {
    "denoiser": "denoiser",
    "denoiser_weak": "weak_denoiser",
    "circuit": "circuit",
    "circuit_independent": "independent_circuit",
    "codebook": "codebook",
    "tokenizer": "tokenizer",
    "judge": "judge",
}


class DigitsWorld(World):
    """The 1797 real digits; the circuit is over their pixels."""

    parts = ("images", "circuit", "denoiser", "judge")

    @cached_property
    def codebook(self) -> "PixelCodebook":
        from tiramisu_edu.steering.evidence import PixelCodebook
        from tiramisu_edu.worlds.digits import NUM_LEVELS

        return PixelCodebook.grey_levels(NUM_LEVELS)

    @cached_property
    def independent_circuit(self) -> "Circuit":
        from tiramisu_edu.worlds.digits_circuit import independent_pixels

        return independent_pixels().to(self.device)

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        from tiramisu_edu.worlds import digits

        images, states = digits.images(split)
        return images[:count], states[:count]


class SceneWorld(World):
    """A procedural world: as many fresh images as wanted, with the factors behind them."""

    parts = (
        "denoiser",
        "denoiser_weak",
        "codebook",
        "circuit",
        "circuit_independent",
        "tokenizer",
        "codes_hclt",
        "codes_quad_tree",
        "judge",
    )

    @property
    def scene(self) -> "Scene":
        from tiramisu_edu.worlds.scenes import SCENES

        return SCENES[self.family]

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        if count is not None or split == "train":
            return self.scene.images(split, count)
        if split not in self._drawn:  # a second to draw, and evaluations ask again for every cell
            self._drawn[split] = self.scene.images(split)
        return self._drawn[split]

    @cached_property
    def _drawn(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {}


WORLDS: dict[str, Callable[[str], World]] = {"digits": DigitsWorld, "faces": SceneWorld, "rooms": SceneWorld}


def load(world_name: str, *, size: int | None = None, models: str | Path | None = None) -> World:
    """A world by name; nothing is read yet, and each model's SHA-256 is checked when it is.

    Args:
        world_name: digits, faces, rooms; faces-weak and rooms-weak have a denoiser trained for a tenth as long;
            "folder:PATH" is a folder of pictures of your own, see `tiramisu_edu.worlds.folder`.
        size: of a folder's pictures in pixels, 64 if None.
        models: where a folder's models are; beside the folder if None.

    Raises: TiramisuError for an unknown name; ImageError for a folder without pictures.
    """
    if world_name.startswith(FOLDER):
        from tiramisu_edu.worlds.folder import FolderWorld

        return FolderWorld(world_name, size=size, models=models)
    if size is not None or models is not None:
        raise TiramisuError(f"size and models are for folders, such as {FOLDER}PATH, not for {world_name!r}")
    kind = WORLDS.get(world_name.removesuffix(WEAK))
    if kind is None or (world_name.endswith(WEAK) and kind is not SceneWorld):
        raise TiramisuError(f"unknown world {world_name!r}; choose one of {', '.join(WORLDS)}, {FOLDER}PATH")
    return kind(world_name)


def data_path(name: str) -> Path:
    """Where the data file `name`, such as "digits/judge.safetensors", is or would be."""
    return data_root() / name


def data_root() -> Path:
    """The data folder: TIRAMISU_DATA, else the wheel's tiramisu_edu/data, else data/ of the checkout."""
    if override := os.environ.get("TIRAMISU_DATA"):
        return Path(override)
    package = Path(__file__).resolve().parent
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"


def verified(path: str | Path) -> Path:
    """The path itself, once the file's SHA-256 agrees with data/checksums.txt.

    Raises: FileError naming the file, the expected and the found digest, and the command that repairs it.
    """
    path, root = Path(path), data_root()
    try:
        name = path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise FileError(f"{path} lies outside the data folder {root}, so it has no known SHA-256") from None
    expected = checksums().get(name)
    if not path.is_file():
        raise FileError(f"{path} is missing, expected SHA-256 {expected or 'not listed'}; {_repair(name)}")
    if expected is None:
        raise FileError(
            f"{path} is not listed in {root / CHECKSUMS}, found SHA-256 {sha256(path)}; "
            "list a file of your own making with: python -m tiramisu_edu.zoo"
        )
    if (found := sha256(path)) != expected:
        raise FileError(
            f"{path} is not the published file: SHA-256 expected {expected}, found {found}; {_repair(name)}"
        )
    return path


def checksums() -> dict[str, str]:
    """File name relative to the data folder -> SHA-256 as 64 hexadecimal digits, from data/checksums.txt.

    Raises: FileError for a list that is missing or has a line of another form.
    """
    path = data_path(CHECKSUMS)
    if not path.is_file():
        raise FileError(f"{path} is missing; {_repair(CHECKSUMS)}")
    listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, separator, name = line.partition("  ")
        if len(digest) != 64 or not separator or not name:
            raise FileError(f"{path}, line {number}: expected 'SHA-256  file', found {line!r}; {_repair(CHECKSUMS)}")
        listed[name] = digest
    return listed


def write_checksums() -> Path:
    """Writes data/checksums.txt for every .safetensors file below the data folder; returns its path."""
    root = data_root()
    lines = [f"{sha256(file)}  {file.relative_to(root).as_posix()}\n" for file in sorted(root.rglob("*.safetensors"))]
    with atomic_path(root / CHECKSUMS) as unfinished:
        unfinished.write_text("".join(lines), encoding="utf-8", newline="\n")
    return root / CHECKSUMS


def _repair(name: str) -> str:
    """The command that brings the published file back."""
    if override := os.environ.get("TIRAMISU_DATA"):
        return f"put the published file into {override}, or unset TIRAMISU_DATA to use the package's own"
    if data_root().parent.name == "tiramisu_edu" and (data_root().parent / "zoo.py").is_file():
        return "repair it with: python -m pip install --force-reinstall --no-deps tiramisu-edu"
    return f"repair it with: git checkout -- data/{name}"


if __name__ == "__main__":
    print(write_checksums())
