"""Samples per second and peak memory of EM, each library and each kind of step in a process of its own.

The paper's shape in small: 16 x 16 variables, 256 categories, a quad-tree. The same work is timed on both sides: the
E-step alone (expected counts of a batch), and a step of mini-batch EM (the same, and new parameters). Ours is also
timed over one epoch of full-batch EM. Each line has the log-likelihood that its library finds for one row.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks.peers import PSEUDOCOUNT, Problem, available_peers, make_problem, ours
from tiramisu_edu.circuits.learning import em_step
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.table import Table

GRID, CATEGORIES, BATCH, OURS = 16, 256, 64, "tiramisu-edu"
EPOCH, STEPS = "epoch", {"e_step": "E-step of 64", "em_step": "mini-batch EM, 64", "epoch": "full-batch epoch"}
COLUMNS = ["library", "repeated", "samples/s", "peak memory MB", "parameters MB", "log p of a row"]


def steps_table(libraries: Sequence[str], num_latents: int, samples: int) -> Table:
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
    problem = _problem(num_latents)
    circuit = copy.deepcopy(problem.circuit).double()
    circuit.engine_name = "safe"
    truth = f"log p of the row in log space and float64 {circuit.log_likelihood(problem.x[:1]).item():.2f}"
    title = f"EM, {GRID} x {GRID} variables, {CATEGORIES} categories, quad-tree K = {num_latents}; {truth}"
    return Table(title, pd.DataFrame(lines, columns=COLUMNS))


def _problem(num_latents: int) -> Problem:
    return make_problem("quad", GRID**2, CATEGORIES, num_latents, BATCH, torch.Generator().manual_seed(0))


def _peak_bytes() -> int:
    """The most memory that this process has held; 0 where /proc is missing."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else 0


def _measure(name: str, step: str, num_latents: int, samples: int) -> list[str]:
    """A line of the table; memory is what lies above that of the idle process."""
    peer, idle = ours() if name == OURS else available_peers()[name], _peak_bytes()
    problem = _problem(num_latents)
    calls = peer.build(problem)
    run = _epoch(problem, samples) if step == EPOCH else calls[step]
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds, done = 0.0, 0
    run()  # what is made once
    while done < samples:
        start = clock()
        run()
        seconds, done = seconds + clock() - start, done + (samples if step == EPOCH else BATCH)
    sizes = _peak_bytes() - idle, 4 * problem.circuit.graph.num_parameters
    log_p = float(calls["log_likelihood"]()[0])
    megabytes = [f"{size / 1e6:.0f}" for size in sizes]
    return [f"{peer.name} {peer.version}", STEPS[step], f"{done / seconds:.0f}", *megabytes, f"{log_p:.2f}"]


def _epoch(problem: Problem, samples: int) -> Callable[[], object]:
    """One epoch of full-batch EM, as `fit_em` does it."""
    circuit = problem.circuit
    data = problem.x.repeat(-(-samples // BATCH), 1)[:samples]
    gradients = [torch.zeros_like(table) for table in circuit.tables()]
    return lambda: em_step(circuit, data, pseudocount=PSEUDOCOUNT, step=0.0, gradients=gradients)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: tiramisu-edu bench em; for one line: python -m benchmarks.em LIBRARY STEP K SAMPLES")
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))))
