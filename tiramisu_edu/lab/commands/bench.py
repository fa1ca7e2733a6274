"""`tiramisu-edu bench circuits | em`: how far the engine is from the machine's limit, and from other libraries."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.circuits import Growth, Row, markdown, measure_growth, measure_limits
from benchmarks.figure import save_figure
from benchmarks.timing import machine_facts

from ...files import atomic_path
from .inpaint import chosen_device, write_json


def run_bench(options: argparse.Namespace) -> int:
    """Measure what was asked for."""
    return _bench_em(options) if options.what == "em" else _bench_circuits(options)


def _bench_em(options: argparse.Namespace) -> int:
    """One EM epoch, ours and the peers', each in a fresh process."""
    from benchmarks.em import measure_epochs
    from benchmarks.peers import available_peers

    sizes = {"num_latents": 16, "samples": 256} if options.quick else {"num_latents": 128, "samples": 10_000}
    names = ["tiramisu-edu", *(["cirkit"] if options.peers and "cirkit" in available_peers() else [])]
    lines = [f"EM, 16 x 16 variables, 256 categories, quad-tree K = {sizes['num_latents']}, {sizes['samples']} samples"]
    lines += [
        machine_facts(torch.device("cpu")),
        "",
        "| library | repeated | samples/s | peak memory MB | parameters MB |",
    ]
    lines.append("|---|---|---|---|---|")
    for e in measure_epochs(names, batch=64, **sizes):
        memory = f"{e.peak_bytes / 1e6:.0f} | {e.parameter_bytes / 1e6:.0f}"
        lines.append(f"| {e.library} | {e.query} | {e.samples_per_second:.0f} | {memory} |")
    print("\n".join(lines))
    with atomic_path(Path(options.out) / "em.md") as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _bench_circuits(options: argparse.Namespace) -> int:
    """Print the tables, and write them as Markdown, JSON and a figure."""
    device = chosen_device(options.device)
    budget = 0.3 if options.quick else 3.0
    C, B = (32, 16) if options.quick else (256, 64)
    latents = [16, 32] if options.quick else [32, 64, 128, 256]
    facts = machine_facts(device)
    print(facts, flush=True)
    sections = [f"Machine: {facts}. C = {C}, B = {B}, float32; ms, minimum (median)."]

    limits = measure_limits(latents, num_categories=C, batch=B, device=device, budget=budget)
    sections.append(
        "Ours over the batched matrix products that the query needs (smaller is better):\n\n" + markdown(limits)
    )
    print("\n" + sections[-1], flush=True)
    rivals: list[Row] = []
    if options.peers:
        from benchmarks.rivals import measure_peers

        among = latents[:1] if options.quick else [256, 1024] if device.type == "cuda" else latents[1:3]
        rivals = measure_peers(among, num_categories=C, batch=B, budget=budget, device=device)
        table = markdown(rivals) if rivals else f"No peer that computes on the {device.type} is installed."
        sections.append("The peer's time over ours (larger is better):\n\n" + table)
        print("\n" + sections[-1], flush=True)
    growth = measure_growth(device=device, budget=budget, quick=options.quick)
    sections.append(_growth_table(growth))
    print("\n" + sections[-1], flush=True)

    folder = Path(options.out)
    with atomic_path(folder / "circuits.md") as unfinished:
        unfinished.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    write_json(
        folder / "circuits.json",
        {
            "machine": facts,
            "rows": [row._asdict() | {"ratio": row.ratio} for row in limits + rivals],
            "growth": [g._asdict() | {"exponent": g.exponent} for g in growth],
        },
    )
    save_figure(folder / "circuits.png", limits, growth, facts)
    print(f"\nwritten: {folder}/circuits.md, circuits.json, circuits.png")
    return 0


def _growth_table(growth: list[Growth]) -> str:
    lines = ["Time of all marginals against one size at a time (slope in K against K²; goal 1.0 ± 0.1):", ""]
    lines += ["| size | values | ms | log-log slope |", "|---|---|---|---|"]
    for g in growth:
        milliseconds = ", ".join(f"{1e3 * t:.1f}" for t in g.seconds)
        lines.append(f"| {g.what} | {', '.join(map(str, g.sizes))} | {milliseconds} | {g.exponent:.2f} |")
    return "\n".join(lines)
