"""As much of Triton's language as one kernel of the course needs, on NumPy: for machines without Triton or a card.

A kernel is written against `tl` as it would be against `triton.language`; `launch` runs its programs one by one.
Addresses beyond the end of an array that are not masked are an error, where a card would read whatever is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Address:
    """Places in an array that is laid out row by row; adding an offset moves them."""

    def __init__(self, array: np.ndarray, place: Any = 0) -> None:
        self.array, self.place = array, np.asarray(place)

    def __add__(self, offset: Any) -> Address:
        return Address(self.array, self.place + offset)


class Language:
    """The functions of `triton.language` by their names there; the program that runs is `place`."""

    float32 = np.float64  # the course compares with exact sums
    arange, full, zeros, exp = (staticmethod(f) for f in (np.arange, np.full, np.zeros, np.exp))
    max, sum, maximum, where = (staticmethod(f) for f in (np.max, np.sum, np.maximum, np.where))

    def __init__(self) -> None:
        self.place: Sequence[int] = (0, 0)

    def program_id(self, axis: int) -> int:
        return self.place[axis]

    def dot(self, x: np.ndarray, y: np.ndarray, acc: Any = 0.0) -> np.ndarray:
        return x @ y + acc

    def log(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(x)

    def load(self, address: Address, mask: Any = True, other: float = 0.0) -> np.ndarray:
        mask, place = np.broadcast_arrays(mask, address.place)
        return np.where(mask, address.array.ravel()[np.where(mask, place, 0)], other)

    def store(self, address: Address, value: Any, mask: Any = True) -> None:
        mask, place, value = np.broadcast_arrays(mask, address.place, value)
        address.array.ravel()[place[mask]] = value[mask]  # a view: arrays are contiguous


tl = Language()


def launch(kernel: Callable, theta: np.ndarray, log_x: np.ndarray, blocks: tuple[int, int, int]) -> np.ndarray | None:
    """Run a kernel of a sum layer over all tiles of its result; None where it stored nothing.

    Args:
        kernel: takes addresses of theta (K, M), log_x (M, B) and the result (K, B), then K, M, B and the block sizes.
        blocks: BLOCK_K, BLOCK_M, BLOCK_B.
    """
    theta, log_x = np.ascontiguousarray(theta, float), np.ascontiguousarray(log_x, float)
    (K, M), B = theta.shape, log_x.shape[1]
    out = np.full((K, B), np.nan)
    for tl.place in itertools.product(range(-(-K // blocks[0])), range(-(-B // blocks[2]))):
        kernel(Address(theta), Address(log_x), Address(out), K, M, B, *blocks)
    return None if np.isnan(out).all() else out
