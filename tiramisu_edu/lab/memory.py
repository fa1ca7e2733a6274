"""Memory: what a job needs is printed before it begins, and the job is refused where the machine has less."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..errors import TiramisuError

GB = 1e9
PROGRAM = 0.9 * GB  # PyTorch and the package: 0.8 before anything is done, the rest while they work


def free_memory(device: str = "cpu") -> float:
    """Bytes that a process can still take: of a GPU, else of the machine and of the group of processes it is in."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not hasattr(os, "sysconf"):
        return float("inf")
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else []
    found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    group = Path("/sys/fs/cgroup")  # of a container
    limit = (group / "memory.max").read_text().strip() if (group / "memory.max").is_file() else "max"
    if limit != "max":
        found.append(int(limit) - int((group / "memory.current").read_text()))
    return min(found)


def reserve(what: str, needed: float, device: str = "cpu") -> None:
    """Print what a job needs.

    Raises:
        TiramisuError: there is less.
    """
    free = free_memory(device)
    print(f"{what}: about {needed / GB:.1f} GB of memory of {free / GB:.1f} that are free", flush=True)
    if needed > free:
        raise TiramisuError(
            f"{what} needs about {needed / GB:.1f} GB of memory, and {free / GB:.1f} are free: ask for fewer --images, "
            "a smaller --size or --num-latents, a larger --patch, or take a machine with more"
        )
