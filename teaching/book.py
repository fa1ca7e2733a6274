"""The course on paper: one page for the whole book, and a PDF of it where Chromium is installed.

    python -m teaching.book notebooks build/book

A chapter is a notebook with its text, the code that carries the idea, and what it showed; of a picture with a slider,
the first frame. Cells that import, assert and draw are left out. What is folded on the screen (answers to the recall
questions, hints, solutions, what happened after a prediction) stands at the end of its chapter.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tiramisu_edu.course.checks import coloured
from tiramisu_edu.errors import TiramisuError

from .lesson import Lesson
from .notebooks import BEGIN, PLUMBING, REASONING, solution_in, student_source
from .printing import FOLDED, SECTION, Fold, Moving, Question, asked_for, inline, page, parts_of, to_html, write_pages

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PDF_SECONDS = 300


class Chapter:
    """Collects what a notebook shows in place, and what is kept for the chapter's end.

    Attributes:
        text: HTML of the chapter, in order.
        folded: HTML of what stands at its end.
    """

    def __init__(self, lesson: Lesson) -> None:
        self.number = lesson.number
        self.text: list[str] = []
        self.folded: list[str] = []
        self.exercise, self.solution = "", ""
        for cell in lesson.notebook.cells:
            if cell.cell_type == "markdown":
                self._markdown(cell.source)
            else:
                self._code(cell)

    def keep(self, title: str, inside: str) -> str:
        """Put something at the chapter's end; the line that stands in its place."""
        self.folded.append(f'<div id="f{self.number}-{len(self.folded)}"><h4>{title}</h4>\n{inside}</div>')
        return f'<p class="folded"><a href="#f{self.number}-{len(self.folded) - 1}">{title}</a></p>'

    def _markdown(self, source: str) -> None:
        for section in SECTION.split(source):
            self._section(section)

    def _section(self, source: str) -> None:
        if found := re.match(r"### (Exercise \d+)", source):
            self.exercise = found[1]
        answer = source.startswith(REASONING)

        def fold(match: re.Match[str]) -> str:
            title = inline(match[1])
            if answer or title.startswith("Hint"):
                title = f"{self.exercise}: {title[0].lower()}{title[1:]}"
            return self.keep(title, (coloured(self.solution) if answer else "") + to_html(match[2]))

        self.text.append(to_html(FOLDED.sub(fold, source)))

    def _code(self, cell: object) -> None:
        source: str = cell.source  # type: ignore[attr-defined]
        self.solution = solution_in(source)
        if not source.startswith(PLUMBING):
            self.text.append(coloured(student_source(source)))
        for part in parts_of(cell):
            if isinstance(part, Question):
                asked = f"<b>Predict.</b> {html.escape(part.text)}<ul>{part.items}</ul>"
                self.text.append(f'<div class="ask">{asked}</div>')
            elif isinstance(part, Fold):
                self.text.append(self.keep(part.title, f"<div>{part.inside}</div>"))
            elif BEGIN not in source:
                self.text.append(part.frame if isinstance(part, Moving) else part)


def chapter(lesson: Lesson) -> str:
    """A notebook as a chapter."""
    made = Chapter(lesson)
    end = f"<h2>Folded in notebook {lesson.number}</h2>\n" + "\n".join(made.folded)
    return f'<article id="c{lesson.number}">\n{"".join(made.text)}\n<section class="end">{end}</section>\n</article>'


def book(lessons: Sequence[Lesson]) -> str:
    """The whole course as one page."""
    contents = "".join(
        f'<li value="{lesson.number}"><a href="#c{lesson.number}">{html.escape(lesson.title)}</a>'
        f"{to_html(lesson.can)}</li>"
        for lesson in lessons
    )
    cover = (
        "<header><h1>Image inpainting by tractable steering</h1><p>A course on <i>Image Inpainting via Tractable "
        "Steering of Diffusion Models</i> (A. Liu, M. Niepert, G. Van den Broeck, ICLR 2024, arXiv 2401.03349).</p>"
        "<p>Cells that import, assert and draw are left out. Answers, hints and solutions stand at the end of each "
        f"chapter.</p><ol>{contents}</ol></header>"
    )
    return page("Image inpainting by tractable steering", "book.css", cover + "\n".join(map(chapter, lessons)))


def write_chapters(lessons: Sequence[Lesson], folder: Path) -> None:
    """Write a page for each notebook."""
    write_pages(lessons, folder, lambda each: page(f"{each.number} · {each.title}", "book.css", chapter(each)))


def print_pdf(source: Path, target: Path) -> bool:
    """Print a page to a PDF with Chromium; False where there is none.

    Raises:
        TiramisuError: the browser made no PDF.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return False
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command += [f"--print-to-pdf={target.resolve()}", source.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PDF_SECONDS, check=False)
    if done.returncode or not target.exists():
        raise TiramisuError(f"{browser} made no PDF of {source}: {done.stderr.strip().splitlines()[-1:]}")
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """The command of this module."""
    lessons, folder = asked_for("book", __doc__, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiramisu.html"
    path.write_text(book(lessons), encoding="utf-8")
    print(path)
    if print_pdf(path, path.with_suffix(".pdf")):
        print(path.with_suffix(".pdf"))
    else:
        print(f"no Chromium here: open {path} in a browser and print it")


if __name__ == "__main__":
    main()
