"""Everything that only a card shows, in one command of less than three minutes: `python -m benchmarks.card`.

    exactness       log Z and marginals beside log space in float64 on the processor
    recorded        queries as CUDA graphs beside the same queries called, parameters changing in between
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
from tiramisu_edu.circuits.circuit import Circuit, accumulate
from tiramisu_edu.circuits.engines.cuda_graphs import Graphs, Query, Tensors
from tiramisu_edu.circuits.engines.messages import Evidence
from tiramisu_edu.circuits.learning import em_step
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.lab.common import chosen_device, machine_facts, write_text
from tiramisu_edu.lab.table import Table

LOG_Z, MARGINAL, COUNT = 1e-5, 1e-4, 1e-4  # allowed: relative to max(1, |log Z|), in probability, in samples
PEER_SIZES, PEER_BATCH = (256, 1024), 64


class Timed(NamedTuple):
    """A query, the floats that it cannot do without reading or writing, and the same query as a graph."""

    name: str
    batch: int
    call: Callable[[], object]
    num_floats: int
    graph: Callable[[], object] | None = None


def small_structures(g: torch.Generator) -> dict[str, RegionGraph]:
    """One of each kind: a tree, one with shared parameters, with shared regions, with products of many children."""
    sizes: dict[str, Any] = {"num_categories": 7, "num_latents": 20}
    return {
        "quad-tree": structures.quad_tree(4, 4, **sizes),
        "tree": binary_tree(33, **sizes),
        "tied hmm": structures.hmm(16, tied=True, **sizes),
        "rat": structures.rat_spn(16, depth=2, repetitions=3, generator=g, **sizes),
        "mixture": structures.mixture(9, **sizes),
    }


def exactness(device: torch.device) -> Table:
    """The largest errors of each structure under soft, peaked, missing, excluding and far evidence."""
    g, lines = torch.Generator().manual_seed(0), []
    for name, graph in small_structures(g).items():
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


def answers(circuit: Circuit, w: Tensor, x: Tensor, sums: list[Tensor]) -> list[Tensor]:
    """All that a circuit records: log Z, log p, log p of an E-step, marginals; and the E-step's counts."""
    for total in sums:
        total.zero_()
    tables = circuit.tables()
    log_p = accumulate(circuit, tables, x, sums)
    counts = torch.cat([(total * table).flatten() for total, table in zip(sums, tables)])
    return [circuit.log_partition(w), circuit.log_likelihood(x), log_p, circuit.posterior_marginals(w), counts]


@torch.no_grad()
def recorded(device: torch.device) -> Table:
    """A circuit that records its queries beside fresh copies, which call them; all results are held to the end.

    Bits may differ where sums are made by atomic additions: in counts, and in marginals below shared regions.
    """
    g, lines = torch.Generator().manual_seed(0), []
    for name, graph in small_structures(g).items():
        circuit, errors = Circuit(graph, generator=g).to(device), [0.0] * 5
        held: list[tuple[list[Tensor], list[Tensor]]] = []
        sums = [torch.zeros_like(table) for table in circuit.tables()]
        for turn in range(8):
            size = 5 - turn % 2, graph.num_variables
            w, x = torch.randn(*size, graph.num_categories, generator=g), torch.randint(-1, 7, size, generator=g)
            here, plain = (w.to(device), x.to(device)), copy.deepcopy(circuit)
            own_sums = [torch.zeros_like(total) for total in sums]
            held.append((answers(circuit, *here, sums), answers(plain, *here, own_sums)))
            for table in circuit.parameter_list:
                table.lerp_(table.roll(1, 1), 0.3)  # in place: each unit becomes a mixture of two
        for ours, theirs in held:
            errors = [max(e, float((a - b).abs().max())) for e, a, b in zip(errors, ours, theirs)]
        kept = vars(circuit.plan).get("_cuda_graphs", Graphs()).kept.values()
        num_graphs, most = sum(graph is not None for graph in kept), 0.0 if circuit.plan.is_tree else MARGINAL
        is_same = max(errors[:3]) == 0 and errors[3] <= most and errors[4] <= COUNT
        verdict = "same" if is_same and num_graphs == (8 if device.type == "cuda" else 0) else "WRONG"
        lines.append([name, num_graphs, *(f"{error:.1e}" for error in (max(errors[:3]), *errors[3:])), verdict])
    allowed = "log Z off by (0)", f"marginals off by (0 in a tree, ≤ {MARGINAL:g})", f"counts off by (≤ {COUNT:g})"
    columns = ["structure", "graphs", *allowed, ""]
    return Table("Recorded beside called", pd.DataFrame(lines, columns=columns))


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
    setup, graphs = Setup.make(graph, 1, device), Graphs()
    circuit, plan, tables, engine = setup.circuit, setup.circuit.plan, setup.circuit.tables(), setup.circuit.engine
    everything = sum(table.numel() for table in tables)
    sums = everything - sum(tables[n].numel() for n in {level.parameter for level in plan.levels if level.is_input})

    def forward(rows: Tensor) -> Tensors:
        return (engine.forward(plan, tables, Evidence.of(rows)).log_root,)

    def marginals(rows: Tensor) -> Tensors:
        evidence = Evidence.of(rows)
        messages, out = engine.forward(plan, tables, evidence, keep=True), torch.zeros_like(evidence.given)
        engine.backward(plan, tables, evidence, messages, marginals=out)
        return (out,)

    def counts(rows: Tensor) -> Tensors:
        evidence = Evidence.of(rows)
        messages = engine.forward(plan, tables, evidence, keep=True)
        engine.backward(plan, tables, evidence, messages, gradients=gradients)
        return (messages.log_root,)

    def both_ways(name: str, query: Query, rows: Tensor, num_floats: int) -> Timed:
        as_graph = partial(graphs, name, query, rows, [*tables, *gradients]) if device.type == "cuda" else None
        return Timed(name, len(rows), partial(query, rows), num_floats, as_graph)

    gradients = [torch.zeros_like(table) for table in tables]
    for batch in batches:
        w = torch.randn(batch, graph.num_variables, graph.num_categories, device=device)
        yield both_ways("marginals", marginals, w, 2 * everything + 2 * w.numel())
    x = torch.randint(graph.num_categories, (batch, graph.num_variables), device=device)
    step: dict[str, Any] = {"pseudocount": PSEUDOCOUNT, "step": 0.1, "gradients": gradients}
    yield both_ways("log-likelihood", forward, x, sums)
    yield both_ways("expected counts", counts, x, 4 * sums)
    yield Timed("mini-batch EM", batch, partial(em_step, circuit, x, **step), 4 * sums + 3 * everything)
    yield both_ways("forward, soft", forward, w, everything + w.numel())
    yield Timed("a joint sample each", batch, partial(circuit.sample, 1, w), everything + w.numel())


def copied_per_second(device: torch.device, num_floats: int) -> float:
    """Floats that the card reads and writes in a second."""
    a = torch.zeros(num_floats, device=device)
    b = torch.empty_like(a)
    return 2 * num_floats / alternate({"": lambda: b.copy_(a)}, budget=0.5, device=device)[""].minimum


def timings(name: str, graph: RegionGraph, batches: Sequence[int], device: torch.device, budget: float) -> Table:
    """Milliseconds of each query, called and as a graph, evidence and results copied.

    A mini-batch EM step and a joint sample wait for the card: they are no graph, but a step's expected counts are.
    """
    per_second, lines = copied_per_second(device, 2**28 if device.type == "cuda" else 2**22), []
    for query in queries(graph, batches, device):
        calls: dict[str, Callable[[], object]] = {"called": query.call}
        if query.graph is not None:
            calls["graph"] = query.graph
            for _ in range(3):  # the second call is recorded
                torch.testing.assert_close(query.graph(), query.call(), rtol=1e-5, atol=1e-6)
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
    say(recorded(device).markdown())
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
