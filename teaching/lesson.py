"""What a notebook of the course says about itself: its header, its exercises, and the numbers its rules speak of.

The report, the site and the instructor's page all read the notebooks through here, so nothing about a notebook
is written down a second time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from tiramisu_edu.course.checks import Exercise
from tiramisu_edu.course.exercises import exercises_of
from tiramisu_edu.errors import FileError

from .notebooks import BEGIN, REASONING, read_notebook

THOUGHT = ("derive", "design", "debug", "decide")
ALT_WORDS = 5  # an alt text of fewer words does not state a finding


class Task(NamedTuple):
    """An exercise as the notebook poses it.

    Attributes:
        number: 1, 2, … in its notebook.
        difficulty: 1 to 5.
        minutes: a student takes.
        check: name of the check, as in `check_forward`.
        kind: what it asks for: apply what was said, or the thought of `THOUGHT`.
        hints: folded ones in its text.
        reasoned: whether a folded solution with its reasons follows.
    """

    number: int
    title: str
    difficulty: int
    minutes: int
    check: str
    kind: str
    hints: int
    reasoned: bool


class Lesson(NamedTuple):
    """A notebook that has been read.

    Attributes:
        number: its place in the course, from 1.
        can, need: what the header promises and asks for, in Markdown.
        needs: the notebooks that `need` names.
        reading: minutes.
        running: seconds at toy scale, as the header says.
        question: the last sentence, which the next notebook answers.
        notebook: the notebook itself.
    """

    path: Path
    number: int
    title: str
    can: str
    need: str
    needs: tuple[int, ...]
    reading: int
    running: int
    question: str
    tasks: tuple[Task, ...]
    notebook: Any

    @property
    def exercises(self) -> dict[str, Exercise]:
        """The exercises of its module, by the name of their check."""
        return exercises_of(self.number)


def notebook_paths(folder: Path) -> list[Path]:
    """The notebooks of the course in reading order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def read_lesson(path: Path) -> Lesson:
    """Read a notebook.

    Raises:
        FileError: no notebook of the course; the message names the part of the header that is not there.
    """
    notebook = read_notebook(path)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    header = re.sub(r"(?<!\n)\n(?!\n)", " ", prose[0]) if prose else ""  # one paragraph, one line

    def field(pattern: str) -> str:
        found = re.search(pattern, header, re.MULTILINE)
        if found is None:
            raise FileError(f"{path}: the first cell has nothing like {pattern!r}; see another notebook's header")
        return found[1]

    need = field(r"^\*\*You need\*\* (.+)$")
    named = re.findall(r"notebooks? \d+[^;.]*", need)
    return Lesson(
        path=path,
        number=int(field(r"^# (\d+) · ")),
        title=field(r"^# \d+ · (.+)$"),
        can=field(r"^\*\*Afterwards you can\*\* (.+)$"),
        need=need,
        needs=tuple(int(number) for part in named for number in re.findall(r"\d+", re.sub(r"\([^)]*\)", "", part))),
        reading=int(field(r"\*\*Reading\*\* (\d+) minutes")),
        running=int(field(r"\*\*Running\*\* (\d+) seconds")),
        question=re.split(r"(?<=[.!?:])\s", prose[-1].replace("\n", " ").strip())[-1],
        tasks=_tasks(notebook),
        notebook=notebook,
    )


def _tasks(notebook: Any) -> tuple[Task, ...]:
    """Each exercise's heading with the check that follows it."""
    tasks = []
    heading, hints = None, 0
    pattern = r"^### Exercise (\d+) · (.+)\n\n\*difficulty ([1-5]) of 5 · (\d+) minutes · (\w+)"
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None]):
        if cell.cell_type == "markdown" and (found := re.search(pattern, cell.source, re.MULTILINE)):
            heading, hints = found, cell.source.count("<details><summary>Hint ")
        elif cell.cell_type == "code" and BEGIN in cell.source and heading:
            check = re.search(r"^(check_\w+)\(", cell.source, re.MULTILINE)
            number, title, difficulty, minutes, kind = heading.groups()
            reasoned = following is not None and following.source.startswith(REASONING)
            named = check[1] if check else ""
            tasks.append(Task(int(number), title, int(difficulty), int(minutes), named, kind, hints, reasoned))
            heading = None
    return tuple(tasks)


def numbers(notebook: Any) -> dict[str, int]:
    """What the rules of the course count: cells, words, lines, checks, assertions, pictures."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"</?\w[^>]*>|(?<=\])\([^)]*\)", " ", re.sub(r"\$+[^$]*\$+", " x ", prose))  # no tags, no addresses
    page = "".join(o.get("data", {}).get("text/html", "") for cell in code for o in cell.outputs)
    images = re.findall(r"<img[^>]*>", page)
    alts = [re.search(r'alt="([^"]*)"', image) for image in images]
    return {
        "cells": len(notebook.cells),
        "words": len(re.findall(r"[^\W_]+(?:['’-]\w+)*", prose)),
        "code lines": sum(bool(line.strip()) for cell in code for line in cell.source.splitlines()),
        "longest cell": max(len(cell.source.splitlines()) for cell in notebook.cells),
        "checks": sum(bool(re.search(r"^check_\w+\(", cell.source, re.MULTILINE)) for cell in code),
        "assertions": sum(len(re.findall(r"^\s*assert\b", cell.source, re.MULTILINE)) for cell in code),
        "images": len(images),
        "with alt text": sum(bool(alt) and len(alt[1].split()) >= ALT_WORDS for alt in alts if alt),
    }
