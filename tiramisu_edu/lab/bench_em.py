"""Samples per second and peak memory of EM, each library and each kind of step in a process of its own.

The paper's shape in small: 16 x 16 variables, 256 categories, a quad-tree. The same work is timed on both sides: the
E-step alone (expected counts of a batch), and a step of mini-batch EM (the same, and new parameters). Ours is also
timed over one epoch of full-batch EM. Each line has the log-likelihood that its library finds for one row.
"""

from __future__ import annotations

import importlib
import json
import os
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
EPOCH, STEPS = "epoch", {"e_step": "E-step of 64", "em_step": "mini-batch EM, 64", "epoch": "full-batch epoch"}
COLUMNS = ["library", "repeated", "samples/s", "peak memory MB", "parameters MB", "log p of a row"]


def epochs_table(libraries: Sequence[str], num_latents: int, samples: int) -> Table:
    """Every step of each library, in turn, in a fresh process, so that peaks do not mix.

    Raises:
        TiramisuError: when a process fails, with the end of what it printed.
    """
    lines = []
    for step, name in ((step, name) for step in STEPS for name in libraries if step != EPOCH or name == OURS):
        command = [sys.executable, "-m", __name__, name, step, str(num_latents), str(samples)]
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise TiramisuError(f"{name} failed: {done.stderr.strip()[-300:]}")
        lines.append(json.loads(done.stdout.splitlines()[-1]))
    circuit, x = _problem(num_latents)
    circuit.double().engine_name = "safe"
    truth = f"log p of the row in log space and float64 {circuit.log_likelihood(x[:1]).item():.2f}"
    title = f"EM, {GRID} x {GRID} variables, {CATEGORIES} categories, quad-tree K = {num_latents}; {truth}"
    return Table(title, pd.DataFrame(lines, columns=COLUMNS))


def _problem(num_latents: int) -> tuple[Circuit, torch.Tensor]:
    """Random parameters, and a batch of random data; what `benchmarks.peers` makes with this seed."""
    generator = torch.Generator().manual_seed(0)
    graph = structures.quad_tree(GRID, GRID, num_categories=CATEGORIES, num_latents=num_latents)
    circuit = Circuit(graph, generator=generator)
    return circuit, torch.randint(CATEGORIES, (BATCH, GRID**2), generator=generator)


def _peak_bytes() -> int:
    """The most memory that this process has held; 0 where /proc is missing."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else 0


def _measure(name: str, step: str, num_latents: int, samples: int) -> list[str]:
    """A line of the table; memory is what lies above that of the idle process."""
    idle = _peak_bytes()
    label, run, log_likelihood = (_ours if name == OURS else _peer)(name, step, num_latents, samples)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds, done = 0.0, 0
    run()  # what is made once
    while done < samples:
        start = clock()
        run()
        seconds, done = seconds + clock() - start, done + (samples if step == EPOCH else BATCH)
    parameters = 84 * num_latents**2 + num_latents + GRID**2 * num_latents * CATEGORIES
    megabytes = [f"{size / 1e6:.0f}" for size in (_peak_bytes() - idle, 4 * parameters)]
    return [label, STEPS[step], f"{done / seconds:.0f}", *megabytes, f"{log_likelihood():.2f}"]


Calls = tuple[str, Callable[[], object], Callable[[], float]]  # a label, the step, and log p of the first row


def _ours(name: str, step: str, num_latents: int, samples: int) -> Calls:
    """As `fit_em` does it: expected counts in buffers that are kept, then new parameters, mixed in by 0."""
    circuit, x = _problem(num_latents)
    data = x if step != EPOCH else x.repeat(-(-samples // BATCH), 1)[:samples]
    counts = [torch.empty_like(table) for table in circuit.tables()]

    def run() -> None:
        expected_counts(circuit, data, out=counts)
        if step != "e_step":
            maximise(circuit, counts, 0.1, step=0.0)

    return f"{name} {version(name)}", run, lambda: circuit.log_likelihood(x[:1]).item()


def _peer(name: str, step: str, num_latents: int, samples: int) -> Calls:
    """A peer's own step on the same problem."""
    peer = importlib.import_module("benchmarks.peers").available_peers()[name]
    calls = peer.prepare("quad", GRID**2, CATEGORIES, num_latents, BATCH, torch.Generator().manual_seed(0))
    return f"{peer.name} {peer.version}", calls[step], lambda: float(calls["log_likelihood"]()[0])


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))))
