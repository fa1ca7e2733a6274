"""What several commands need: the device asked for, numbers and texts as files, facts of the machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import torch

from ..errors import TiramisuError
from ..files import atomic_path


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


def machine_facts(device: torch.device) -> str:
    """One line: processor, threads, PyTorch, device, and the load of the machine at this moment."""
    facts = [platform.machine(), _processor(), f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    facts += [torch.backends.cpu.get_cpu_capability(), f"PyTorch {torch.__version__}"]
    facts += [f"Python {platform.python_version()}"]
    if device.type == "cuda":
        facts.append(torch.cuda.get_device_name(device))
    if hasattr(os, "getloadavg"):
        facts.append(f"load {os.getloadavg()[0]:.1f}")
    return ", ".join(facts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
