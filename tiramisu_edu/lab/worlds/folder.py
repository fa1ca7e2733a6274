"""A folder of photographs as a world: `load("folder:PATH", size=64)`.

Every picture below the folder, however deep, is cut to the middle square and resized; the camera's rotation is
applied, transparency is laid on white, grey becomes colour. Links to folders are followed. How the data sets of the
paper are laid out:

    CelebA-HQ   one folder of 00000.jpg ... 29999.jpg: name it as it is
    LSUN        lsun/bedroom_train/a/b/c/*.webp, as `data.py export` of the LSUN tools writes it: name bedroom_train
    ImageNet    val/n01440764/*.JPEG, a folder per class (ILSVRC). The paper uses classes 0 to 99 of the validation
                set: the first hundred folders in the order of their names, linked into a folder of their own:
                    mkdir imagenet-100 && ls val | head -100 | xargs -I{} ln -s "$PWD/val/{}" imagenet-100/

Splits are drawn by a hash of each file's path below the folder: 90 % train, 5 % validation, 5 % test. They do not
depend on the machine, on other files or on the order of a listing. Pieces of one photograph go to one split together.
They are found by their names: what precedes a word for a piece, or two underscores, is the photograph.

    harbour_crop3.png   harbour-tile-2-0.png   harbour__7.png   walk_frame0012.jpg   harbour_crops/3.png

Folders that are called train and test (and validation or val) are taken as these splits.
"""

import hashlib
import math
import os
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checks import positive_integer
from ...circuits.circuit import Circuit
from ...errors import FileError, ImageError, known_name
from ...names import FOLDER
from ...tokenizer import Tokenizer
from ...world import once
from ..file_world import FileWorld
from ..pictures import load_image
from .stored import Stored

KINDS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = {"train": 0.9, "validation": 0.95, "test": 1.0}  # where each one's share of the hashes ends
NAMED = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
PIECE = re.compile(r"(?i)(__|[ _.-](crop|tile|patch|piece|frame|view|copy)s?(?![a-z])).*")
AT_ONCE = 256  # files handed to the threads together
PARTS = (  # of a world of pictures
    *("denoiser", "denoiser_weak", "codebook", "circuit", "circuit_independent"),
    *("tokenizer", "codes_hclt", "codes_quad_tree"),
)


class PictureFolder:
    """The pictures below a folder, in three splits.

    Args:
        folder: where they are.
        size: S, height and width of the pictures that come out.

    Attributes:
        skipped: file -> why it could not be read; grows as files are read.
        models: the folder of the models made of them.

    Raises:
        ImageError: there is no such folder, or no picture in it.
    """

    def __init__(self, folder: str | Path, size: int) -> None:
        self.folder, self.size, self.name = Path(folder), size, f"{FOLDER}{folder}"
        self.skipped: dict[Path, str] = {}
        self.models = self.folder.with_name(f"{self.folder.name}-models-{size}")
        self._stored: dict[str, tuple[int, Stored]] = {}  # split -> how many were wanted, and what could be read
        if not self.folder.is_dir():
            raise ImageError(f"{self.folder}: there is no such folder; check the path")
        if not any(self.files.values()):
            raise ImageError(f"{self.folder}: no pictures in it or below it ({', '.join(KINDS)})")

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """Split -> its files in the order of their hashes, so that any first part is a fair sample."""
        below = [file.relative_to(self.folder) for file in _pictures(self.folder)]
        named = {"train", "test"} <= {path.parts[0].lower() for path in below}
        found: dict[str, list[Path]] = {split: [] for split in SPLITS}
        for path in sorted(below, key=_hash):
            split = NAMED.get(path.parts[0].lower()) if named else None
            found[split or _split(photograph(path))].append(self.folder / path)
        return found

    def images(self, split: str, count: int | None = None) -> tuple[Stored, Tensor]:
        """The first `count` pictures of a split; all where None, or where there are fewer.

        Files that cannot be read are left out, with one warning that counts them. Files are read once.

        Returns: images (N, 3, S, S) in [-1, 1]; states (N, 0) long, for what is on them is not known.
        Raises:
            TiramisuError: for an unknown split.
            ImageError: where no picture of it can be read.
        """
        known_name("split", split, SPLITS)
        count = None if count is None else positive_integer("count", count)
        files, known = self.files[split], len(self.skipped)
        wanted = len(files) if count is None else min(count, len(files))
        if self._stored.get(split, (-1,))[0] < wanted:
            self._stored[split] = wanted, Stored.write(islice(self._read(files), wanted), wanted, self.models)
        loaded = self._stored[split][1]
        if new := len(self.skipped) - known:
            example = next(reversed(self.skipped.values()))
            warnings.warn(f"{self.folder}: {new} of {len(files)} files left out, such as {example}", stacklevel=2)
        if not loaded:
            more = "" if files else f": add pictures, or sort them into folders {', '.join(SPLITS)}"
            raise ImageError(f"{self.folder}: no readable picture in its {split} split of {len(files)} files{more}")
        return Stored(loaded.levels[:count]), torch.zeros(len(loaded), 0, dtype=torch.long)[:count]

    def __str__(self) -> str:
        counts = [f"{len(files)} {split}" for split, files in self.files.items()]
        photographs = {photograph(file.relative_to(self.folder)) for files in self.files.values() for file in files}
        return f"{', '.join(counts)} pictures of {len(photographs)} photographs, {self.size} x {self.size}"

    def _read(self, files: Sequence[Path]) -> Iterator[Tensor]:
        """Those pictures that can be read, (1, 3, S, S) each, in order."""
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(files), AT_ONCE):
                part = files[start : start + AT_ONCE]
                for file, outcome in zip(part, pool.map(self._picture, part)):
                    if isinstance(outcome, Tensor):
                        yield outcome
                    else:
                        self.skipped[file] = outcome

    def _picture(self, file: Path) -> Tensor | str:
        """The picture, or why there is none."""
        try:
            return load_image(file, (self.size, self.size), 3, crop=True).image
        except ImageError as reason:
            return str(reason)


class FolderWorld(FileWorld):
    """The world of a folder: its pictures, and the denoisers and patch circuits trained on them, which lie beside it.

    Args:
        name: "folder:PATH".
        device: where the models are.
        size: of the pictures in pixels, 64 if None.
        models: the folder of the models; PATH-models-SIZE if None.
    """

    parts = PARTS
    listed = False

    def __init__(
        self,
        name: str,
        device: str | torch.device = "cpu",
        *,
        size: int | None = None,
        models: str | Path | None = None,
    ) -> None:
        super().__init__(name, device)
        self.pictures = PictureFolder(Path(name.removeprefix(FOLDER)).absolute(), size or 64)
        self.models = Path(models or self.pictures.models).absolute()

    @property
    def family(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        return f"{self.pictures.folder.name}-{self.pictures.size}"

    @property
    def to_train(self) -> str:
        own = [] if self.models == self.pictures.models else ["--models", str(self.models)]
        return shlex.join([self.name, "--size", str(self.pictures.size), *own])

    def read(self, part: str) -> Any:
        """As of any world.

        Raises:
            FileError: it was made for pictures of another size.
        """
        model = super().read(part)
        shape = model.shape if part == "codebook" or part.startswith("denoiser") else None
        if shape is not None and shape[2] != self.pictures.size:
            raise FileError(
                f"{self._path(part)} is for pictures of {shape[2]} x {shape[2]}: say --size {shape[2]}, "
                f"or make it again with: tiramisu-edu train {self.to_train} --part {part}"
            )
        return model

    @once
    def circuit(self) -> Circuit:
        """As of any world, with a warning where it did not pass the gate of its recipe."""
        circuit = self.read("circuit")
        lost = {rival: losses(self.gate, rival) for rival in self.gate}
        if worse := [f"the {rival} under {number}" for rival, number in lost.items() if number]:
            warnings.warn(
                f"{self.label}: given the known pixels, the circuit's mean is worse than {', '.join(worse)} of "
                f"{len(self.gate['circuit'])} masks, so it may steer wrong: train it on more pictures, or say "
                f"--guide {'' if self.best_guide == 'difference' else 'difference-field or '}none",
                stacklevel=3,
            )
        return circuit

    @once
    def gate(self) -> Mapping[str, Mapping[str, float]]:
        """Method -> mask -> error on held-out pictures, as the circuit's recipe found; empty where there is none."""
        path = self._path("circuit")
        found: Any = Circuit.load(path).facts.get("gate", {}) if path.is_file() else {}
        return found

    @property
    def best_guide(self) -> str:  # type: ignore[override]  # it depends on the files
        """On the stationary Gaussian where it restores held-out pictures better than the circuit."""
        errors = {name: sum(own.values()) for name, own in self.gate.items()}
        field = errors.get("stationary Gaussian", math.inf)
        return "difference-field" if field < errors.get("circuit", math.inf) else "difference"

    @once
    def tokenizer(self) -> Tokenizer | None:
        return self.read("tokenizer") if self._path("tokenizer").is_file() else None

    @once
    def code_circuits(self) -> Mapping[str, Circuit]:
        made = [part for part in self.parts if part.startswith("codes_") and self._path(part).is_file()]
        return {part.removeprefix("codes_"): self.read(part) for part in made}

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        images, states = self.pictures.images(split, count)
        return images[:], states

    def _moved(self, device: str | torch.device) -> "FolderWorld":
        moved = FolderWorld(self.name, device, size=self.pictures.size, models=self.models)
        moved.pictures = self.pictures
        return moved


def losses(gate: Mapping[str, Mapping[str, float]], rival: str) -> int:
    """Under how many masks a circuit's mean is worse than a rival's, as its recipe found."""
    return sum(gate["circuit"][name] > error for name, error in gate[rival].items())


def photograph(path: Path) -> Path:
    """The name of the photograph that a file shows, or shows a piece of: see the module's first lines."""
    folders = [PIECE.sub("", part) for part in path.parts[:-1]]
    if folders != list(path.parts[:-1]):  # a folder of pieces
        return Path(*folders)
    return path.with_name(PIECE.sub("", path.stem) or path.stem) if PIECE.search(path.stem) else path


def _split(path: Path) -> str:
    share = _hash(path)
    return next(split for split, end in SPLITS.items() if share < end)


def _hash(path: Path) -> float:
    """A number in [0, 1) that belongs to the path, the same everywhere."""
    digest = hashlib.sha256(path.as_posix().encode()).digest()
    return int.from_bytes(digest[:6], "big") / 256**6


def _pictures(folder: Path) -> Iterator[Path]:
    """All files below a folder that are named like pictures; each real folder is entered once."""
    entered = set()
    for place, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        below.sort()
        yield from (Path(place, name) for name in names if name.lower().endswith(KINDS) and name[0] != ".")
