"""Clothes: real photographs of ten kinds of clothing, 28 x 28 grey pixels, and public likelihoods to compare with.

A grey level k in 0..255 is as an image value k / 127.5 - 1. 7000 of the 70 000 pictures ship; a folder with all of
them, such as Debian's package dataset-fashion-mnist installs, may be named where a model is trained or measured.

Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms, 2017, arXiv:1708.07747. MIT licence, (c) 2017 Zalando SE.
"""

import gzip
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ...checks import positive_integer
from ...errors import FileError, known_name
from ...files import loaded, reading
from ..datafiles import data_path, verified

SIZE, NUM_LEVELS = 28, 256
SPLITS = {"train": slice(0, 5500), "validation": slice(5500, 6000), "test": slice(6000, 7000)}  # of what ships
FILE = "clothes/images.safetensors"
DEBIAN = "/usr/share/datasets/fashion-mnist"
LABELS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
KIND, VERSION = "images", 1


class Clothes:
    """The pictures, those that ship or all of them.

    Args:
        folder: of the four idx files, as gzip; None: the 7000 pictures that ship. The validation split is the same
            either way, the others begin with the same pictures.
    """

    name = "clothes"

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, all if None, and their labels.

        Args:
            split: "train" (5500; 59 500 of the folder), "validation" (500) or "test" (1000; 10 000 of the folder).

        Returns: images (N, 1, 28, 28) float32 in [-1, 1], labels (N,) long in 0..9.
        Raises:
            TiramisuError: for an unknown split.
            FileError: where a file is missing or not as published.
        """
        known_name("split", split, SPLITS)
        count = None if count is None else positive_integer("count", count)
        if self.folder is None:
            levels, labels = (part[SPLITS[split]] for part in _shipped())
        elif split == "test":
            levels, labels = read_idx(self.folder, "t10k")
        else:
            levels, labels = read_idx(self.folder, "train")
            held_out = SPLITS["validation"]
            parts = (held_out,) if split == "validation" else (slice(0, held_out.start), slice(held_out.stop, None))
            levels, labels = (torch.cat([values[part] for part in parts]) for values in (levels, labels))
        return to_images(levels[:count]), labels[:count].long()


def to_images(levels: Tensor) -> Tensor:
    """Grey levels (N, 28, 28) in 0..255 -> images (N, 1, 28, 28) float32 in [-1, 1]: k / 127.5 - 1."""
    return levels[:, None].float() / 127.5 - 1.0


def _shipped() -> tuple[Tensor, Tensor]:
    """Grey levels (7000, 28, 28) and labels (7000,), both uint8."""
    path = verified(data_path(FILE))
    with loaded(path, kind=KIND, version=VERSION) as (tensors, _):
        pixels = zlib.decompress(tensors["pixels"].numpy().tobytes())
        return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(-1, SIZE, SIZE), tensors["labels"]


def read_idx(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Grey levels (N, 28, 28) and labels (N,), both uint8, of the part "train" or "t10k" of the data set."""
    values = []
    for name, dimensions, shape in (("images-idx3", 3, (-1, SIZE, SIZE)), ("labels-idx1", 1, (-1,))):
        path = folder / f"{part}-{name}-ubyte.gz"
        if not path.is_file():
            raise FileError(f"{path} is missing; Debian's package dataset-fashion-mnist puts it in {DEBIAN}")
        with reading(path), gzip.open(path) as file:
            content = bytearray(file.read())
            values.append(torch.frombuffer(content, dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape))
    return values[0], values[1]
