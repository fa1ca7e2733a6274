"""Fair timing: all candidates in one process, in alternation, warm, with minima and medians."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch


class Timing(NamedTuple):
    """Seconds of one call: the minimum (the machine undisturbed) and the median (as it was)."""

    minimum: float
    median: float


def alternate(
    calls: Mapping[str, Callable[[], object]], *, budget: float = 3.0, device: torch.device | None = None
) -> dict[str, Timing]:
    """Time the calls in turns, round after round, so that what disturbs the machine disturbs all alike.

    Args:
        calls: name -> function without arguments.
        budget: seconds to spend in all, with at least 3 and at most 100 rounds.
        device: a CUDA device is waited for after each call.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    start = time.perf_counter()
    for round_number in range(100):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if device is not None and device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - begin)
        if round_number >= 2 and time.perf_counter() - start > budget:
            break
    return {name: Timing(min(values), statistics.median(values)) for name, values in times.items()}


def slope(sizes: list[float], seconds: list[float]) -> float:
    """Exponent b of the least-squares fit seconds = a sizes^b."""
    x, y = [math.log(s) for s in sizes], [math.log(t) for t in seconds]
    mean_x, mean_y = statistics.mean(x), statistics.mean(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / sum((a - mean_x) ** 2 for a in x)


def machine_facts(device: torch.device) -> str:
    """One line: processor, threads, PyTorch, device, and the load of the machine when asked."""
    facts = [platform.machine(), _processor(), f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    facts += [
        torch.backends.cpu.get_cpu_capability(),
        f"PyTorch {torch.__version__}",
        f"Python {platform.python_version()}",
    ]
    if device.type == "cuda":
        facts.append(torch.cuda.get_device_name(device))
    if hasattr(os, "getloadavg"):
        facts.append(f"load {os.getloadavg()[0]:.1f}")
    return ", ".join(facts)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
