"""Makes the pictures that ship: of the digits from scikit-learn's copy, of the clothes from the idx files.

python -m studies.shipped_pictures digits
python -m studies.shipped_pictures clothes --source /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from studies.common import run
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import save_safetensors
from tiramisu_edu.lab.datafiles import data_root, write_checksums
from tiramisu_edu.lab.worlds import clothes, digits

SPLIT_SEED = 0
DIGITS = {
    "title": "Optical Recognition of Handwritten Digits (test set)",
    "authors": "E. Alpaydin and C. Kaynak",
    "publisher": "UCI Machine Learning Repository, 1998",
    "source": "https://doi.org/10.24432/C50P49, in the copy of sklearn.datasets.load_digits",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "changes": "split into train, validation and test; values unchanged",
}
CLOTHES = {
    "title": "Fashion-MNIST",
    "authors": "Han Xiao, Kashif Rasul, Roland Vollgraf; (c) 2017 Zalando SE",
    "source": "https://github.com/zalandoresearch/fashion-mnist, in the copy of Debian's dataset-fashion-mnist",
    "licence": "MIT, https://opensource.org/license/mit",
    "changes": "the first 6000 training and the first 1000 test pictures; values unchanged",
}


def make_digits(path: str | Path) -> None:
    """Write scikit-learn's copy of the digits, with the fixed split, to one safetensors file.

    Args:
        path: where to. The file holds images (1797, 8, 8) uint8 in 0..16, labels (1797,) uint8, splits (1797,) uint8
            (0 train, 1 validation, 2 test) and the credit.

    Raises:
        TiramisuError: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise TiramisuError("this needs scikit-learn: pip install 'tiramisu-edu[data]'") from None
    found = load_digits()
    labels = torch.from_numpy(found.target).to(torch.uint8)
    images = torch.from_numpy(found.images).to(torch.uint8)
    tensors = {"images": images, "labels": labels, "splits": split_codes(labels)}
    save_safetensors(path, tensors, kind=digits.KIND, version=digits.VERSION, metadata=DIGITS)


def split_codes(labels: Tensor) -> Tensor:
    """(N,) uint8: a fixed random split in which each digit has its share of every part, to within one image.

    After a seeded permutation each image gets the height (rank within its digit + 1/2) / (images of that digit).
    Cutting the images, sorted by height, into parts then cuts every digit in the same proportions.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    height = torch.empty(len(labels), dtype=torch.float64)
    for digit in range(10):
        members = order[labels[order] == digit]
        height[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    codes = torch.empty(len(labels), dtype=torch.uint8)
    for code, part in enumerate(height.argsort(stable=True).split(list(digits.SPLITS.values()))):
        codes[part] = code
    return codes


def make_clothes(path: str | Path, folder: Path) -> None:
    """Write the pictures that ship, the first 6000 for training and 1000 of the test, from the idx files of a folder.

    Args:
        path: where to. The file holds labels (7000,) uint8, pixels: the uint8 bytes of (7000, 28, 28) grey levels as
            zlib packs them, and the credit.
        folder: with train-images-idx3-ubyte.gz and its three fellows.

    Raises:
        FileError: a file is missing or damaged.
    """
    parts = [
        [values[:count] for values in clothes.read_idx(folder, part)]
        for part, count in (("train", 6000), ("t10k", 1000))
    ]
    levels, labels = (torch.cat(column) for column in zip(*parts))
    packed = zlib.compress(levels.numpy().tobytes(), 9)
    tensors = {"pixels": torch.frombuffer(bytearray(packed), dtype=torch.uint8), "labels": labels}
    save_safetensors(path, tensors, kind=clothes.KIND, version=clothes.VERSION, metadata=CLOTHES)


def make(options: argparse.Namespace) -> None:
    """Write one file, and list it in the checksums."""
    if options.world == "digits":
        make_digits(path := data_root() / digits.FILE)
    else:
        make_clothes(path := data_root() / clothes.FILE, options.source)
    print(f"written: {path}; listed in {write_checksums()}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m studies.shipped_pictures", description=about)
    parser.add_argument("world", choices=("digits", "clothes"))
    parser.add_argument("--source", type=Path, default=Path(clothes.DEBIAN), help="the folder of the idx files")
    parser.set_defaults(threads=1)
    run(make, parser.parse_args(arguments))


if __name__ == "__main__":
    main()
