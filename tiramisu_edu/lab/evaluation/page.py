"""The completions behind the numbers: one HTML page with pictures inside, readable without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import torch
from PIL import Image
from torch import Tensor

from ...files import write_text
from ...world import World
from ..table import Table
from .cells import CellResult, cell_cases
from .measures import MEASURES
from .sheet import as_levels, damaged
from .significance import shown

SHOWN = 12  # pictures per row


class Strip(NamedTuple):
    """A labelled row of pictures: a PNG in base64, and its size on the page."""

    label: str
    data: str
    width: int
    height: int


def write_page(
    path: Path,
    results: Sequence[CellResult],
    tables: Sequence[Table],
    worlds: Mapping[str, World],
    facts: str,
    *,
    measures: Sequence[str] = ("mse",),
) -> None:
    """Write the page: the tables, then for each world and mask the first pictures with every method's completions.

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


def _rows(groups: dict[tuple, list[CellResult]], worlds: Mapping[str, World], measures: Sequence[str]) -> list[Strip]:
    """The rows of one world and mask."""
    first = next(iter(groups.values()))[0]
    cases = cell_cases(worlds[first.cell.world], first.cell)
    rows = [strip("truth", cases.images), strip("given", damaged(cases.images, cases.known))]
    for (steps, method), seeds in groups.items():
        own = [name for name in measures if name in seeds[0].metrics]
        means = [float(torch.cat([seed.metrics[name] for seed in seeds]).nanmean()) for name in own]
        values = ", ".join(shown(mean, ".3f") for mean in means)
        rows.append(strip(f"{method}, {steps} steps: {values}", seeds[0].images))
    return rows


def strip(label: str, images: Tensor) -> Strip:
    """The first pictures side by side, three times as large as they are, eight times if they are tiny."""
    levels = as_levels(images[:SHOWN]).expand(-1, 3, -1, -1).permute(2, 0, 3, 1).flatten(1, 2)  # (H, B W, 3)
    buffer = io.BytesIO()
    Image.fromarray(levels.numpy()).save(buffer, format="PNG", optimize=True)
    scale = 3 if levels.shape[0] >= 24 else 8
    data = base64.b64encode(buffer.getvalue()).decode()
    return Strip(label, data, scale * levels.shape[1], scale * levels.shape[0])
