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


def positive_integers(**values: Any) -> None:
    """Whether each value is a whole number of at least 1."""
    for name, value in values.items():
        positive_integer(name, value)


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
        raise TiramisuError(f"{name} must be a {expected}, not {type(value).__name__}")


def is_generator(name: str, value: Any) -> None:
    """Whether the value is a random generator; a seed is none."""
    if not isinstance(value, torch.Generator):
        raise TiramisuError(f"{name} must be torch.Generator().manual_seed(0), not {value!r}")


def check_images(name: str, value: Any, *, limit: float | None = math.inf) -> None:
    """Whether the value is images (B, C, H, W) of floats in [-limit, limit], and finite; any floats if None."""
    instance(name, value, Tensor)
    if value.ndim != 4 or 0 in value.shape or not value.is_floating_point():
        raise ImageError(f"{name} must be float (B, C, H, W), not {value.dtype} {tuple(value.shape)}")
    if limit is not None and not bool((value.isfinite() & (value.abs() <= limit)).all()):
        within = f" in [-{limit:g}, {limit:g}], not from {float(value.min()):g} to {float(value.max()):g}"
        within = within if limit < math.inf else "; some are NaN or infinite"
        raise ImageError(f"{name} must be finite numbers{within}")


def check_rows(name: str, value: Any) -> None:
    """Whether the value is a tensor or an array with rows, and at least one."""
    if isinstance(value, (str, bytes, list, tuple)) or not (
        hasattr(value, "__len__") and hasattr(value, "__getitem__")
    ):
        raise TiramisuError(f"{name} must be a tensor or an array with rows, not a {type(value).__name__}")
    if len(value) == 0:
        raise TiramisuError(f"the {name} data is empty: give it at least one row")
