"""`tiramisu-edu bench em`: samples per second and peak memory of one EM epoch, each library in a process of its own.

The paper's shape in small: 16 x 16 variables, 256 categories, a quad-tree. Peers repeat their E-step (or, without one,
forward and backward) on batches of the same size.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import expected_counts, maximise
from tiramisu_edu.errors import TiramisuError

GRID, CATEGORIES = 256, 256


class Epoch(NamedTuple):
    """One epoch of one library: what was repeated, its rate, and the memory of the process above an idle one."""

    library: str
    query: str
    samples_per_second: float
    peak_bytes: int
    parameter_bytes: int


def measure_epochs(names: list[str], *, num_latents: int, samples: int, batch: int) -> list[Epoch]:
    """Run each library in turn in a fresh process, so that peaks do not mix.

    Raises:
        TiramisuError: when a process fails, with the end of what it printed.
    """
    epochs = []
    for name in names:
        command = [sys.executable, "-m", __name__, name, str(num_latents), str(samples), str(batch)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise TiramisuError(f"{name} failed: {done.stderr.strip()[-300:]}")
        epochs.append(Epoch(*json.loads(done.stdout.splitlines()[-1])))
    return epochs


def _peak_bytes() -> int:
    """The most memory that this process has held; ru_maxrss of Linux would start at the parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _run(name: str, num_latents: int, samples: int, batch: int) -> Epoch:
    from benchmarks.peers import available_peers, ours

    idle = _peak_bytes()
    generator = torch.Generator().manual_seed(0)
    if name == "tiramisu-edu":
        label, query, epoch = f"{name} {ours().version}", "EM epoch", _our_epoch(num_latents, samples, generator)
    else:
        peer = available_peers()[name]
        calls = peer.prepare("quad", GRID, CATEGORIES, num_latents, batch, generator)
        label, query = f"{peer.name} {peer.version}", "e_step" if "e_step" in calls else "forward_backward"
        calls[query]()
        epoch = lambda: [calls[query]() for _ in range(max(1, samples // batch))]  # noqa: E731
    start = time.perf_counter()
    epoch()
    rate = max(1, samples // batch) * batch / (time.perf_counter() - start)
    edges = 84 * num_latents**2 + num_latents + GRID * num_latents * CATEGORIES
    return Epoch(label, query, rate, _peak_bytes() - idle, 4 * edges)


def _our_epoch(num_latents: int, samples: int, generator: torch.Generator) -> Callable[[], object]:
    """One full-batch EM epoch on random data, as `fit_em` does it: expected counts, then new parameters."""
    graph = structures.quad_tree(16, 16, num_categories=CATEGORIES, num_latents=num_latents)
    circuit = Circuit(graph, generator=generator)
    data = torch.randint(CATEGORIES, (samples, GRID), generator=generator)
    expected_counts(circuit, data[:64])
    return lambda: maximise(circuit, expected_counts(circuit, data)[0], 0.1)


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], *map(int, sys.argv[2:]))))
