"""`tiramisu-edu fuse`: one picture from several, each ruling its region, at rising levels of coherence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...names import WORLDS
from .options import WorldOptions, option

HELP = "one picture from several, each ruling its region"


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu fuse`."""

    world: str = option("faces", f"one of {', '.join(WORLDS)}, or folder:PATH")
    reference: tuple[Path, ...] | None = option(
        None, "pictures to fuse; None: pairs of held-out images", nargs="+", metavar="FILE"
    )
    regions: str = option("left-right", "a layout, or a label picture", metavar="NAME|FILE")
    coherence: tuple[float, ...] = option((0.1, 0.3, 0.5, 0.7, 0.9), "0: ignore, 1: obey exactly", metavar="X,X")
    temperature: tuple[float, ...] | None = option(
        None, "in place of coherence, as published: demands p^(1 / X); 0.1 there", metavar="X,X"
    )
    model: str | None = option(None, "None: codes where there are some", choices=("codes", "pixels"))
    pairs: int = option(1, "how many held-out pairs")
    images: int = option(1, "completions per pair and level")
    sampler: str = option("ddim", "that carries the guide")
    num_inference_steps: int = option(25, "denoising steps", metavar="T")
    seed: int = option(0, "of pairs and noise")
    json: Path | None = option(None, "also write the numbers to FILE", metavar="FILE", writes="file")
    out: Path = option(Path("out/fuse.png"), "the sheet; each completed picture goes beside it", writes="picture")


def run(options: Options) -> int:
    """Fuse the references, or held-out pairs, at every level of coherence; print log Z and draw one contact sheet."""
    import torch
    from tqdm.auto import tqdm

    from ...fusion import fuse
    from ...steering.layouts import LAYOUTS
    from ..common import completed_paths, save_completed, write_json
    from ..evaluation.sheet import save_sheet
    from ..repair import pasted, read_regions, reference_groups
    from ..zoo import world_of

    world, levels = world_of(options), options.temperature or options.coherence
    scale = "temperature" if options.temperature else "coherence"
    groups = reference_groups(world, options.reference, options.pairs, seed=options.seed)
    regions = read_regions(options.regions, (groups[0].shape[2], groups[0].shape[3]))
    ruled = options.regions if options.regions in LAYOUTS else regions.to(world.device)
    settings: dict[str, Any] = {"model": options.model, "num_images": options.images, "sampler": options.sampler}
    settings["num_inference_steps"] = options.num_inference_steps
    copies = range(1, options.images + 1)
    paths = [completed_paths(options, [f"pair{n}_{x}_{c}" for x in levels for c in copies]) for n in range(len(groups))]
    rows: dict[str, torch.Tensor] = {}
    report: list[dict] = []
    for number, references in enumerate(tqdm(groups, desc="pairs", unit="pair", disable=len(groups) == 1)):
        drawn: list[torch.Tensor] = []
        for level in levels:
            generator = torch.Generator().manual_seed(options.seed + number)
            found = fuse(world, references.to(world.device), ruled, generator=generator, **settings | {scale: level})
            drawn.append(found.images.cpu())
            if not report:
                tqdm.write(f"pair  {scale:>9}  log Z of all demands  contradiction (nats)")
            tqdm.write(f"{number:4}  {level:9.2f}  {found.log_z:20.1f}  {found.contradiction:20.1f}")
            report.append({"pair": number, scale: level, "log_z": found.log_z, "nats": found.contradiction})
        tqdm.write(save_completed(paths[number], torch.cat(drawn)))
        middle = report[-len(levels) + len(levels) // 2]["nats"]
        for copy in range(options.images):
            shown = [pasted(references, regions)] + [images[copy : copy + 1] for images in drawn]
            line = torch.cat([references, *(x.expand(1, *references.shape[1:]) for x in shown)])
            rows[f"pair {number}\n{middle:+.1f} nats" + " " * copy] = line
    title = f"{world.label}: references, their regions, then {scale} " + ", ".join(f"{x:g}" for x in levels)
    print(f"picture: {save_sheet(options.out, rows, f'{title}; nats at {levels[len(levels) // 2]:g}')}")
    write_json(options.json, {"fusions": report})
    return 0
