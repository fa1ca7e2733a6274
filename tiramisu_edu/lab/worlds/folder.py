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
depend on the machine, on other files or on the order of a listing.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ...checks import positive_integer
from ...errors import ImageError, TiramisuError
from ...names import FOLDER
from ...pictures import load_image
from ...world import World

KINDS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = {"train": 0.9, "validation": 0.95, "test": 1.0}  # where each one's share of the hashes ends
AT_ONCE = 256  # files handed to the threads together


class PictureFolder:
    """The pictures below a folder, in three splits.

    Args:
        folder: where they are.
        size: S, height and width of the pictures that come out.

    Attributes:
        skipped: file -> why it could not be read; grows as files are read.

    Raises:
        ImageError: there is no such folder, or no picture in it.
    """

    def __init__(self, folder: str | Path, size: int) -> None:
        self.folder, self.size = Path(folder), size
        self.skipped: dict[Path, str] = {}
        if not self.folder.is_dir():
            raise ImageError(f"{self.folder}: there is no such folder; check the path")
        if not any(self.files.values()):
            raise ImageError(f"{self.folder}: no pictures in it or below it ({', '.join(KINDS)})")

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """Split -> its files in the order of their hashes, so that any first part is a fair sample."""
        hashed = sorted((_hash(file.relative_to(self.folder)), file) for file in _pictures(self.folder))
        starts = [0.0, *SPLITS.values()]
        return {
            split: [file for share, file in hashed if start <= share < end]
            for (split, end), start in zip(SPLITS.items(), starts)
        }

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` pictures of a split; all where None, or where there are fewer.

        Files that cannot be read are left out, with one warning that counts them.

        Returns: images (N, 3, S, S) float32 in [-1, 1]; states (N, 0) long, for what is on them is not known.
        Raises:
            TiramisuError: for an unknown split.
            ImageError: where no picture of it can be read.
        """
        if split not in SPLITS:
            raise TiramisuError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        count = None if count is None else positive_integer("count", count)
        files, known = self.files[split], len(self.skipped)
        loaded = list(islice(self._read(files), count))
        if new := len(self.skipped) - known:
            example = next(reversed(self.skipped.values()))
            warnings.warn(f"{self.folder}: {new} of {len(files)} files left out, such as {example}", stacklevel=2)
        if not loaded:
            raise ImageError(f"{self.folder}: no readable picture in its {split} split of {len(files)} files")
        return torch.cat(loaded), torch.zeros(len(loaded), 0, dtype=torch.long)

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


class FolderWorld(World):
    """The world of a folder: its pictures, and the denoisers and patch circuits trained on them, which lie beside it.

    Args:
        name: "folder:PATH".
        device: where the models are.
        size: of the pictures in pixels, 64 if None.
        models: the folder of the models; PATH-models-SIZE if None.
    """

    parts = ("denoiser", "denoiser_weak", "codebook", "circuit", "circuit_independent")
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
        folder = Path(name.removeprefix(FOLDER)).absolute()
        self.pictures = PictureFolder(folder, size or 64)
        self.models = Path(models or folder.with_name(f"{folder.name}-models-{self.pictures.size}"))

    @property
    def family(self) -> str:
        return self.name

    @property
    def to_train(self) -> str:
        return f"{self.name} --size {self.pictures.size}"

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        return self.pictures.images(split, count)

    def to(self, device: str | torch.device) -> "FolderWorld":
        if torch.device(device) == self.device:
            return self
        return FolderWorld(self.name, device, size=self.pictures.size, models=self.models)

    def _path(self, part: str) -> Path:
        return self.models / f"{part}.safetensors"


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
