"""The pages of the site that are made from the notebooks and the exercises themselves: see conf.py."""

from __future__ import annotations

import html
import itertools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat
import notation
from formulas import formula_table
from sheet import sheet

from teaching.book import write_chapters
from teaching.lesson import Lesson, notebook_paths, read_lesson
from teaching.mutants import Trial, try_mistakes
from teaching.notebooks import BEGIN, student
from teaching.slides import write_decks

BRANCH = "main"
BADGES = {
    "Colab": "https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{name}",
    "Binder": "https://mybinder.org/v2/gh/{repository}/{branch}?labpath=notebooks/{name}",
}
TAKE = {  # what a reader may take along -> where it lies on the site
    "Notebook": "download/{stem}.ipynb",
    "without solutions": "download/student/{stem}.ipynb",
    "slides": "slides/{stem}.html",
    "to print": "print/{stem}.html",
}
MOVING = Path(__file__).parent / "moving.md"
BOX, GAP, COLUMNS = (164, 62), (22, 58), 4  # of the reading-order graph, in pixels


def write_pages(notebooks: Path, docs: Path, repository: str) -> list[Lesson]:
    """Copy the notebooks into `docs/notebooks`, and write `docs/generated` and `docs/extra`.

    Args:
        notebooks: folder of the executed notebooks.
        docs: the folder of conf.py.
        repository: "owner/name" on GitHub for the launch buttons; empty: no buttons.
    """
    lessons = [read_lesson(path) for path in notebook_paths(notebooks)]
    for name in ("notebooks", "generated", "extra"):
        shutil.rmtree(docs / name, ignore_errors=True)
        (docs / name).mkdir()
    for lesson in lessons:
        nbformat.write(page_of(lesson, repository), docs / "notebooks" / lesson.path.name)
    write_extra(lessons, docs / "extra")
    pages = {
        "graph.md": reading_order(lessons),
        "lessons.md": lesson_table(lessons),
        "notebooks.md": contents(lessons),
        "formulas.md": formula_table(),
        "timings.md": timings(lessons),
        "mistakes.md": "\n".join(mistakes(lesson) for lesson in lessons),
        "buttons.md": button_list(lessons, repository),
        "takeaway.md": take_table(lessons),
        "notation.md": notation.table(),
    }
    for name, text in pages.items():
        (docs / "generated" / name).write_text(text + "\n", encoding="utf-8")
    return lessons


def write_extra(lessons: Sequence[Lesson], folder: Path) -> None:
    """What the site holds beside its pages: notebooks to download, slides, print editions, the cheat sheet."""
    for lesson in lessons:
        student(lesson.path, folder / "download" / "student")
        shutil.copy(lesson.path, folder / "download")
    write_decks(lessons, folder / "slides")
    write_chapters(lessons, folder / "print")
    (folder / "cheatsheet.html").write_text(sheet(), encoding="utf-8")


def take(lesson: Lesson, up: str = "") -> list[str]:
    """Links to what a reader may take along of a notebook; `up` leads from the page to the root of the site."""
    found = []
    for name, place in TAKE.items():
        attribute = " download" if place.startswith("download") else ""
        found.append(f'<a href="{up}{place.format(stem=lesson.path.stem)}"{attribute}>{name}</a>')
    return found


def take_table(lessons: Sequence[Lesson]) -> str:
    """All that can be taken along."""
    rows = [f"| {lesson.number} · {lesson.title} | {' | '.join(take(lesson))} |" for lesson in lessons]
    return "\n".join(["| | solved | to solve | slides | print |", "|---|---|---|---|---|", *rows])


def buttons(lesson: Lesson, repository: str) -> str:
    """Links that open a notebook elsewhere."""
    at = {"repository": repository, "branch": BRANCH, "name": lesson.path.name}
    return " · ".join(f"[Open in {place}]({address.format(**at)})" for place, address in BADGES.items())


def button_list(lessons: Sequence[Lesson], repository: str) -> str:
    """The buttons of all notebooks, or why there are none."""
    if not repository:
        return "This copy of the site was built without the name of a repository, so it has no buttons."
    return "\n".join(f"- {lesson.number} · {lesson.title}: {buttons(lesson, repository)}" for lesson in lessons)


def page_of(lesson: Lesson, repository: str) -> nbformat.NotebookNode:
    """A copy of the notebook with solutions folded away, and with downloads and buttons below its header."""
    notebook = nbformat.read(lesson.path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and BEGIN in cell.source:
            cell.metadata.update({"tags": ["hide-cell"], "mystnb": {"code_prompt_show": "Show a solution"}})
    moving = f"{{nb}}`{lesson.number}`" in MOVING.read_text(encoding="utf-8")
    links = [*take(lesson, "../"), *['<a href="../moving.html">pictures that move</a>'] * moving]
    block = f'<div class="takeaway">{" · ".join(links)}</div>'
    below = f"{block}\n\n{buttons(lesson, repository)}" if repository else block
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(below, id="takeaway"))
    return notebook


def contents(lessons: Sequence[Lesson]) -> str:
    """The table of contents of the notebooks."""
    entries = "\n".join(f"{lesson.number} · {lesson.title} <notebooks/{lesson.path.stem}>" for lesson in lessons)
    return f"```{{toctree}}\n:caption: The course\n:hidden:\n\n{entries}\n```"


def lesson_table(lessons: Sequence[Lesson]) -> str:
    """What each notebook is good for, what it needs and how long it takes."""
    rows = [
        f"| {lesson.number} | [{lesson.title}](/notebooks/{lesson.path.stem}.ipynb) | {lesson.can} | {lesson.need} "
        f"| {lesson.reading} min | {lesson.question} |"
        for lesson in lessons
    ]
    head = "| | notebook | afterwards you can | you need | reading | it ends by asking |\n|---|---|---|---|---|---|"
    return "\n".join([head, *rows])


def timings(lessons: Sequence[Lesson]) -> str:
    """Minutes to read and to solve, seconds to run."""
    rows = [
        f"| {lesson.number} · {lesson.title} | {lesson.reading} | {sum(t.minutes for t in lesson.tasks)} "
        f"| {', '.join(f'{t.minutes} ({t.difficulty})' for t in lesson.tasks)} | {lesson.running} |"
        for lesson in lessons
    ]
    reading, solving = (sum(values) for values in zip(*((x.reading, sum(t.minutes for t in x.tasks)) for x in lessons)))
    head = (
        "| notebook | reading, min | exercises, min | each, min (difficulty 1–5) | running, s |\n|---|---|---|---|---|"
    )
    total = f"| **all {len(lessons)}** | {reading} | {solving} | | {sum(lesson.running for lesson in lessons)} |"
    return "\n".join([head, *rows, total])


def mistakes(lesson: Lesson) -> str:
    """The listed wrong answers of a notebook and what the student reads, folded away per exercise."""
    trials = try_mistakes(lesson.number)
    parts = [f"### {lesson.number} · {lesson.title}\n"]
    for task in lesson.tasks:
        exercise = lesson.exercises[task.check]
        own = [trial for trial in trials if trial.check == task.check]
        asked = re.sub(r"([*_|$`<\\])", r"\\\1", exercise.task)  # as plain text
        parts.append(f"**Exercise {task.number} · {task.title}.** `{exercise.name}`: {asked}.\n")
        parts.append(_folded(f"{len(own)} wrong answers and what each is told", "".join(map(_trial, own))))
    return "\n".join(parts)


def _folded(summary: str, inside: str) -> str:
    return f"```{{raw}} html\n<details><summary>{summary}</summary>\n{inside}</details>\n```\n"


def _trial(trial: Trial) -> str:
    code = f"<p>Answered: <code>{html.escape(trial.code)}</code></p>\n" if trial.code else ""
    return f"{code}<pre>{html.escape(trial.message)}</pre>\n"


def reading_order(lessons: Sequence[Lesson]) -> str:
    """The graph of the course as an SVG: a line along the reading order, dashed lines from what else is needed."""
    place = {lesson.number: (k % COLUMNS, k // COLUMNS) for k, lesson in enumerate(lessons)}
    width = COLUMNS * (BOX[0] + GAP[0])
    height = (1 + (len(lessons) - 1) // COLUMNS) * (BOX[1] + GAP[1])
    lines = []
    for before, lesson in itertools.pairwise(lessons):
        lines.append(_arrow(place[before.number], place[lesson.number], "next"))
    for lesson in lessons:
        earlier = [n for n in lesson.needs if n in place and lessons.index(lesson) - list(place).index(n) > 1]
        lines += [_arrow(place[n], place[lesson.number], "needs") for n in earlier]
    boxes = [_box(lesson, *place[lesson.number]) for lesson in lessons]
    alt = "Reading order: " + ", then ".join(f"{lesson.number} {lesson.title}" for lesson in lessons)
    marker = '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    tip = f'<defs>{marker}<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
    return (
        '```{raw} html\n<div class="sideways">\n'
        f'<svg class="course" role="img" aria-label="{html.escape(alt)}" viewBox="-4 -30 {width} {height + 10}">\n'
        f"{tip}\n" + "\n".join(lines + boxes) + "\n</svg>\n</div>\n```"
    )


def _corner(column: int, row: int) -> tuple[float, float]:
    return column * (BOX[0] + GAP[0]), row * (BOX[1] + GAP[1])


def _arrow(start: tuple[int, int], end: tuple[int, int], kind: str) -> str:
    """From box to box: straight within a row, over the gap to the next row; a bow above for what is needed."""
    (x, y), (u, v) = _corner(*start), _corner(*end)
    (w, h), gap = BOX, GAP[1]
    if kind == "needs":
        a, b = (x + 0.7 * w, y if y == v else y + h), (u + 0.3 * w, v)
        lift = min(a[1], b[1]) - 0.42 * gap if y == v else (a[1] + b[1]) / 2
        path = f"M{a[0]:g} {a[1]:g}C{a[0]:g} {lift:g} {b[0]:g} {lift:g} {b[0]:g} {b[1]:g}"
    elif y == v:
        path = f"M{x + w:g} {y + h / 2:g}H{u:g}"
    else:
        path = f"M{x + w / 2:g} {y + h:g}V{y + h + 0.6 * gap:g}H{u + w / 2:g}V{v:g}"
    return f'<path class="{kind}" d="{path}" marker-end="url(#tip)"/>'


def _box(lesson: Lesson, column: int, row: int) -> str:
    x, y = _corner(column, row)
    w, h = BOX
    return (
        f'<a href="notebooks/{lesson.path.stem}.html"><title>{html.escape(lesson.question)}</title>'
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6"/>'
        f'<text x="{x + w / 2:g}" y="{y + 24:g}" class="number">{lesson.number}</text>'
        f'<text x="{x + w / 2:g}" y="{y + 46:g}">{html.escape(lesson.title)}</text></a>'
    )
