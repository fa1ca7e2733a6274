"""The completions behind the numbers: one HTML page with pictures inside, readable without a network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...files import atomic_path
from ...world import World
from .cells import CellResult, cell_cases
from .measures import MEASURES
from .sheet import damaged
from .table import Grid, Results, Setting

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
pre { white-space: pre-wrap; overflow-wrap: anywhere }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .6rem; text-align: right }
th { border-bottom: 2px solid #222 } td:first-child, th:first-child { text-align: left; white-space: nowrap }
tr:nth-child(even) { background: #f4f4f4 } details { margin: .5rem 0 } summary { cursor: pointer }
img { image-rendering: pixelated; display: block }
.row { display: flex; gap: .6rem; align-items: center; margin: 2px 0 }
.row span { width: 15rem; font-size: 14px }
"""


def write_page(
    path: str | Path,
    results: Results,
    grids: Sequence[Grid],
    worlds: dict[str, World],
    facts: str,
    *,
    shown: int = 12,
    measure: str = "mse",
) -> Path:
    """Write the page: the tables, then for each setting the first pictures with every method's completions.

    Args:
        path: the HTML file.
        results: all cells.
        grids: the tables, in order.
        worlds: world name -> the world whose pictures were repaired.
        facts: the command and the machine, printed at the top.
        shown: pictures per row.
        measure: printed beside each row.
    """
    parts = [f"<h1>Evaluation</h1><pre>{html.escape(facts)}</pre>", *map(_table, grids), "<h2>Completions</h2>"]
    for setting in results.settings:
        parts.append(_setting(results, setting, worlds[setting.world], shown, measure))
    body = "\n".join(parts)
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>Evaluation</title><style>{STYLE}</style>{body}"
    path = Path(path)
    with atomic_path(path) as unfinished:
        unfinished.write_text(page + "</html>\n", encoding="utf-8")
    return path


def _table(grid: Grid) -> str:
    def cell(text: str, tag: str) -> str:
        inner = html.escape(text.strip("*"))
        return f"<{tag}>{f'<b>{inner}</b>' if text.startswith('**') else inner}</{tag}>"

    lines = ["".join(cell(text, "th") for text in grid.header)]
    lines += ["".join(cell(text, "td") for text in row) for row in grid.rows]
    rows = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{html.escape(grid.title)}</h2><table>{rows}</table>"


def _setting(results: Results, setting: Setting, world: World, shown: int, measure: str) -> str:
    rows: list[str] = []
    for steps in results.steps:
        for method in results.methods:
            first = results.cells(setting, method, steps)[0]
            if not rows:
                cases = cell_cases(world, first.cell)
                rows.append(_row("truth", cases.images[:shown]))
                rows.append(_row("given", damaged(cases.images, cases.known)[:shown]))
            mean = results.mean(measure, [setting], method, steps)
            label = f"{method}, {steps} steps: {mean:.3f}"
            rows.append(_row(label, _images(first)[:shown]))
    title = f"{setting.world}, mask {setting.mask} ({MEASURES[measure].title} beside each row)"
    return f"<details><summary>{html.escape(title)}</summary>{''.join(rows)}</details>"


def _images(result: CellResult) -> Tensor:
    return result.completions.float() / 127.5 - 1


def _row(label: str, images: Tensor) -> str:
    """One strip of pictures as a PNG inside the page, three times as large as it is."""
    from PIL import Image

    strip = torch.cat(list(images.expand(-1, 3, -1, -1)), dim=2)
    levels = ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = levels.shape[0], levels.shape[1]
    scale = 3 if height >= 24 else 8
    alt = html.escape(label)
    size = f"width={scale * width} height={scale * height}"
    return f"<div class=row><span>{alt}</span><img alt='{alt}' {size} src='data:image/png;base64,{data}'></div>"
