"""What the slides and the printed book share: Markdown with its formulas drawn, and the outputs of executed cells.

Formulas become MathML, which browsers draw by themselves, and pictures are part of the page. So a page made here needs
no network and no other file.
"""

from __future__ import annotations

import argparse
import html
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from .lesson import Lesson, notebook_paths, read_lesson

KIT = Path(__file__).parent / "kit"  # style sheets and the script of the slides
FOLDED = re.compile(r"<details[^>]*><summary>(.*?)</summary>(.*?)</details>", re.DOTALL)
FIGURE = re.compile(r"<figure.*?</figure>", re.DOTALL)
SLIDER = '<div class="slider-picture"'
CHOICE = re.compile(r'<input type="radio"[^>]*>\s*(.*?)</label>', re.DOTALL)
SECTION = re.compile(r"\n+(?=##)")  # where the Markdown of a cell is cut
# A function after a letter, number or bracket, not a relation, which has its own space; one before no bracket.
BEFORE_LOG = re.compile(r"(?<!propto)(?<!\\ge)(?<!quad)(?<=[\w})*'])\s*(?=\\(?:log|exp)\b)")
AFTER_LOG = re.compile(r"(\\(?:log|exp))(?![a-z])\s*(?![\s(_^}]|\\(?:left|[bB]ig|sum|prod|[!,;])|$)")
LEGEND = re.compile(r"<b>Predict\.</b>\s*(.*?)</legend>", re.DOTALL)


class Moving(NamedTuple):
    """A picture with a slider: the HTML that moves it, and the frame that it stands on."""

    page: str
    frame: str


def formula(tex: str, display: str = "inline") -> str:
    """A formula as MathML, `display` "inline" or "block"; its number stands at a distance, functions at a small one."""
    spaced = AFTER_LOG.sub(r"\1\\,", BEFORE_LOG.sub(r"\\,", tex.strip()))
    return convert(re.sub(r"\\tag\{(.*?)\}", r"\\qquad\\text{(\1)}", spaced), display=display)


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body)


_MARKDOWN = MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True))


class Question(NamedTuple):
    """A prediction that a cell asks for."""

    text: str
    choices: tuple[str, ...]

    @property
    def items(self) -> str:
        """The choices as HTML, for a list."""
        return "".join(f"<li>{html.escape(choice)}</li>" for choice in self.choices)


class Fold(NamedTuple):
    """Something folded: its title, and what is inside, as HTML or Markdown like its source."""

    title: str
    inside: str


def to_html(markdown: str) -> str:
    """Markdown of a notebook as HTML with MathML."""
    return _MARKDOWN.render(markdown)


def inline(markdown: str) -> str:
    """One line of Markdown, as a heading or a title, without a paragraph around it."""
    return to_html(re.sub(r"^(\d+)\.", r"\1\\.", markdown)).strip().removeprefix("<p>").removesuffix("</p>")


def parts_of(cell: Any) -> Iterator[Question | Fold | Moving | str]:
    """What a code cell has shown: questions, folded answers, sliders, figures as HTML, and other text or HTML."""
    for output in cell.outputs:
        data = output.get("data", {})
        shown = data.get("text/html", "")
        if legend := LEGEND.search(shown):
            yield Question(html.unescape(legend[1]), tuple(html.unescape(choice) for choice in CHOICE.findall(shown)))
        elif shown.startswith(SLIDER):
            yield Moving(
                shown, next(frame for frame in FIGURE.findall(shown) if " hidden>" not in frame.split("<img")[0])
            )
        elif figures := FIGURE.findall(shown):
            yield from figures
        elif fold := FOLDED.search(shown):
            yield Fold(fold[1], fold[2])
        elif shown:
            yield shown
        elif "image/png" in data:
            yield f'<figure><img alt="" src="data:image/png;base64,{data["image/png"].strip()}"></figure>'
        elif output.output_type == "stream":
            yield f"<pre>{html.escape(output.text)}</pre>"
        elif "text/plain" in data and not data["text/plain"].startswith("Slider "):
            yield f"<pre>{html.escape(data['text/plain'])}</pre>"


def page(title: str, style: str, body: str, script: str = "") -> str:
    """A whole HTML page; `style` and `script` are names of files in `KIT`."""
    code = f"<script>\n{(KIT / script).read_text(encoding='utf-8')}</script>\n" if script else ""
    look = (KIT / style).read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{look}</style>\n</head>\n'
        f"<body>\n{body}\n{code}</body>\n</html>\n"
    )


def write_pages(lessons: Sequence[Lesson], folder: Path, page_of: Callable[[Lesson], str]) -> list[Path]:
    """Write a page for each notebook; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{lesson.path.stem}.html" for lesson in lessons]
    for lesson, path in zip(lessons, paths):
        path.write_text(page_of(lesson), encoding="utf-8")
    return paths


def asked_for(name: str, doc: str | None, arguments: Sequence[str] | None) -> tuple[list[Lesson], Path]:
    """What the command of a module of this package is given: the notebooks, and the folder to write to."""
    parser = argparse.ArgumentParser(prog=f"python -m teaching.{name}", description=(doc or "").split("\n")[0])
    parser.add_argument("notebooks", type=Path, help="folder of the executed notebooks")
    parser.add_argument("folder", type=Path, help="where the pages are written")
    given = parser.parse_args(arguments)
    if not (paths := notebook_paths(given.notebooks)):
        parser.error(f"no notebook of the course in {given.notebooks}")
    if given.folder.exists() and not given.folder.is_dir():
        parser.error(f"{given.folder} is a file: name a folder")
    return [read_lesson(path) for path in paths], given.folder
