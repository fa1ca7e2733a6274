"""The 1797 real handwritten digits, 8 x 8 pixels, 17 grey levels: small enough to be exact about.

Each pixel counts the ink dots of a 4 x 4 block of a scanned digit, so it is an integer k in 0..16. As a
category it is k itself; as an image value it is k / 8 - 1 in [-1, 1], which float32 holds exactly.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (test set), UCI Machine Learning
Repository, 1998, CC BY 4.0, in the copy that scikit-learn ships.
"""

from torch import Tensor

from ...checks import positive_integer
from ...errors import known_name
from ...files import loaded
from ..datafiles import data_path, verified

NUM_LEVELS = 17
HEIGHT = WIDTH = 8
SPLITS = {"train": 1297, "validation": 200, "test": 300}  # in the order of their codes 0, 1, 2
FILE = "digits/images.safetensors"
KIND, VERSION = "images", 1


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


def _load(split: str) -> tuple[Tensor, Tensor]:
    """Grey levels (N, 8, 8) long and labels (N,) long of one split."""
    known_name("split", split, SPLITS)
    path = verified(data_path(FILE))
    with loaded(path, kind=KIND, version=VERSION) as (tensors, _):
        levels, labels, splits = (tensors[name] for name in ("images", "labels", "splits"))
        chosen = splits == list(SPLITS).index(split)
        return levels[chosen].long(), labels[chosen].long()
