"""What `tiramisu-edu evaluate` is asked for, as cells, and everything that the finished cells say, as files."""

from __future__ import annotations

import base64
import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import torch
from PIL import Image
from torch import Tensor

from ...errors import TiramisuError, known_name
from ...files import write_text
from ...masks import MASKS
from ...names import FOLDER
from ...world import World
from ..common import machine_facts
from ..table import Table
from ..zoo import worlds_of
from . import compute, sets, tables
from .cells import Cell, CellResult, Method, cell_cases
from .measures import ENERGY, MEASURES, chosen_measure, lpips_name
from .sanity import sanity_of
from .sheet import as_levels, damaged
from .significance import shown

SHOWN = 12  # pictures per row of the page


def planned_cells(options: Any) -> list[Cell]:
    """All cells that the options of `tiramisu-edu evaluate` ask for.

    Raises:
        TiramisuError: an unknown world, mask, method or measure, or a number that is too small.
    """
    methods = [Method.parse(text) for text in options.methods]
    for name in options.masks:
        known_name("mask", name, MASKS)
    worlds = worlds_of(options, options.worlds)
    if chosen_measure(options.measure, worlds.values()) in ENERGY and options.seeds < 2:
        raise TiramisuError("an energy score compares completions of one picture: ask for 2 --seeds or more")
    for world in worlds.values():
        available = len(world.images(options.split)[0])
        if not 2 <= options.images <= available:  # intervals are over images
            raise TiramisuError(
                f"the {options.split} split of {world.label} has {available} images: ask for 2 to {available}, "
                f"not {options.images}"
            )
    shared = options.images, options.split, options.eta, options.dtype
    own = (), (options.size, None if options.models is None else str(options.models))
    return [
        Cell(world, mask, method, t, seed, *shared, *own[world.startswith(FOLDER)])
        for world in options.worlds
        for mask in options.masks
        for t in options.steps
        for method in (*methods, *(Method(name) for name in sanity_of(worlds[world])))
        for seed in range(options.seed, options.seed + options.seeds)
    ]


def report(options: Any, done: list[CellResult]) -> None:
    """Print the tables, and write everything that the cells tell."""
    out, worlds = options.out, worlds_of(options, options.worlds)
    done, measure = sets.with_energy(done, worlds), chosen_measure(options.measure, worlds.values())
    frame = tables.per_image(done)
    samplers, measures = tables.of_samplers(frame), tables.judging(frame, measure)
    points = {m: {name: compute.points(samplers, name, m) for name in worlds} for m in measures}
    device = torch.device(options.device.partition(",")[0])
    steps = frame["steps"].unique()
    found = [*tables.of_numbers(frame, measure)]
    if len(steps) > 1:
        costs = "evaluations", "seconds"
        found += [
            compute.frontier(own, w, m, c) for m, each in points.items() for w, own in each.items() for c in costs
        ]
    realism = [sets.realism_and_diversity(done, w, t) for w in worlds.values() for t in steps]
    found += [table for table in realism if table is not None]
    command = shlex.join(["tiramisu-edu", *sys.argv[1:]])
    machine = f"{machine_facts(device)}, {options.workers} process(es), network in {options.dtype}"
    facts = "\n".join([command, machine, *(f"{name}: {lpips_name(world)}" for name, world in worlds.items())])
    text = f"```\n{facts}\n```\n\n" + "\n".join(table.markdown() for table in found)
    print("\n" + text)
    for name, content in (("table.md", text), ("table.tex", "\n".join(table.latex() for table in found))):
        write_text(out / name, content)
    tables.write_per_image(out / "per_image.csv", frame)
    write_page(out / "index.html", done, found, worlds, facts, measures)
    if len(steps) > 1:
        for m, each in points.items():
            compute.plot_frontier(out / f"frontier_{m}.png", each, m)
    print(f"page: {out / 'index.html'}")


def write_page(
    path: Path,
    results: Sequence[CellResult],
    tables: Sequence[Table],
    worlds: Mapping[str, World],
    facts: str,
    measures: Sequence[str],
) -> None:
    """Write one HTML page that needs no network: the tables, and the first pictures with every method's completions.

    Args:
        path: the HTML file.
        results: of all cells; pictures are those of the first seed.
        tables: in order.
        worlds: name -> the world whose pictures were repaired.
        facts: the command and the machine, printed at the top.
        measures: their means over the seeds are printed beside each row.
    """
    settings: dict[str, dict[tuple, list[CellResult]]] = {}
    for result in sorted(results, key=lambda r: r.cell.seed):
        cell = result.cell
        title = f"{cell.world}, mask {cell.mask} ({', '.join(MEASURES[m].title for m in measures)} beside each row)"
        settings.setdefault(title, {}).setdefault((cell.steps, cell.method), []).append(result)
    rows = [(title, _rows(groups, worlds, measures)) for title, groups in settings.items()]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    write_text(path, template.render(facts=facts, tables=tables, settings=rows))


def _rows(
    groups: dict[tuple, list[CellResult]], worlds: Mapping[str, World], measures: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of one world and mask."""
    first = next(iter(groups.values()))[0]
    cases = cell_cases(worlds[first.cell.world], first.cell)
    rows = [_strip("truth", cases.images), _strip("given", damaged(cases.images, cases.known))]
    for (steps, method), seeds in groups.items():
        own = [name for name in measures if name in seeds[0].metrics]
        means = [float(torch.cat([seed.metrics[name] for seed in seeds]).nanmean()) for name in own]
        values = ", ".join(shown(mean, ".3f") for mean in means)
        rows.append(_strip(f"{method}, {steps} steps: {values}", seeds[0].images))
    return rows


def _strip(label: str, images: Tensor) -> dict:
    """A labelled PNG in base64: the first pictures side by side, three times as large, eight times if they are tiny."""
    levels = as_levels(images[:SHOWN]).expand(-1, 3, -1, -1).permute(2, 0, 3, 1).flatten(1, 2)  # (H, B W, 3)
    buffer = io.BytesIO()
    Image.fromarray(levels.numpy()).save(buffer, format="PNG", optimize=True)
    scale = 3 if levels.shape[0] >= 24 else 8
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"label": label, "data": data, "width": scale * levels.shape[1], "height": scale * levels.shape[0]}
