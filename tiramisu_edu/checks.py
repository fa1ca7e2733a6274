"""Checks of the arguments of public functions, each raising a TiramisuError that names the argument."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from .errors import TiramisuError


def integer(name: str, value: Any, low: int = 0, high: float = math.inf) -> int:
    """The value as an int, once it is a whole number in low ... high; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        within = f"in {low} ... {high}" if high < math.inf else f"of at least {low}"
        raise TiramisuError(f"{name} must be a whole number {within}, not {value!r}")
    return int(value)


def positive_integer(name: str, value: Any) -> int:
    """The value as an int, once it is a whole number of at least 1."""
    return integer(name, value, 1)


def number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """The value as a float, once it is a number in [low, high], and finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or not low <= value <= high:
        within = f"in [{low:g}, {high:g}]" if high < math.inf else f"of at least {low:g}"
        raise TiramisuError(f"{name} must be a number {within}, not {value!r}")
    return float(value)


def instance(name: str, value: Any, *kinds: type) -> None:
    """Whether the value is of one of these classes."""
    if not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TiramisuError(f"{name} must be a {expected}, not {_found(value)}")


def generator(name: str, value: Any) -> None:
    """Whether the value is a random generator; a seed is none."""
    if not isinstance(value, torch.Generator):
        raise TiramisuError(f"{name} must be torch.Generator().manual_seed(0), not {_found(value)}")


def _found(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__
