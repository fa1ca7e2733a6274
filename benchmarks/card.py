"""Everything that only a card shows, in one command of less than three minutes: `python -m benchmarks.card`.

    exactness       log Z and marginals beside log space in float64 on the processor
    first calls     seconds of the first query of each batch size, compilation included
    queries         milliseconds, called and as a CUDA graph, beside the time that the card copies the same bytes in
    PyJuice         on the same circuits, where it is installed

With `--device cpu --quick` the same code runs on a processor, without graphs.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from benchmarks.limits import STRUCTURES, Setup, alternate, binary_tree, rows_table
from benchmarks.peers import ON_CUDA, PSEUDOCOUNT, available_peers
from benchmarks.rivals import measure_peers
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.engines.messages import Evidence
from tiramisu_edu.circuits.learning import accumulate, em_step
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.lab.common import chosen_device, machine_facts, write_text
from tiramisu_edu.lab.table import Table

LOG_Z, MARGINAL = 1e-5, 1e-4  # allowed: relative to max(1, |log Z|), and in probability
PEER_SIZES, PEER_BATCH = (256, 1024), 64


class Timed(NamedTuple):
    """A query, and the floats that it cannot do without reading or writing."""

    name: str
    batch: int
    call: Callable[[], object]
    num_floats: int


class Recorded:
    """A call as a CUDA graph: its kernels are recorded once and then launched together, into the same memory."""

    def __init__(self, call: Callable[[], object]):
        self.graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            call()  # what is compiled or remembered at the first call
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(self.graph):
            self.result = call()

    def __call__(self) -> object:
        self.graph.replay()
        return self.result


def exactness(device: torch.device) -> Table:
    """The largest errors of each structure under soft, peaked, missing, excluding and far evidence."""
    g, lines = torch.Generator().manual_seed(0), []
    sizes: dict[str, Any] = {"num_categories": 7, "num_latents": 20}
    graphs = {
        "quad-tree": structures.quad_tree(4, 4, **sizes),
        "tree": binary_tree(33, **sizes),
        "tied hmm": structures.hmm(16, tied=True, **sizes),
        "rat": structures.rat_spn(16, depth=2, repetitions=3, generator=g, **sizes),
        "mixture": structures.mixture(9, **sizes),
    }
    for name, graph in graphs.items():
        exact = Circuit(graph, generator=g).requires_grad_(False)
        circuit, exact = copy.deepcopy(exact).to(device), exact.double()
        exact.engine_name = "safe"
        soft = torch.randn(5, graph.num_variables, graph.num_categories, generator=g)
        excluding = soft.masked_fill(torch.rand(soft.shape, generator=g) < 0.3, -math.inf)
        excluding[..., 0] = 0.0
        w = torch.cat([soft, 30 * soft, torch.zeros_like(soft), excluding, soft - 200])
        truth = exact.log_partition(w.double())
        off = (circuit.log_partition(w.to(device)).cpu() - truth).abs() / truth.abs().clamp_min(1)
        marginals = circuit.posterior_marginals(w.to(device)).cpu() - exact.posterior_marginals(w.double())
        found = float(off.max()), float(marginals.abs().max())
        verdict = "exact" if found[0] <= LOG_Z and found[1] <= MARGINAL else "WRONG"
        lines.append([name, len(w), *(f"{error:.1e}" for error in found), verdict])
    columns = ["structure", "rows", f"log Z off by (≤ {LOG_Z:g})", f"marginals off by (≤ {MARGINAL:g})", ""]
    return Table("Beside log space and float64", pd.DataFrame(lines, columns=columns))


def first_calls(graph: RegionGraph, device: torch.device) -> Table:
    """Three batch sizes compile all there is; the others find it compiled. In a fresh process and an empty cache."""
    lines = []
    for batch in (1, 17, 33, 2, 16, 24, 64):
        setup = Setup.make(graph, batch, device)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            setup.circuit.posterior_marginals(setup.log_weights).cpu()
            seconds.append(f"{time.perf_counter() - start:.3f}")
        lines.append([batch, *seconds])
    return Table("Marginals, seconds", pd.DataFrame(lines, columns=["B", "first call", "second call"]))


def queries(graph: RegionGraph, batches: Sequence[int], device: torch.device) -> Iterator[Timed]:
    """Marginals at every batch size; at the largest all else that a circuit is asked."""
    setup = Setup.make(graph, 1, device)
    circuit, plan, tables, engine = setup.circuit, setup.circuit.plan, setup.circuit.tables(), setup.circuit.engine
    everything = sum(table.numel() for table in tables)
    sums = everything - sum(tables[n].numel() for n in {level.parameter for level in plan.levels if level.is_input})

    def forward(rows: Tensor) -> object:
        return engine.forward(plan, tables, Evidence.of(rows)).log_root

    def marginals(rows: Tensor) -> Tensor:
        evidence = Evidence.of(rows)
        messages, out = engine.forward(plan, tables, evidence, keep=True), torch.zeros_like(evidence.given)
        engine.backward(plan, tables, evidence, messages, marginals=out)
        return out

    for batch in batches:
        w = torch.randn(batch, graph.num_variables, graph.num_categories, device=device)
        yield Timed("marginals", batch, partial(marginals, w), 2 * everything + 2 * w.numel())
    x = torch.randint(graph.num_categories, (batch, graph.num_variables), device=device)
    gradients = [torch.zeros_like(table) for table in tables]
    step: dict[str, Any] = {"pseudocount": PSEUDOCOUNT, "step": 0.1, "gradients": gradients}
    yield Timed("log-likelihood", batch, partial(forward, x), sums)
    yield Timed("expected counts", batch, partial(accumulate, circuit, tables, x, gradients), 4 * sums)
    yield Timed("mini-batch EM", batch, partial(em_step, circuit, x, **step), 4 * sums + 3 * everything)
    yield Timed("forward, soft", batch, partial(forward, w), everything + w.numel())
    yield Timed("a joint sample each", batch, partial(circuit.sample, 1, w), everything + w.numel())


def copied_per_second(device: torch.device, num_floats: int) -> float:
    """Floats that the card reads and writes in a second."""
    a = torch.zeros(num_floats, device=device)
    b = torch.empty_like(a)
    return 2 * num_floats / alternate({"": lambda: b.copy_(a)}, budget=0.5, device=device)[""].minimum


def timings(name: str, graph: RegionGraph, batches: Sequence[int], device: torch.device, budget: float) -> Table:
    """Milliseconds of each query, called and as a graph; those that wait for the card cannot be one."""
    per_second, lines = copied_per_second(device, 2**28 if device.type == "cuda" else 2**22), []
    for query in queries(graph, batches, device):
        calls: dict[str, Callable[[], object]] = {"called": query.call}
        if device.type == "cuda" and query.name in ("marginals", "log-likelihood", "forward, soft"):
            calls["graph"] = recorded = Recorded(query.call)
            torch.testing.assert_close(recorded(), query.call(), rtol=1e-5, atol=1e-6)
        found = alternate(calls, budget=budget, device=device)
        bound = query.num_floats / per_second
        best = min(timing.minimum for timing in found.values())
        milliseconds = [f"{1e3 * found[kind].minimum:.3f}" if kind in found else "" for kind in ("called", "graph")]
        lines.append([query.name, query.batch, *milliseconds, f"{1e3 * bound:.3f}", f"{best / bound:.1f}"])
    columns = ["query", "B", "called ms", "graph ms", "copy of its bytes ms", "best / copy"]
    title = f"{name}, {graph.num_parameters / 1e6:.1f} M parameters, {4 * per_second / 1e12:.2f} TB/s copied"
    return Table(title, pd.DataFrame(lines, columns=columns))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables as they come, and write them at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small circuits: to see it work")
    parser.add_argument("--out", type=Path, default=Path("out/bench/card.md"))
    options = parser.parse_args(arguments)
    device, sections = chosen_device(options.device), []

    def say(text: str) -> None:
        print(text + "\n", flush=True)
        sections.append(text)

    K, small, budget = (16, 8, 0.1) if options.quick else (1024, 32, 1.0)
    tree = binary_tree(256, num_categories=8 * small, num_latents=small)
    say(machine_facts(device))
    say(exactness(device).markdown())
    say(first_calls(tree, device).markdown())
    say(timings(f"Tree, K = {small}", tree, (1, 64), device, budget).markdown())
    quad = STRUCTURES["quad-tree"](num_categories=K, num_latents=K)
    say(timings(f"Quad-tree, K = C = {K}", quad, (1, 8, 64), device, budget).markdown())
    if device.type == "cuda" and set(ON_CUDA) & available_peers().keys():
        shape: dict[str, Any] = {"num_categories": 256, "batch": PEER_BATCH, "budget": budget, "device": device}
        say(rows_table("The peer's time over ours (larger is better)", measure_peers(PEER_SIZES, **shape)).markdown())
    write_text(options.out, "\n\n".join(section.rstrip() for section in sections) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
