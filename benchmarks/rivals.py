"""Ours beside other libraries on one and the same circuit, each query in alternation in one process."""

from __future__ import annotations

import torch
from tqdm.auto import tqdm

from benchmarks.peers import ON_CUDA, available_peers, ours
from tiramisu_edu.lab.bench import Row, alternate

GOALS = {"safe": 30.0, "cirkit": 10.0, "spflow": 30.0, "simple-einet": 30.0, "dynamax": 1.0, "pyjuice": 2.0}
HIGHER = {("pyjuice", "marginals"): 10.0}
CPU = torch.device("cpu")
CASES = (("quad", 64), ("latent_tree", 64), ("tied_hmm", 64))  # structure, variables


def measure_peers(
    latents: list[int],
    *,
    num_categories: int,
    batch: int,
    budget: float,
    device: torch.device = CPU,
    progress: bool = True,
) -> list[Row]:
    """Every installed peer, on every structure it can express: its time over ours, per query both know.

    Log-likelihoods are compared before anything is timed. On a CUDA device the peers are those of `ON_CUDA`, and no
    others.

    Raises:
        AssertionError: when a peer does not compute what we compute.
    """
    rows = []
    peers = [peer for peer in available_peers().values() if (peer.name in ON_CUDA) == (device.type == "cuda")]
    cases = [(peer, *case, k) for peer in peers for case in CASES for k in latents]
    for peer, structure, D, K in tqdm(cases, desc="peers", unit="circuit", disable=not progress):
        if structure not in peer.structures:
            continue
        sizes = {"D": D, "C": num_categories, "K": K, "B": batch, "device": str(device)}
        own = ours().prepare(structure, **sizes, generator=torch.Generator().manual_seed(0))
        theirs = peer.prepare(structure, **sizes, generator=torch.Generator().manual_seed(0))
        expected, found = (torch.as_tensor(calls["log_likelihood"]()).detach().cpu().float() for calls in (own, theirs))
        assert torch.allclose(found, expected, rtol=1e-4), f"{peer.name} on {structure}: another log-likelihood"
        for query in own.keys() & theirs.keys():
            times = alternate({"ours": own[query], peer.name: theirs[query]}, budget=budget, device=device)
            rows.append(
                Row(
                    structure,
                    K,
                    query,
                    f"{peer.name} {peer.version}",
                    times["ours"],
                    times[peer.name],
                    HIGHER.get((peer.name, query), GOALS[peer.name]),
                )
            )
    return sorted(rows, key=lambda row: (row.against, row.structure, row.num_latents, row.query))
