"""What several commands need: the device asked for, the numbers as a file, an interval in words."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ...errors import TiramisuError
from ...files import atomic_path


def chosen_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        TiramisuError: when there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise TiramisuError(f"device {name!r} is not available here: use --device cpu") from None
    return device


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, atomically."""
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path | None, report: dict) -> None:
    """Write the report, where one was asked for, atomically."""
    if path is not None:
        write_text(path, json.dumps(report, indent=2) + "\n")


def format_interval(interval: tuple) -> str:
    """`+0.123 [+0.100, +0.146]`."""
    return f"{interval[0]:+.3f} [{interval[1]:+.3f}, {interval[2]:+.3f}]"
