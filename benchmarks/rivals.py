"""Ours beside other libraries on one and the same circuit, each query in alternation in one process.

python -m benchmarks.rivals --peers dynamax --latents 64,128
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks.limits import Row, alternate, rows_table
from benchmarks.peers import ON_CUDA, Peer, Problem, available_peers, make_problem, ours
from tiramisu_edu.lab.common import machine_facts

GOALS = {"safe": 30.0, "cirkit": 10.0, "spflow": 30.0, "simple-einet": 30.0, "dynamax": 1.0, "pyjuice": 2.0}
HIGHER = {("pyjuice", "marginals"): 10.0}
NOT_COMPARED = (("pyjuice", "marginals"),)  # it answers another question, see there
CPU = torch.device("cpu")
CASES = (("quad", 64), ("latent_tree", 64), ("tied_hmm", 64))  # structure, variables
SOME = 4  # rows of soft evidence whose marginals are compared


def measure_peers(
    latents: Sequence[int],
    *,
    num_categories: int,
    batch: int,
    budget: float,
    device: torch.device = CPU,
    progress: bool = True,
    names: Sequence[str] = tuple(GOALS),
) -> list[Row]:
    """Every installed peer of these names, on every structure it can express: its time over ours, per query both know.

    Every value that is timed is compared with the truth, so that no row divides the times of two different answers
    without saying so. On a CUDA device the peers are those of `ON_CUDA`, and no others.
    """
    rows: list[Row] = []
    peers = [peer for name, peer in available_peers().items() if (name in ON_CUDA) == (device.type == "cuda")]
    peers = [peer for peer in peers if peer.name in names]
    cases = [(*case, K) for case in CASES for K in latents]
    for structure, D, K in tqdm(cases, desc="peers", unit="circuit", disable=not progress):
        able = [peer for peer in peers if structure in peer.structures]
        if not able:
            continue
        problem = make_problem(structure, D, num_categories, K, batch, torch.Generator().manual_seed(0), str(device))
        expected = truth(problem)
        for peer in able:
            rows += _beside_ours(peer, problem, expected, structure, budget)
    return sorted(rows, key=lambda row: (row.against, row.structure, row.num_latents, row.query))


def _beside_ours(peer: Peer, problem: Problem, expected: dict[str, Tensor], structure: str, budget: float) -> list[Row]:
    """A row for each query that both know."""
    own, theirs = ours().build(problem), peer.build(problem)
    num_latents = max(problem.circuit.plan.num_rows)
    rows = []
    for query in own.keys() & theirs.keys():
        errors = tuple(error(query, calls[query](), expected) for calls in (own, theirs))
        times = alternate({"ours": own[query], "theirs": theirs[query]}, budget=budget, device=problem.x.device)
        goal = HIGHER.get((peer.name, query), GOALS[peer.name])
        errors = (errors[0], math.nan) if (peer.name, query) in NOT_COMPARED else errors
        against = f"{peer.name} {peer.version}"
        rows.append(Row(structure, num_latents, query, against, times["ours"], times["theirs"], goal, errors))
    return rows


@torch.no_grad()
def truth(problem: Problem) -> dict[str, Tensor]:
    """Log-likelihoods (B,) and the marginals of the first rows, in log space and float64, where nothing is lost."""
    circuit = copy.deepcopy(problem.circuit).double()
    circuit.engine_name = "safe"
    marginals = circuit.posterior_marginals(problem.log_weights[:SOME].double())
    return {"log_likelihood": circuit.log_likelihood(problem.x).cpu(), "marginals": marginals.cpu()}


def error(query: str, result: Any, expected: dict[str, Tensor]) -> float:
    """How far a result is off: nats per row, or probability; NaN where there is nothing to compare it with."""
    if query == "smoothing":
        return math.nan
    result = result[1] if isinstance(result, tuple) else result
    found = torch.as_tensor(np.asarray(result.detach().cpu() if isinstance(result, Tensor) else result)).double()
    if query == "marginals":
        return float((found[:SOME] - expected["marginals"]).abs().max())
    if query in ("e_step", "em_step"):
        return float((found.sum() - expected["log_likelihood"].sum()).abs()) / len(expected["log_likelihood"])
    return float((found - expected["log_likelihood"]).abs().max())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of some peers, 256 categories and 64 rows, on one thread of the processor."""
    parser, installed = argparse.ArgumentParser(description=__doc__), available_peers()
    parser.add_argument("--peers", default=",".join(installed), help="names, with commas")
    parser.add_argument("--latents", default="64,128", help="units per region, with commas")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for each query")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    latents, names = [int(K) for K in options.latents.split(",")], options.peers.split(",")
    if missing := [name for name in names if name not in installed]:
        parser.error(f"not installed here: {', '.join(missing)}; there are {', '.join(installed)}")
    rows = measure_peers(latents, num_categories=256, batch=64, budget=options.budget, names=names)
    print(f"{machine_facts(CPU)}; C = 256, B = 64, float32; least ms of the processor (median)\n")
    print(rows_table("The peer's time over ours (larger is better)", rows).markdown())


if __name__ == "__main__":
    main()
