"""Samples per second and peak memory of one EM epoch, each library in a process of its own.

The paper's shape in small: 16 x 16 variables, 256 categories, a quad-tree. Peers repeat their E-step (or, without one,
forward and backward) on batches of the same size.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from ..circuits import structures
from ..circuits.circuit import Circuit
from ..circuits.learning import expected_counts, maximise
from ..errors import TiramisuError
from .table import Table

GRID, CATEGORIES, BATCH, OURS = 16, 256, 64, "tiramisu-edu"
COLUMNS = ["library", "repeated", "samples/s", "peak memory MB", "parameters MB"]


def epochs_table(libraries: Sequence[str], num_latents: int, samples: int) -> Table:
    """One EM epoch of each library, in turn, in a fresh process, so that peaks do not mix.

    Raises:
        TiramisuError: when a process fails, with the end of what it printed.
    """
    lines = []
    for name in libraries:
        command = [sys.executable, "-m", __name__, name, str(num_latents), str(samples)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise TiramisuError(f"{name} failed: {done.stderr.strip()[-300:]}")
        lines.append(json.loads(done.stdout.splitlines()[-1]))
    title = f"EM, {GRID} x {GRID} variables, {CATEGORIES} categories, quad-tree K = {num_latents}, {samples} samples"
    return Table(title, pd.DataFrame(lines, columns=COLUMNS))


def _peak_bytes() -> int:
    """The most memory that this process has held; 0 where /proc is missing."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else 0


def _measure(name: str, num_latents: int, samples: int) -> list[str]:
    """A line of the table; memory is what lies above that of the idle process."""
    idle = _peak_bytes()
    label, query, epoch = (_our_epoch if name == OURS else _peers_epoch)(name, num_latents, samples)
    start = time.perf_counter()
    epoch()
    rate = samples / (time.perf_counter() - start)
    parameters = 84 * num_latents**2 + num_latents + GRID**2 * num_latents * CATEGORIES
    megabytes = [f"{size / 1e6:.0f}" for size in (_peak_bytes() - idle, 4 * parameters)]
    return [label, query, f"{rate:.0f}", *megabytes]


def _our_epoch(name: str, num_latents: int, samples: int) -> tuple[str, str, Callable[[], object]]:
    """One full-batch EM epoch on random data, as `fit_em` does it: expected counts, then new parameters."""
    generator = torch.Generator().manual_seed(0)
    graph = structures.quad_tree(GRID, GRID, num_categories=CATEGORIES, num_latents=num_latents)
    circuit = Circuit(graph, generator=generator)
    data = torch.randint(CATEGORIES, (samples, GRID**2), generator=generator)
    expected_counts(circuit, data[:BATCH])
    return f"{name} {version(name)}", "EM epoch", lambda: maximise(circuit, expected_counts(circuit, data)[0], 0.1)


def _peers_epoch(name: str, num_latents: int, samples: int) -> tuple[str, str, Callable[[], object]]:
    """As many batches of a peer as make the samples, each its E-step."""
    peer = importlib.import_module("benchmarks.peers").available_peers()[name]
    calls = peer.prepare("quad", GRID**2, CATEGORIES, num_latents, BATCH, torch.Generator().manual_seed(0))
    query = "e_step" if "e_step" in calls else "forward_backward"
    calls[query]()
    return f"{peer.name} {peer.version}", query, lambda: [calls[query]() for _ in range(max(1, samples // BATCH))]


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], *map(int, sys.argv[2:]))))
