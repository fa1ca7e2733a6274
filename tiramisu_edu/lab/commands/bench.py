"""`tiramisu-edu bench circuits | em`: how far the engine is from the machine's limit, and from other libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .options import option

HELP = "time the engine beside its limit and its peers"


@dataclass(frozen=True)
class Options:
    """Of `tiramisu-edu bench`."""

    what: str = option(help="queries beside their limit; or steps of EM (in a checkout)", choices=("circuits", "em"))
    peers: bool = option(False, "also every other library that is installed (extra: peers; in a checkout)")
    quick: bool = option(False, "small shapes, seconds instead of minutes: to see it work")
    threads: int = option(0, "of the processor; 0: as PyTorch chooses")
    device: str = option("cpu", "cpu, cuda, cuda:1")
    out: Path = option(Path("out/bench"), "folder for the tables", writes="folder")


def run(options: Options) -> int:
    """Measure engine, limits and peers; print the tables, and write them as files."""
    import importlib

    from ...errors import TiramisuError
    from .. import bench
    from ..common import chosen_device, machine_facts, write_json, write_text

    quick, device = options.quick, chosen_device(options.device)
    try:
        peers = importlib.import_module("benchmarks.rivals") if options.peers else None
        em = importlib.import_module("benchmarks.em") if options.what == "em" else None
    except ModuleNotFoundError:
        raise TiramisuError("em and --peers need a checkout: they lie in benchmarks/, outside the package") from None
    facts = machine_facts(device)
    print(facts, flush=True)
    if em:
        sizes = (16, 256) if quick else (128, 640)
        known = ["cirkit"] if peers and "cirkit" in peers.available_peers() else []
        sections = [facts, em.steps_table(["tiramisu-edu", *known], *sizes).markdown()]
    else:
        C, B, latents = (32, 16, [16, 32]) if quick else (256, 64, [32, 64, 128, 256])
        shape: dict[str, Any] = {"num_categories": C, "batch": B, "budget": 0.3 if quick else 3.0, "device": device}
        limits = bench.measure_limits(latents, **shape)
        title = "Ours over the batched matrix products that the query needs (smaller is better)"
        sections = [f"Machine: {facts}. C = {C}, B = {B}, float32; ms, minimum (median)."]
        sections.append(bench.rows_table(title, limits).markdown())
        rivals = []
        if peers:
            among = latents[:1] if quick else [256, 1024] if device.type == "cuda" else latents[1:3]
            rivals = peers.measure_peers(among, **shape)
            sections.append(bench.rows_table("The peer's time over ours (larger is better)", rivals).markdown())
        growth = bench.measure_growth(device=device, budget=shape["budget"], quick=quick)
        sections.append(bench.growth_table(growth).markdown())
        ratios = [row._asdict() | {"ratio": row.ratio} for row in limits + rivals]
        slopes = [g._asdict() | {"exponent": g.exponent} for g in growth]
        write_json(options.out / "circuits.json", {"machine": facts, "rows": ratios, "growth": slopes})
    text = "\n\n".join(section.rstrip() for section in sections) + "\n"
    write_text(options.out / f"{options.what}.md", text)
    print(f"{text}\nwritten: {options.out}")
    return 0
