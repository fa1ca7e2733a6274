"""`tiramisu-edu fuse`: one picture from several, each ruling its region, at rising levels of coherence.

With --study: many pairs, measured and compared with controls.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks.timing import machine_facts

from ...errors import ImageError, TiramisuError
from ...files import atomic_path
from ...fusion import fuse
from ...pictures import load_image, open_picture
from ...steering.layouts import LAYOUTS, NOTHING, layout
from ..evaluation.sheet import HIDDEN_COLOUR, save_sheet
from .inpaint import chosen_device, write_json

if TYPE_CHECKING:
    from ...world import World


def run_fuse(options: argparse.Namespace) -> int:
    """Fuse the references, or held-out pairs, at every level of coherence; print log Z and draw one contact sheet."""
    from ..zoo import load

    if options.study:
        return _run_study(options)
    levels = _levels(options.coherence)
    if options.pairs < 1 or options.images < 1:
        raise TiramisuError("--pairs and --images must be at least 1")
    device = chosen_device(options.device)
    world = load(options.world).to(device)
    groups = _references(world, options)
    size = (groups[0].shape[2], groups[0].shape[3])
    named = options.regions in LAYOUTS
    regions = layout(options.regions, *size) if named else read_regions(options.regions, size)

    rows: dict[str, Tensor] = {}
    report = []
    print("pair  coherence  log Z of all demands  contradiction (nats)")
    for number, references in enumerate(tqdm(groups, desc="pairs", unit="pair", disable=len(groups) == 1)):
        drawn = []
        for level in levels:
            found = fuse(
                world,
                references.to(device),
                options.regions if named else regions.to(device),
                level,
                model=options.model,
                num_images=options.images,
                sampler=options.sampler,
                num_inference_steps=options.num_inference_steps,
                generator=torch.Generator().manual_seed(options.seed + number),
            )
            drawn.append(found.images.cpu())
            tqdm.write(f"{number:4}  {level:9.2f}  {found.log_z:20.1f}  {found.contradiction:20.1f}")
            report.append({"pair": number, "coherence": level, "log_z": found.log_z, "nats": found.contradiction})
        middle = report[-len(levels) + len(levels) // 2]["nats"]
        for copy in range(options.images):
            shown = [_ruled(references, regions)] + [images[copy : copy + 1] for images in drawn]
            rows[f"pair {number}\n{middle:+.1f} nats" + " " * copy] = torch.cat(
                [references, *(x.expand(1, *references.shape[1:]) for x in shown)]
            )
    title = f"{options.world}: references, their regions, then coherence " + ", ".join(f"{x:g}" for x in levels)
    title += f"; nats at {levels[len(levels) // 2]:g}"
    print(f"picture: {save_sheet(options.out or 'out/fuse.png', rows, title)}")
    write_json(options.json, {"fusions": report})
    return 0


def _run_study(options: argparse.Namespace) -> int:
    """Measure many pairs; write the tables, the figure and the numbers of each pair into a folder."""
    from studies.fusion_methods import METHODS
    from studies.fusion_report import fusion_tables, plot_fusion, write_pairs
    from studies.fusion_study import study

    from ..zoo import load

    if options.reference or options.regions not in LAYOUTS or options.device != "cpu":
        raise TiramisuError("--study takes held-out pairs, a layout by name, and the CPU")
    found = study(
        load(options.world),
        pairs=options.pairs,
        regions=options.regions,
        coherences=_levels(options.coherence),
        methods=[name for name in METHODS if options.model is None or name.startswith(options.model)],
        steps=options.num_inference_steps,
        seeds=options.images,
        seed=options.seed,
    )
    folder = options.out or Path("out/fusion")
    facts = f"{shlex.join(['tiramisu-edu', *sys.argv[1:]])}\n{machine_facts(torch.device('cpu'))}"
    text = f"```\n{facts}\n{found.seconds:.0f} seconds\n```\n\n"
    text += "\n".join(grid.markdown() for grid in fusion_tables(found))
    print("\n" + text)
    with atomic_path(folder / f"{options.world}.md") as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    write_pairs(folder / f"{options.world}.csv", found)
    print(f"picture: {plot_fusion(folder / f'{options.world}.png', found)}")
    return 0


def read_regions(path: str, size: tuple[int, int]) -> Tensor:
    """A label picture as (H, W) long: black is no region, the other grey levels are the references in rising order.

    Raises:
        TiramisuError: no such layout or file.
        ImageError: a picture of another size, or black everywhere.
    """
    if not Path(path).is_file():
        raise TiramisuError(f"unknown regions {path!r}: choose one of {', '.join(LAYOUTS)}, or a label picture")
    import numpy as np

    levels = torch.from_numpy(np.array(open_picture(path).convert("L"))).long()
    if tuple(levels.shape) != size:
        raise ImageError(f"{path}: the label picture is {tuple(levels.shape)}, the world's pictures are {size}")
    present = [level for level in levels.unique().tolist() if level > 0]
    if not present:
        raise ImageError(f"{path}: black everywhere, so no reference rules anything")
    labels = torch.full_like(levels, NOTHING)
    for number, level in enumerate(present):
        labels[levels == level] = number
    return labels


def _references(world: World, options: argparse.Namespace) -> list[Tensor]:
    """Groups of references (R, C, H, W): the files given, or pairs of held-out pictures."""
    example = world.images("test", 1)[0]
    if options.reference:
        pictures = [
            load_image(path, (example.shape[2], example.shape[3]), example.shape[1]) for path in options.reference
        ]
        for picture in pictures:
            if picture.notice:
                print(f"notice: {picture.notice}")
        return [torch.cat([picture.image for picture in pictures])]
    held_out = world.images("test")[0]
    chosen = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(options.seed))[: 2 * options.pairs]
    return list(held_out[chosen].split(2))


def _ruled(references: Tensor, regions: Tensor) -> Tensor:
    """(1, C, H, W): each reference in its region, the free part coloured (grey in a grey world)."""
    colour = torch.tensor(HIDDEN_COLOUR) * 2 - 1
    free = colour[:, None, None] if references.shape[1] == 3 else colour.mean()
    pasted = (free * torch.ones_like(references[:1])).clone()
    for number, reference in enumerate(references):
        pasted = torch.where(regions == number, reference, pasted)
    return pasted


def _levels(text: str) -> list[float]:
    try:
        levels = [float(part) for part in text.split(",")]
    except ValueError:
        raise TiramisuError(f"--coherence takes numbers from 0 to 1, with commas between them, not {text!r}") from None
    return levels
