"""The 1797 real handwritten digits, 8 x 8 pixels, 17 grey levels: small enough to be exact about.

Each pixel counts the ink dots of a 4 x 4 block of a scanned digit, so it is an integer k in 0..16. As a
category it is k itself; as an image value it is k / 8 - 1 in [-1, 1], which float32 holds exactly.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (test set), UCI Machine Learning
Repository, 1998, CC BY 4.0, in the copy that scikit-learn ships.
"""

from pathlib import Path

import torch
from torch import Tensor

from ...checks import positive_integer
from ...errors import FileError, TiramisuError, unknown_name
from ...files import load_safetensors, reading, save_safetensors
from ..datafiles import data_path, verified

NUM_LEVELS = 17
HEIGHT = WIDTH = 8
SPLITS = {"train": 1297, "validation": 200, "test": 300}  # in the order of their codes 0, 1, 2
FILE = "digits/images.safetensors"
CREDIT = {
    "title": "Optical Recognition of Handwritten Digits (test set)",
    "authors": "E. Alpaydin and C. Kaynak",
    "publisher": "UCI Machine Learning Repository, 1998",
    "source": "https://doi.org/10.24432/C50P49, in the copy of sklearn.datasets.load_digits",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "changes": "split into train, validation and test; values unchanged",
}
_KIND, _VERSION, _SPLIT_SEED = "images", 1, 0


def images(split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first `count` images of a split, all if None, and their labels.

    image = k / 8 - 1

    Args:
        split: "train" (1297), "validation" (200) or "test" (300).

    Returns: images (N, 1, 8, 8) float32 in [-1, 1], labels (N,) long in 0..9.
    Raises:
        TiramisuError: for an unknown split.
        FileError: where the file is missing or not as published.
    """
    count = None if count is None else positive_integer("count", count)
    levels, labels = (part[:count] for part in _load(split))
    return to_images(levels.flatten(1)), labels


def categories(split: str) -> Tensor:
    """One split as a circuit sees it: (N, 64) long, grey levels 0..16 in reading order.

    Args, Raises: as `images`.
    """
    return _load(split)[0].flatten(1)


def to_images(levels: Tensor) -> Tensor:
    """Grey levels (N, 64) in 0..16 -> images (N, 1, 8, 8) float32 in [-1, 1]: k / 8 - 1."""
    return levels.reshape(-1, 1, HEIGHT, WIDTH).float() / ((NUM_LEVELS - 1) / 2) - 1.0


def build_images(path: str | Path) -> None:
    """Writes scikit-learn's copy of the digits, with the fixed split, to one safetensors file.

    Args:
        path: where to; the package's own is data/digits/images.safetensors. It holds images (1797, 8, 8)
            uint8 in 0..16, labels (1797,) uint8, splits (1797,) uint8 (0 train, 1 validation, 2 test) and the
            credit.

    Raises:
        TiramisuError: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise TiramisuError("this needs scikit-learn: pip install 'tiramisu-edu[data]'") from None
    digits = load_digits()
    labels = torch.from_numpy(digits.target).to(torch.uint8)
    tensors = {
        "images": torch.from_numpy(digits.images).to(torch.uint8),
        "labels": labels,
        "splits": _split_codes(labels),
    }
    save_safetensors(path, tensors, kind=_KIND, version=_VERSION, metadata=CREDIT)


def _split_codes(labels: Tensor) -> Tensor:
    """(N,) uint8: a fixed random split in which each digit has its share of every part, to within one image.

    After a seeded permutation each image gets the height (rank within its digit + 1/2) / (images of that
    digit). Cutting the images, sorted by height, into parts then cuts every digit in the same proportions.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    height = torch.empty(len(labels), dtype=torch.float64)
    for digit in range(10):
        members = order[labels[order] == digit]
        height[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    codes = torch.empty(len(labels), dtype=torch.uint8)
    for code, part in enumerate(height.argsort(stable=True).split(list(SPLITS.values()))):
        codes[part] = code
    return codes


def _load(split: str) -> tuple[Tensor, Tensor]:
    """Grey levels (N, 8, 8) long and labels (N,) long of one split."""
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    path = verified(data_path(FILE))
    tensors, _ = load_safetensors(path, kind=_KIND, version=_VERSION)
    with reading(path):
        levels, labels, splits = (tensors[name] for name in ("images", "labels", "splits"))
        shapes = (len(splits), HEIGHT, WIDTH), (len(splits),), (len(splits),)
        if (levels.shape, labels.shape, splits.shape) != shapes or int(levels.max()) >= NUM_LEVELS:
            raise FileError(f"{path} does not hold digits of {HEIGHT} x {WIDTH} pixels in {NUM_LEVELS} levels")
        chosen = splits == list(SPLITS).index(split)
        return levels[chosen].long(), labels[chosen].long()
