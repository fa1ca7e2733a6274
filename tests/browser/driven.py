"""What tests of static pages share: a page that notes what went wrong and what it fetched, and three ways to move."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

QUIET = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
DOCS = Path(__file__).parents[2] / "docs"
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
WIDTHS = (1440, 390)
SECONDS = 120


@contextmanager
def browser_page(browser, width: int, script: str = "", **options) -> Iterator:
    """A page of a new reader; afterwards: no error on the console, nothing from elsewhere, no wider than the screen.

    Args:
        browser: from the fixture.
        width: of the window, in pixels.
        script: JavaScript that runs before those of the page.
        options: of the browser's context.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=True, **options)
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.add_init_script(script or "0")
    wrong, fetched = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: fetched.append(request.url))
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
    context.close()
    assert not wrong
    assert not [url for url in fetched if not url.startswith(("file://", "data:"))]


def write_page(folder: Path, body: str) -> str:
    """Write a page of the site's static files and `body`; its address."""
    page = folder / "page.html"
    static = (DOCS / "static").as_uri()
    links = '<link rel="icon" href="data:,"><link rel="stylesheet" href="_static/site.css">'
    links += '<script src="_static/predictions.js"></script>'
    page.write_text(f"{HEAD}<title>Page</title>{links}<body>{body}".replace("_static/", f"{static}/"), encoding="utf-8")
    return page.as_uri()


def moving_page(folder: Path) -> str:
    """Write the HTML blocks of docs/moving.md, without Sphinx; its address."""
    text = (DOCS / "moving.md").read_text(encoding="utf-8")
    return write_page(folder, "".join(re.findall(r"^```\{raw\} html\n(.*?)^```", text, re.DOTALL | re.MULTILINE)))


def moves(slider, watched) -> list[str]:
    """Move a slider by mouse, touch and keys; the ways that left its value or what is watched as they were."""

    def at(share):
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        return box["x"] + share * box["width"], box["y"] + box["height"] / 2

    ways = {
        "mouse": lambda: slider.page.mouse.click(*at(0.1)),
        "touch": lambda: slider.page.touchscreen.tap(*at(0.8)),
        "keys": lambda: slider.press("ArrowLeft"),
    }
    failed = []
    for name, way in ways.items():
        before = slider.input_value(), watched()
        way()
        slider.page.wait_for_timeout(50)
        after = slider.input_value(), watched()
        if any(old == new for old, new in zip(before, after)):
            failed.append(name)
    return failed
