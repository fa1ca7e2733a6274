"""Two checkouts of this package on the same circuits: seconds of the processor and values, old beside new.

    python -m benchmarks.checkouts OLD NEW --out docs/benchmarks/checkouts.md

Each checkout computes in a process of its own, in turns, on one thread, and is timed by its own seconds on the
processor, so that other programs disturb neither. The values of all queries but samples are compared.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tiramisu_edu.circuits import learning, structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.regions import RegionGraph

DIGITS = [-1, *((i - 1) // 2 for i in range(1, 64))]
GRAPHS: dict[str, Callable[..., RegionGraph]] = {
    "tree, 64 variables, C = 17": lambda K: structures.latent_tree(DIGITS, num_categories=17, num_latents=K),
    "quad-tree 16 x 16, C = 256": lambda K: structures.quad_tree(16, 16, num_categories=256, num_latents=K),
    "tied HMM, 64 variables, C = 256": lambda K: structures.hmm(64, num_categories=256, num_latents=K, tied=True),
}
QUERIES = ("log-likelihood", "EM flows", "mini-batch EM", "marginals", "most probable", "8 samples each")
CASES = [(graph, K, query) for graph, K in zip(GRAPHS, (16, 128, 64)) for query in QUERIES]
SLOW = [("quad-tree 16 x 16, C = 256", 128, "most probable"), ("tied HMM, 64 variables, C = 256", 64, "most probable")]
SECONDS = 0.4  # of each turn
TURNS = 4


def call(graph: str, num_latents: int, query: str) -> Callable[[], Any]:
    """A query on a random circuit with 64 rows of random data or evidence, through what all versions have."""
    g = torch.Generator().manual_seed(0)
    circuit = Circuit(GRAPHS[graph](num_latents), generator=g).requires_grad_(False)
    x = torch.randint(circuit.num_categories, (64, circuit.num_variables), generator=g)
    w = torch.randn(64, circuit.num_variables, circuit.num_categories, generator=g)
    tables = circuit.tables()
    counts = [torch.zeros_like(table) for table in tables]
    cleared: dict[str, Any] = {"gradients": [torch.zeros_like(table) for table in tables]}

    def em_step() -> Tensor:
        if hasattr(learning, "em_step"):
            return torch.tensor(learning.em_step(circuit, x, pseudocount=0.1, step=0.0, **cleared))
        old: Any = learning  # until the two were one
        keeps = {"out": counts} if "out" in signature(old.expected_counts).parameters else {}
        made, log_likelihood = old.expected_counts(circuit, x, **keeps)
        old.maximise(circuit, made, 0.1, 0.0)
        return torch.tensor(log_likelihood)

    return {
        "log-likelihood": lambda: circuit.log_likelihood(x),
        "EM flows": lambda: learning.accumulate(circuit, tables, x, counts),
        "mini-batch EM": em_step,
        "marginals": lambda: circuit.posterior_marginals(w),
        "most probable": lambda: circuit.most_probable(w),
        "8 samples each": lambda: circuit.sample(8, w, generator=torch.Generator().manual_seed(0)),
    }[query]


def serve() -> None:
    """Answer lines `case folder` with the least milliseconds of a call; its value goes to a file in the folder."""
    torch.set_num_threads(1)
    made: dict[int, Callable[[], Any]] = {}
    for line in sys.stdin:
        number, folder = line.split()
        if int(number) not in made:
            made = {int(number): call(*CASES[int(number)])}
        run = made[int(number)]
        torch.save(run(), Path(folder) / "value.pt")
        best, end = math.inf, time.perf_counter() + SECONDS
        while best == math.inf or time.perf_counter() < end:
            start = time.process_time()
            run()
            best = min(best, time.process_time() - start)
        print(1e3 * best, flush=True)


def measure(old: Path, new: Path) -> list[str]:
    """A line of the table for each case."""
    folders = [Path(tempfile.mkdtemp()) for _ in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"},
        )
        for path in (old, new)
    ]
    lines = []
    for number, (graph, num_latents, query) in enumerate(CASES):
        if (graph, num_latents, query) in SLOW:
            continue
        times = [math.inf, math.inf]
        for _ in range(TURNS):
            for i, process in enumerate(processes):
                print(f"{number} {folders[i]}", file=process.stdin, flush=True)
                assert process.stdout is not None
                times[i] = min(times[i], float(process.stdout.readline()))
        values = [torch.load(folder / "value.pt").double() for folder in folders]
        difference = "other draws" if "samples" in query else f"{float((values[0] - values[1]).abs().max()):.1g}"
        row = [graph, num_latents, query, *(f"{t:.2f}" for t in times), f"{times[0] / times[1]:.2f}", difference]
        lines.append(f"| {' | '.join(map(str, row))} |")
        print(lines[-1], flush=True)
    for process in processes:
        process.terminate()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args()
    head = ["circuit", "K", "query", "old ms", "new ms", "old / new", "largest difference"]
    table = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *measure(options.old, options.new)]
    if options.out:
        options.out.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
