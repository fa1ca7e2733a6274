"""Where a student stands, and where a class stands.

The student's version of every notebook ends with `progress(number)`. A teacher runs

    python -m tiramisu_edu.course.progress notebooks/02_a_circuit_by_hand.ipynb handed_in/*.ipynb

which puts the answers of each handed-in notebook, and nothing else of it, into the course's own notebook, runs that
in a fresh kernel and prints who solved what. So an edited check, a deleted cell or a stored output counts for nothing.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbclient
import nbformat

from ..errors import FileError
from .lesson import Lesson, exercises_of, read_lesson
from .notebooks import BEGIN, PROGRESS, student_source

CELL_SECONDS = 120  # an answer that runs longer is stopped and counts as unsolved


class Grade(NamedTuple):
    """A handed-in notebook: name of each exercise -> is it solved, and the first line that its check said."""

    path: Path
    solved: dict[str, bool]
    said: dict[str, str]


def progress(number: int) -> None:
    """Print which exercises of notebook `number` are solved, and what is missing of the others.

    Raises:
        FileError: no notebook of that number has exercises.
    """
    exercises = exercises_of(number)
    if not exercises:
        raise FileError(f"notebook {number} has no exercises; write progress(2), for example, for those of notebook 2")
    lines = []
    for exercise in exercises.values():
        solved = any(report.passed for report in exercise.reports[-1:])
        said = exercise.reports[-1].message.split("\n")[0] if exercise.reports else f"{exercise.name}: not tried yet"
        lines.append(f"[{'x' if solved else ' '}] {said}")
    print(f"{sum(line.startswith('[x]') for line in lines)} of {len(lines)} exercises solved", *lines, sep="\n")


def grade(lesson: Lesson, handed_in: Path) -> Grade:
    """Run a student's answers in the course's own notebook.

    Args:
        lesson: the notebook, with its solutions; these are replaced by the answers.
        handed_in: the student's notebook; a cell belongs to the exercise whose heading it follows.

    Raises:
        FileError: the file is no notebook.
    """
    notebook = nbformat.from_dict({**lesson.notebook, "cells": _with_answers(lesson, _answers(lesson, handed_in))})
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        interrupt_on_timeout=True,
        allow_errors=True,
        resources={"metadata": {"path": lesson.path.parent}},
    )
    client.execute()
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    lines = re.findall(r"^\[([x ])\] ([^:]+): (.*)$", printed, re.MULTILINE)
    return Grade(handed_in, {name: mark == "x" for mark, name, _ in lines}, {name: said for _, name, said in lines})


def _answers(lesson: Lesson, handed_in: Path) -> dict[int, str]:
    """Number of the exercise -> the code below its heading, up to the call of its check."""
    try:
        cells = nbformat.read(handed_in, as_version=4).cells
    except Exception as error:
        raise FileError(f"{handed_in} is no notebook ({error}): ask for the .ipynb file itself") from error
    checks = {task.number: task.check for task in lesson.tasks}
    answers: dict[int, str] = {}
    number = 0
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = re.search(r"^### Exercise (\d+)", cell.source, re.MULTILINE)
            number = int(heading[1]) if heading else 0
        elif number in checks:
            answers[number] = f"{answers[number]}\n\n{cell.source}" if number in answers else cell.source
            number = 0 if f"{checks[number]}(" in cell.source else number
    return answers


def _with_answers(lesson: Lesson, answers: dict[int, str]) -> list[Any]:
    """The lesson's cells, each solution replaced by the answer, or by the empty stub, and a last cell that counts."""
    cells = []
    tasks = iter(lesson.tasks)
    for cell in lesson.notebook.cells:
        if cell.cell_type == "code" and BEGIN in cell.source:
            stub = student_source(cell.source)
            cell = nbformat.from_dict({**cell, "source": answers.get(next(tasks).number, stub)})
        cells.append(cell)
    return [*cells, nbformat.v4.new_code_cell(PROGRESS.format(number=lesson.number))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per handed-in notebook and, below it, what its unsolved exercises lack."""
    parser = argparse.ArgumentParser(prog="python -m tiramisu_edu.course.progress")
    parser.add_argument("notebook", type=Path, help="the course's own notebook, with its solutions")
    parser.add_argument("handed_in", type=Path, nargs="+", help="students' notebooks")
    options = parser.parse_args(arguments)
    lesson = read_lesson(options.notebook)
    for path in options.handed_in:
        found = grade(lesson, path)
        print(f"{path}: {sum(found.solved.values())} of {len(found.solved)}")
        for name, solved in found.solved.items():
            if not solved:
                print(f"    {name}: {found.said[name]}")


if __name__ == "__main__":
    main()
