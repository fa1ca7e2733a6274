"""Checks of the arguments of public functions, each raising a TiramisuError that names the argument."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from .errors import ImageError, TiramisuError


def integer(name: str, value: Any, low: int = 0, high: float = math.inf) -> int:
    """The value as an int, once it is a whole number in low ... high; True and False are none."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and low <= int(value) <= high):
        within = f"in {low} ... {high}" if high < math.inf else f"of at least {low}"
        raise TiramisuError(f"{name} must be a whole number {within}, not {value!r}")
    return int(value)


def positive_integer(name: str, value: Any) -> int:
    """The value as an int, once it is a whole number of at least 1."""
    return integer(name, value, 1)


def number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """The value as a float, once it is a number in [low, high], and finite."""
    if isinstance(value, bool) or not (
        isinstance(value, Real) and math.isfinite(value) and low <= float(value) <= high
    ):
        within = f"in [{low:g}, {high:g}]" if high < math.inf else f"of at least {low:g}"
        raise TiramisuError(f"{name} must {'lie' if high < math.inf else 'be a number'} {within}, not {value!r}")
    return float(value)


def instance(name: str, value: Any, *kinds: type) -> None:
    """Whether the value is of one of these classes."""
    if not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TiramisuError(f"{name} must be a {expected}, not {_found(value)}")


def is_generator(name: str, value: Any) -> None:
    """Whether the value is a random generator; a seed is none."""
    if not isinstance(value, torch.Generator):
        raise TiramisuError(f"{name} must be torch.Generator().manual_seed(0), not {_found(value)}")


def check_images(name: str, value: Any, *, finite: bool = True) -> None:
    """Whether the value is images (B, C, H, W) of floating point, and finite ones where asked."""
    instance(name, value, Tensor)
    if value.ndim != 4 or 0 in value.shape or not value.is_floating_point():
        raise ImageError(f"{name} must be float (B, C, H, W), not {value.dtype} {tuple(value.shape)}")
    if finite and not bool(value.isfinite().all()):
        raise ImageError(f"{name} must be finite numbers; some are NaN or infinite")


def _found(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
