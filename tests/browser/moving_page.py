"""The page of moving pictures without Sphinx: the HTML blocks of docs/moving.md in one file."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'


def write_moving_page(folder: Path) -> str:
    """Write the page; its address."""
    text = (DOCS / "moving.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\{raw\} html\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    page = folder / "moving.html"
    body = blocks.replace("_static/", (DOCS / "static").as_uri() + "/")
    page.write_text(f'{HEAD}<title>Moving</title><link rel="icon" href="data:,"><body>{body}', encoding="utf-8")
    return page.as_uri()
