"""A deck of slides for each notebook, made from its own text and pictures.

    python -m teaching.slides notebooks build/slides

One HTML file for each, without network: arrow keys, a click or a swipe turn the slides, and printing gives one slide
a page. A deck has the title and the question, what you can do afterwards, the derived formulas each with the sentence
before it, every table and every figure with its caption, the predictions as question and answer, the exercises, the
recap and the next question.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .lesson import Lesson
from .notebooks import BEGIN
from .printing import FOLDED, SECTION, Fold, Moving, Question, asked_for, inline, page, parts_of, to_html, write_pages

LEFT_OUT = ("Five questions", "What comes next")  # sections; the second is the last slide
SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z*$1-9])")


def slides_of(lesson: Lesson, asked: str = "") -> list[str]:
    """The slides of a notebook, as HTML.

    Args:
        asked: the last paragraph of the notebook before it, which ends with a question; empty for the first.
    """
    cells = lesson.notebook.cells
    opening = cells[0].source.split("\n\n")[1]
    deck = [
        _slide(f"{lesson.number} · {lesson.title}", to_html(opening) + _question(asked), "title"),
        _slide("Afterwards you can", to_html(_bullets(re.split(r";\s", lesson.can)))),
    ]
    heading = lesson.title
    for cell in cells[1:]:
        if cell.cell_type == "code":
            if BEGIN not in cell.source and not heading.startswith(LEFT_OUT):
                deck += _of_code(heading, cell)
        else:
            for section in SECTION.split(FOLDED.sub("", cell.source).strip()):
                if section.startswith("### Exercise"):
                    deck.append(_exercise(section))
                    continue
                if found := re.match(r"#+ (.+)\n*", section):
                    heading = found[1]
                if not heading.startswith(LEFT_OUT):
                    deck += _of_text(heading, re.sub(r"^#+ .+\n*", "", section))
    return [*deck, _slide("The next question", _question(last_paragraph(lesson)), "title")]


def last_paragraph(lesson: Lesson) -> str:
    """How a notebook ends: where it leaves the reader, and the question of the next one."""
    return lesson.notebook.cells[-1].source.split("\n\n")[-1]


def _question(text: str) -> str:
    return f'<div class="question">{to_html(text)}</div>' if text else ""


def _slide(heading: str, body: str, kind: str = "") -> str:
    return f'<section class="{kind}">\n<h2>{inline(heading)}</h2>\n<div>\n{body}\n</div>\n</section>'


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line.strip()}" for line in lines if line.strip())


def _exercise(text: str) -> str:
    """The task without its hints, which stay in the notebook."""
    heading, body = text.removeprefix("### ").split("\n", 1)
    return _slide(heading, to_html(body), "exercise")


def _of_text(heading: str, text: str) -> Iterator[str]:
    """The recap as bullets, lists of reading as they are, else formulas with the sentence before them, and tables."""
    if heading == "In plain words":
        yield _slide(heading, to_html(_bullets(SENTENCE.split(text.replace("\n", " ")))))
    elif heading == "To read on":
        yield _slide(heading, to_html(text))
    else:
        shown: list[str] = []
        before = ""
        for paragraph in re.split(r"\n\n+", text):
            if paragraph.startswith("$$"):
                shown += [before, paragraph]
                before = ""
            elif paragraph.startswith("|"):
                yield _slide(heading, to_html(paragraph))
            else:
                before = SENTENCE.split(paragraph.replace("\n", " "))[-1]
            if len(shown) >= 4:
                yield _slide(heading, to_html("\n\n".join(shown)), "formulas")
                shown = []
        if shown:
            yield _slide(heading, to_html("\n\n".join(shown)), "formulas")


def _of_code(heading: str, cell: object) -> Iterator[str]:
    """A slide for each question, figure and answer, in this order; a row of small pictures is one slide."""
    figures: list[str] = []
    answers: list[str] = []
    for part in parts_of(cell):
        if isinstance(part, Question):
            asked = f'<p class="question">{html.escape(part.text)}</p>'
            yield _slide("Predict", f'{asked}<ol type="A">{part.items}</ol>', "ask")
        elif isinstance(part, Fold):
            asked = html.unescape(part.title).removesuffix(" What happened")
            answers.append(_slide("What happened", f"<p>{html.escape(asked)}</p><div>{part.inside}</div>", "answer"))
        elif isinstance(part, Moving):
            yield _slide(heading, part.page, "picture")
        elif part.startswith("<figure") and "flex:" in part.partition(">")[0]:
            figures.append(part)
        elif part.startswith("<figure"):
            yield _slide(heading, part, "picture")
    if figures:
        yield _slide(heading, f'<div class="row">{"".join(figures)}</div>', "picture")
    yield from answers


def deck(lesson: Lesson, asked: str = "") -> str:
    """The page with all slides of a notebook; `asked` as in `slides_of`."""
    slides = "\n".join(slides_of(lesson, asked))
    return page(f"{lesson.number} · {lesson.title}", "slides.css", f"<main>\n{slides}\n</main>", "slides.js")


def write_decks(lessons: Sequence[Lesson], folder: Path) -> list[Path]:
    """Write a deck for each notebook, all of the course's in order or some of them."""
    asked = {lesson.number + 1: last_paragraph(lesson) for lesson in lessons}
    return write_pages(lessons, folder, lambda lesson: deck(lesson, asked.get(lesson.number, "")))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command of this module."""
    print(*write_decks(*asked_for("slides", __doc__, arguments)), sep="\n")


if __name__ == "__main__":
    main()
