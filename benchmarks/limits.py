"""How fast the engine is, beside the matrix products it cannot do without, and how its time grows.

The physical limit of a circuit of dense layers is its batched matrix products: three per sum layer for a log-likelihood
with EM flows (forward, back to the children, flows over the batch), two per layer for all posterior marginals. They are
timed as raw `torch.bmm` calls on tensors of the same shapes. What the engine takes beyond them, the ratio, is its own.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit, accumulate
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.lab.table import Table

EM, MARGINALS = "log-likelihood + EM flows", "all marginals, soft evidence"
GOALS = {EM: {32: 5.0, 64: 2.5, 128: 1.5, 256: 1.5}, MARGINALS: {32: 1.8, 64: 1.8, 128: 1.8, 256: 1.2}}


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

    One thread on the processor is timed by its own seconds there, so that other programs do not count.
    """
    is_cuda = device is not None and device.type == "cuda"
    clock = time.perf_counter if is_cuda or torch.get_num_threads() > 1 else time.process_time
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    start = time.perf_counter()
    for round_number in range(100):
        for name, call in calls.items():
            begin = clock()
            call()
            if is_cuda:
                torch.cuda.synchronize(device)
            times[name].append(clock() - begin)
        if round_number >= 2 and time.perf_counter() - start > budget:
            break
    return {name: Timing(min(values), statistics.median(values)) for name, values in times.items()}


class Row(NamedTuple):
    """One measured ratio: `ours` over the limit, or a peer over ours."""

    structure: str
    num_latents: int
    query: str
    against: str
    ours: Timing
    theirs: Timing
    goal: float
    errors: tuple[float, ...] = ()  # how far ours and theirs are off the truth

    @property
    def ratio(self) -> float:
        """Ours over the limit (smaller is better), or the peer's time over ours (larger is better); of minima."""
        return self.ours.minimum / self.theirs.minimum if self.is_limit else self.theirs.minimum / self.ours.minimum

    @property
    def is_limit(self) -> bool:
        return self.against == "raw bmm"

    @property
    def meets_goal(self) -> bool:
        return self.ratio <= self.goal if self.is_limit else self.ratio >= self.goal


def rows_table(title: str, rows: Sequence[Row]) -> Table:
    """Times in milliseconds, ratios of minima, and the goal beside each."""

    def milliseconds(t: Timing) -> str:
        return f"{1e3 * t.minimum:.1f} ({1e3 * t.median:.1f})"

    off_by = [""] * max(len(row.errors) for row in rows)
    lines = [
        [r.structure, r.num_latents, r.query, r.against, milliseconds(r.ours), milliseconds(r.theirs)] for r in rows
    ]
    for row, line in zip(rows, lines):
        goal = ["", ""] if math.isnan(row.goal) else [f"{'≤' if row.is_limit else '≥'} {row.goal:g}"]
        line += [f"{row.ratio:.2f}", *goal, *(["met" if row.meets_goal else "short"] if len(goal) == 1 else [])]
        line += [f"{error:.1g}" if error < 1 else f"{error:.1f}" for error in row.errors] or off_by
    columns = ["structure", "K", "query", "against", "ours ms (median)", "theirs ms (median)", "ratio", "goal", ""]
    columns += ["ours off by", "theirs off by"] if off_by else []
    return Table(title, pd.DataFrame(lines, columns=columns))


def binary_tree(num_variables: int, *, num_categories: int, num_latents: int) -> RegionGraph:
    """A hidden tree of fixed shape, as an HCLT has without the need of data: variable i hangs from (i - 1) // 2."""
    parents = [-1, *((i - 1) // 2 for i in range(1, num_variables))]
    return structures.latent_tree(parents, num_categories=num_categories, num_latents=num_latents)


STRUCTURES: dict[str, Callable[..., RegionGraph]] = {
    "tree": lambda **sizes: binary_tree(256, **sizes),
    "quad-tree": lambda **sizes: structures.quad_tree(16, 16, **sizes),
}


class Setup(NamedTuple):
    """A circuit and evidence for it."""

    circuit: Circuit
    x: Tensor  # (B, D)
    log_weights: Tensor  # (B, D, C)

    @classmethod
    def make(cls, graph: RegionGraph, batch: int, device: torch.device, seed: int = 0) -> Setup:
        g = torch.Generator().manual_seed(seed)
        circuit = Circuit(graph, generator=g).requires_grad_(False).to(device)
        x = torch.randint(graph.num_categories, (batch, graph.num_variables), generator=g)
        log_weights = torch.randn(batch, graph.num_variables, graph.num_categories, generator=g)
        return cls(circuit, x.to(device), log_weights.to(device))

    def ours(self, query: str) -> Callable[[], object]:
        if query == EM:  # one batch of an E-step: the counts of many batches are added up in the same tensors
            tables = self.circuit.tables()
            gradients = [torch.zeros_like(table) for table in tables]
            return lambda: accumulate(self.circuit, tables, self.x, gradients)
        return lambda: self.circuit.posterior_marginals(self.log_weights)

    def raw_products(self, query: str) -> Callable[[], object]:
        """The batched matrix products of the query, on tensors of its shapes, and nothing else."""
        batch, tables = len(self.x), self.circuit.tables()
        levels = [level for level in self.circuit.plan.levels if query == MARGINALS or not level.is_input]
        weights = [tables[level.parameter] for level in levels]
        below = [torch.rand(w.shape[0], w.shape[2], batch, device=w.device) for w in weights]
        above = [torch.rand(w.shape[0], w.shape[1], batch, device=w.device) for w in weights]
        forward = [torch.empty_like(a) for a in above]
        back = [torch.empty_like(b) for b in below]
        flows = [torch.empty_like(w) for w in weights] if query == EM else []

        def run() -> None:
            for w, b, out in zip(weights, below, forward):
                torch.bmm(w, b, out=out)
            for w, a, out in zip(weights, above, back):
                torch.bmm(w.mT, a, out=out)
            for a, b, out in zip(above, below, flows):
                torch.bmm(a, b.mT, out=out)

        return run


def measure_limits(
    latents: Sequence[int], *, num_categories: int, batch: int, device: torch.device, budget: float
) -> list[Row]:
    """Ours beside the raw matrix products, for each structure, K and query."""
    rows = []
    for name, num_latents in tqdm([(name, k) for k in latents for name in STRUCTURES], desc="limits", unit="circuit"):
        setup = Setup.make(STRUCTURES[name](num_categories=num_categories, num_latents=num_latents), batch, device)
        for query in (EM, MARGINALS):
            calls = {"ours": setup.ours(query), "raw bmm": setup.raw_products(query)}
            found = alternate(calls, budget=budget, device=device)
            goal = GOALS[query].get(num_latents, math.nan)
            rows.append(Row(name, num_latents, query, "raw bmm", found["ours"], found["raw bmm"], goal))
    return rows


class Growth(NamedTuple):
    """Time of the marginal query against one size, all others fixed."""

    what: str
    sizes: list[int]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """b of the least-squares fit seconds = a sizes^b; in K against K^2."""
        x = [math.log(size**2 if self.what == "K" else size) for size in self.sizes]
        return statistics.linear_regression(x, [math.log(second) for second in self.seconds]).slope


def measure_growth(*, device: torch.device, budget: float, quick: bool) -> list[Growth]:
    """Double one size at a time, from where overhead no longer counts."""
    start = {"D": 32, "C": 64, "K": 32, "B": 16} if quick else {"D": 64, "C": 256, "K": 128, "B": 64}
    growth = []
    for what in tqdm(start, desc="growth", unit="size"):
        sizes = [start[what] * 2**n for n in range(3 if quick else 4)]
        seconds = []
        for size in sizes:
            now = start | {what: size}
            graph = binary_tree(now["D"], num_categories=now["C"], num_latents=now["K"])
            setup = Setup.make(graph, now["B"], device)
            seconds.append(alternate({"": setup.ours(MARGINALS)}, budget=budget, device=device)[""].minimum)
        growth.append(Growth(what, sizes, seconds))
    return growth


def growth_table(growth: Sequence[Growth]) -> Table:
    """Times in milliseconds and the slope, a line per size."""
    lines = [
        [g.what, ", ".join(map(str, g.sizes)), ", ".join(f"{1e3 * t:.1f}" for t in g.seconds), f"{g.exponent:.2f}"]
        for g in growth
    ]
    title = "Time of all marginals against one size at a time (slope in K against K²; goal 1.0 ± 0.1)"
    return Table(title, pd.DataFrame(lines, columns=["size", "values", "ms", "log-log slope"]))
