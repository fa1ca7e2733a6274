"""Grades for a class. A teacher runs

    python -m teaching.grading notebooks/02_a_circuit_by_hand.ipynb handed_in --csv grades.csv

on the course's own notebook and a folder of submissions, or the files, and gets points for each exercise.

The answers are run in the course's own notebook, in `teaching.sandbox`: so an edited check, a deleted cell or a stored
output counts for nothing. They are tried on cases that no student has seen, from a seed that is drawn anew. What they
give comes back as plain values, and is compared with the solutions here, in a process where no student's code runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from tiramisu_edu.course.checks import Exercise
from tiramisu_edu.errors import FileError, TiramisuError

from . import sandbox, solutions
from .handed_in import HandedIn, read_handed_in, student_of
from .lesson import Lesson, notebook_paths, read_lesson
from .notebooks import BEGIN
from .verdict import Found, Grade, found, graded, hidden_exercises


class Limits(NamedTuple):
    """What an exercise of a submission may take: seconds of CPU time, GiB of memory; and how many run at a time."""

    seconds: float = 30
    memory: float = 4
    workers: int = 1


USUAL = Limits()


def grade(lesson: Lesson, paths: Sequence[Path], seed: int, limits: Limits = USUAL) -> list[Grade]:
    """Grade submissions for one notebook.

    Args:
        lesson: the notebook, with its solutions.
        paths: the submissions.
        seed: of the hidden cases, 1 or more; 0 makes those that students have.

    Raises:
        TiramisuError: the course's own notebook does not run, or this system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise TiramisuError("grading needs a system that can fork a process: use Linux, macOS or WSL")
    handed_in: list[HandedIn | FileError] = [_read(lesson, path) for path in paths]
    exercises = hidden_exercises(lesson, seed)
    readable = [each for each in handed_in if isinstance(each, HandedIn)]
    given = iter(_run(lesson, readable, exercises, limits))
    nothing = {exercise.name: False for exercise in exercises.values()}
    grades = [
        graded(lesson, each, exercises, next(given))
        if isinstance(each, HandedIn)
        else Grade(path, student_of(lesson, path), nothing, dict.fromkeys(nothing, 0), {}, failure=str(each))
        for path, each in zip(paths, handed_in)
    ]
    count = Counter(each.student for each in grades)
    return [each if count[each.student] == 1 else each._replace(student=str(each.path)) for each in grades]


def _read(lesson: Lesson, path: Path) -> HandedIn | FileError:
    try:
        return read_handed_in(lesson, path)
    except FileError as error:
        return error


def _run(
    lesson: Lesson, handed_in: Sequence[HandedIn], exercises: Mapping[str, Exercise], limits: Limits
) -> list[dict[str, Found]]:
    """For each submission, check -> what came back; from a process that runs the notebook and all answers."""
    asked = {
        "number": lesson.number,
        "cells": list(_cells(lesson)),
        "exercises": {c: {"cases": dict(e.cases), "arguments": list(e.arguments)} for c, e in exercises.items()},
        "submissions": [{"cells": each.cells, "answers": _plain_answers(each)} for each in handed_in],
        **limits._asdict(),
    }
    given: list[dict[str, Found]] = [{} for _ in handed_in]
    with tempfile.TemporaryDirectory() as folder:
        request, errors = Path(folder, "request.json"), Path(folder, "errors.txt")
        request.write_text(json.dumps(solutions.plain(asked)), encoding="utf-8")
        with errors.open("w") as file, _process(lesson, request, file) as child:
            bar = tqdm(
                child.stdout, "graded", sum(len(each.answers) for each in handed_in), unit=" answers", disable=None
            )
            for line in bar:
                who, check, *ended = json.loads(line)
                given[who][check] = found(*ended)
        if child.returncode:
            said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise TiramisuError(f"{lesson.path} could not be graded: {' '.join(said)}")
    return given


def _process(lesson: Lesson, request: Path, errors: Any) -> subprocess.Popen:
    path = os.pathsep.join(filter(None, sys.path))
    settings = {"MPLBACKEND": "agg", "IPYTHONDIR": str(request.parent), "PYTHONPATH": path}
    settings |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # neither threads nor a GPU outlive a fork
    return subprocess.Popen(
        [sys.executable, sandbox.__file__, str(request)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=lesson.path.parent,
        env=os.environ | settings,
        text=True,
    )


def _cells(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """Source of each code cell up to the last exercise, or the check of an exercise in its place."""
    tasks = iter(lesson.tasks)
    code = [cell.source for cell in lesson.notebook.cells if cell.cell_type == "code"]
    last = max(k for k, source in enumerate(code) if BEGIN in source)
    for source in code[: last + 1]:
        yield ("", next(tasks).check) if BEGIN in source else (source, "")


def _plain_answers(each: HandedIn) -> dict[str, list]:
    return {check: list(answer) for check, answer in each.answers.items()}


def write_csv(file: IO[str], grades: Sequence[Grade], seed: int) -> None:
    """A row for each submission, a column for each exercise, as spreadsheets and grade books read it."""
    writer = csv.writer(file)
    writer.writerow(["student", "points", *grades[0].points, "seconds", "flags", "remarks", "why not", "file", "seed"])
    for each in grades:
        texts = map("; ".join, (each.flags, each.remarks, [*each.told.values(), *[each.failure] * bool(each.failure)]))
        numbers = [sum(each.points.values()), *each.points.values(), f"{each.seconds:.2f}"]
        writer.writerow([_text(each.student), *numbers, *map(_text, texts), _text(str(each.path)), seed])


def _text(value: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value


def table(lesson: Lesson, grades: Sequence[Grade]) -> str:
    """The grades as a Markdown table, for a terminal, too."""
    most = {name: task.difficulty for name, task in zip(grades[0].points, lesson.tasks)}
    rows = [["student", f"of {sum(most.values())}", *(f"{name} ({of})" for name, of in most.items()), "CPU s", "flags"]]
    for each in grades:
        what = [*(f"**{flag}**" for flag in each.flags), *each.remarks, each.failure]
        points = map(str, (sum(each.points.values()), *each.points.values()))
        rows.append([each.student, *points, f"{each.seconds:.1f}", "; ".join(filter(None, what))])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


def submissions(lesson: Lesson, paths: Sequence[Path]) -> list[Path]:
    """The files, and the notebooks in the folders among them, without those named as other notebooks of the course."""
    others = {path.name for path in notebook_paths(lesson.path.parent)} - {lesson.path.name}
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise FileError(f"there is no {path}")
        inside = [p for p in sorted(path.rglob("*.ipynb")) if p.name not in others] if path.is_dir() else [path]
        found |= {file: None for file in inside if ".ipynb_checkpoints" not in file.parts}
    if not found:
        raise FileError(f"no notebook to be graded as {lesson.path.name} in {', '.join(map(str, paths))}")
    return list(found)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Reads a number above 0 from the command line."""

    def number(text: str) -> float:
        if not 0 < (value := kind(text)) < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is no number above 0")
        return value

    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table and write it as CSV. Exit code 1 if a submission could not be read, 2 if none could be graded."""
    parser = argparse.ArgumentParser(prog="python -m teaching.grading", description=__doc__.split("\n")[0])
    parser.add_argument("notebook", type=Path, help="the course's own notebook, with its solutions")
    parser.add_argument("handed_in", type=Path, nargs="+", help="students' notebooks, or folders of them")
    parser.add_argument("--csv", type=Path, help="file for the grades")
    parser.add_argument("--seed", type=int, help="of the hidden cases; drawn and printed by default")
    seconds, memory, cores = USUAL.seconds, USUAL.memory, os.cpu_count() or 1
    parser.add_argument("--seconds", type=_positive(float), default=seconds, help="CPU time of an answer (%(default)g)")
    parser.add_argument("--memory", type=_positive(float), default=memory, help="GiB for an answer (%(default)g)")
    parser.add_argument("--workers", type=_positive(int), default=cores, help="answers at a time (%(default)d)")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**31) + 1 if options.seed is None else options.seed
    limits = Limits(options.seconds, options.memory, options.workers)
    try:
        lesson = read_lesson(options.notebook)
        if options.csv:
            options.csv.open("a").close()  # what cannot be written is told before the work
        grades = grade(lesson, submissions(lesson, options.handed_in), seed, limits)
    except (TiramisuError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(table(lesson, grades))
    print(f"\n{len(grades)} submissions, hidden cases of seed {seed} (the same seed gives the same grades)\n")
    for each in grades:
        print(*(f"{each.student}: {why}" for why in each.told.values()), sep="\n", end="\n" if each.told else "")
    if options.csv:
        with options.csv.open("w", encoding="utf-8-sig", newline="") as file:
            write_csv(file, grades, seed)
        print(f"\n{options.csv}")
    return 1 if any(each.failure for each in grades) else 0


if __name__ == "__main__":
    sys.exit(main())
