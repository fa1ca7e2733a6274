"""Pictures as bytes in a file, read row by row as floats: more of them than memory holds."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...files import tensor_digest


class Stored:
    """Pictures with rows like those of a tensor (N, C, H, W) float32 in [-1, 1], a byte each number.

    Args:
        levels: (N, C, H, W) uint8, 0 for -1 and 255 for 1.
    """

    def __init__(self, levels: Tensor) -> None:
        self.levels, self.shape = levels, levels.shape

    @classmethod
    def write(cls, pictures: Iterable[Tensor], most: int, folder: Path) -> Stored:
        """Pictures (1, C, H, W) in a file without a name, which goes when nothing reads it any more.

        Args:
            pictures: one after the other, at least one.
            most: how many there may be.
            folder: whose disk is used; the system's own for such files where nothing can be written there.
        """
        count, levels = 0, torch.empty(0)
        for picture in pictures:
            if count == 0:
                with tempfile.TemporaryFile(dir=folder if os.access(folder, os.W_OK) else None) as file:
                    shape = (most, *picture.shape[1:])
                    levels = torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="w+", shape=shape))
            levels[count] = ((picture[0] + 1) * 127.5).round().to(torch.uint8)
            count += 1
        return cls(levels[:count])

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: Any, /) -> Tensor:
        return self.levels[index].float() / 127.5 - 1.0

    def split(self, size: int) -> Iterator[Tensor]:
        """As of a tensor."""
        return (self[first : first + size] for first in range(0, len(self), size))


Pictures = Tensor | Stored
"""(N, C, H, W) in [-1, 1]: in memory or in a file."""


def pictures_digest(pictures: Pictures) -> str:
    """SHA-256 of pictures."""
    if isinstance(pictures, Tensor):
        return tensor_digest({"images": pictures})
    digest = hashlib.sha256(repr(tuple(pictures.shape)).encode())
    for part in pictures.levels.split(256):
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()
