"""The worlds by name: `load("faces")`.

    world = load("faces")
    world.denoiser, world.schedule, world.circuit, world.codebook, world.judge, world.images("test")

A model is read at its first use and checked against its SHA-256; until then a world costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import instance, positive_integer
from ..circuits.circuit import Circuit
from ..errors import TiramisuError, unknown_name
from ..names import FOLDER, WEAK
from ..steering.evidence import PixelCodebook
from ..world import once
from .common import chosen_device
from .file_world import FileWorld
from .recipes.pixel_circuit import independent_pixels
from .worlds import digits
from .worlds.clothes import Clothes
from .worlds.faces import FACES
from .worlds.folder import PARTS, FolderWorld
from .worlds.judge import Judge
from .worlds.rooms import ROOMS
from .worlds.scene import Scene

SCENES = {"faces": FACES, "rooms": ROOMS}


class JudgedWorld(FileWorld):
    """A world with labels."""

    @once
    def judge(self) -> Judge:
        """Images -> log-probabilities of their labels or factors; trained apart from the models it judges."""
        return Judge.load(self.file("judge"))


class DigitsWorld(JudgedWorld):
    """The 1797 real digits; the circuit is over their pixels."""

    parts = ("images", "circuit", "denoiser", "judge")

    @once
    def codebook(self) -> PixelCodebook:
        return PixelCodebook.grey_levels(digits.NUM_LEVELS)

    @once
    def independent_circuit(self) -> Circuit:
        return independent_pixels().to(self.device)

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        return digits.images(split, count)


class SceneWorld(JudgedWorld):
    """A procedural world: as many fresh images as wanted, with the factors behind them."""

    parts = (*PARTS, "judge")

    @property
    def scene(self) -> Scene:
        return SCENES[self.family]

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        if count is not None or split == "train":
            return self.scene.images(split, count)
        if split not in self._drawn:  # a second to draw, and every cell of an evaluation needs it
            self._drawn[split] = self.scene.images(split)
        return self._drawn[split]

    @once
    def _drawn(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {}


class ClothesWorld(JudgedWorld):
    """Photographs of clothing; the circuit is over their patches."""

    parts = ("images", "denoiser", "codebook", "circuit", "circuit_independent", "tokenizer", "codes_hclt", "judge")

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        return Clothes().images(split, count)


WORLDS: dict[str, Callable[[str], FileWorld]] = {
    "digits": DigitsWorld,
    "clothes": ClothesWorld,
    "faces": SceneWorld,
    "rooms": SceneWorld,
}


def load(world_name: str, *, size: int | None = None, models: str | Path | None = None) -> FileWorld:
    """A world by name; nothing is read yet, and each model's SHA-256 is checked when it is.

    Args:
        world_name: digits, clothes, faces, rooms; faces-weak and rooms-weak have a denoiser trained for a tenth as
            long; "folder:PATH" is a folder of pictures of your own, see `tiramisu_edu.lab.worlds.folder`.
        size: of a folder's pictures in pixels, 64 if None.
        models: where a folder's models are; beside the folder if None.

    Raises:
        TiramisuError: for an unknown name.
        ImageError: for a folder without pictures.
    """
    instance("world_name", world_name, str)
    if size is not None:
        positive_integer("size", size)
    if world_name.startswith(FOLDER):
        return FolderWorld(world_name, size=size, models=models)
    if size is not None or models is not None:
        raise TiramisuError(f"size and models are for folders, such as {FOLDER}PATH, not for {world_name!r}")
    kind = WORLDS.get(world_name.removesuffix(WEAK))
    if kind is None or (world_name.endswith(WEAK) and kind is not SceneWorld):
        weak = [name + WEAK for name, found in WORLDS.items() if found is SceneWorld]
        raise unknown_name("world", world_name, [*WORLDS, *weak, f"{FOLDER}PATH"])
    return kind(world_name)


def worlds_of(options: Any, names: Sequence[str]) -> dict[str, FileWorld]:
    """The worlds that a command names, by name; its size and models are of the folders among them.

    Raises:
        TiramisuError: as `load`; a size or models where no name is a folder's.
    """
    own = {"size": options.size, "models": options.models}
    of_folders = any(name.startswith(FOLDER) for name in names)
    return {name: load(name, **(own if name.startswith(FOLDER) or not of_folders else {})) for name in names}


def world_of(options: Any) -> FileWorld:
    """The world of a command about one, on the device of the options; see `worlds_of`."""
    return worlds_of(options, [options.world])[options.world].to(chosen_device(options.device))
