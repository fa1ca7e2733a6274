"""What `tiramisu-edu bench circuits | em` does: it measures, prints the tables, and writes them as files."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks import em, limits, rivals
from benchmarks.peers import available_peers
from tiramisu_edu.files import write_text
from tiramisu_edu.lab.common import chosen_device, machine_facts, write_json


def run(options: Any) -> int:
    """Measure what the options of the command ask for."""
    device = chosen_device(options.device)
    facts = machine_facts(device)
    print(facts, flush=True)
    sections = steps(options, facts) if options.what == "em" else queries(options, facts, device)
    text = "\n\n".join(section.rstrip() for section in sections) + "\n"
    write_text(options.out / f"{options.what}.md", text)
    print(f"{text}\nwritten: {options.out}")
    return 0


def steps(options: Any, facts: str) -> list[str]:
    """Steps of EM, their times and memory, with `peers` also of cirkit."""
    sizes = (16, 256) if options.quick else (128, 640)
    known = ["cirkit"] if options.peers and "cirkit" in available_peers() else []
    return [facts, em.steps_table(["tiramisu-edu", *known], *sizes).markdown()]


def queries(options: Any, facts: str, device: torch.device) -> list[str]:
    """Queries beside the engine's limit, with `peers` also beside other libraries; how their time grows."""
    quick = options.quick
    C, B, latents = (32, 16, [16, 32]) if quick else (256, 64, [32, 64, 128, 256])
    shape: dict[str, Any] = {"num_categories": C, "batch": B, "budget": 0.3 if quick else 3.0, "device": device}
    found = limits.measure_limits(latents, **shape)
    title = "Ours over the batched matrix products that the query needs (smaller is better)"
    sections = [f"Machine: {facts}. C = {C}, B = {B}, float32; ms, minimum (median)."]
    sections.append(limits.rows_table(title, found).markdown())
    if options.peers:
        among = latents[:1] if quick else [256, 1024] if device.type == "cuda" else latents[1:3]
        beside = rivals.measure_peers(among, **shape)
        sections.append(limits.rows_table("The peer's time over ours (larger is better)", beside).markdown())
        found = found + beside
    growth = limits.measure_growth(device=device, budget=shape["budget"], quick=quick)
    sections.append(limits.growth_table(growth).markdown())
    ratios = [row._asdict() | {"ratio": row.ratio} for row in found]
    slopes = [g._asdict() | {"exponent": g.exponent} for g in growth]
    write_json(options.out / "circuits.json", {"machine": facts, "rows": ratios, "growth": slopes})
    return sections
