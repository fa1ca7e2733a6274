"""A notebook as an assignment for nbgrader: the source that grades, and the release for students.

    python -m teaching.assignments notebooks/02_a_circuit_by_hand.ipynb course

writes `course/source/NAME/NAME.ipynb` and `course/release/NAME/NAME.ipynb`, as nbgrader lays out a course. An exercise
becomes a cell for the solution and a locked cell with its check. In the source, that cell also has hidden tests: cases
from a seed of the teacher's, and what the solution gives on them. Neither version has the folded solutions.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from tiramisu_edu.course.checks import Exercise
from tiramisu_edu.errors import TiramisuError

from . import solutions
from .lesson import Task, read_lesson
from .notebooks import BEGIN, END, REASONING, student_source
from .verdict import hidden_exercises

BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
HIDDEN = f"""{BEGIN_HIDDEN}
import dataclasses
import json

from tiramisu_edu.course.exercises import restored

hidden = json.loads({{hidden!r}}, object_hook=restored)
report = dataclasses.replace({{check}}, **hidden).report({{answer}})
assert report.passed, report.message
{END_HIDDEN}"""


def assignment(path: Path, folder: Path, seed: int) -> tuple[Path, Path]:
    """Write the source and the release of a notebook; their paths.

    Args:
        seed: of the hidden cases; not 0, which makes those that students have.
    """
    lesson = read_lesson(path)
    exercises, tasks, cells = hidden_exercises(lesson, seed), iter(lesson.tasks), []
    for cell in lesson.notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if BEGIN in cell.source:
                task = next(tasks)
                cells += _exercise(cell, task, exercises[task.check])
            else:
                cell.metadata["nbgrader"] = _marks(cell.id, is_locked=True)
                cells.append(cell)
        elif not cell.source.startswith(REASONING):
            cells.append(cell)
    lesson.notebook.cells = cells
    source, release = (folder / version / path.stem / path.name for version in ("source", "release"))
    _write(lesson.notebook, source)
    for cell in cells:
        cell.source = _released(cell.source)
    _write(lesson.notebook, release)
    return source, release


def _write(notebook: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def _released(source: str) -> str:
    """A cell without solution and hidden tests."""
    whole = rf"\n({BEGIN}.*\n{END}|{BEGIN_HIDDEN}.*\n{END_HIDDEN})"
    return student_source(re.sub(whole, "", source, flags=re.DOTALL))


def _exercise(cell: Any, task: Task, exercise: Exercise) -> list[Any]:
    """The cell of an exercise as two: the solution, and the check with its hidden tests."""
    statements = ast.parse(cell.source).body
    call: Any = statements[-1]
    if not ast.unparse(call).startswith(f"{task.check}("):
        raise TiramisuError(f"exercise {task.number}: the cell does not end with its check {task.check}")
    hidden = {"cases": dict(exercise.cases), "expected": dict(exercise.expected), "arguments": list(exercise.arguments)}
    answer = ast.unparse(call.value.args[0])
    tests = HIDDEN.format(hidden=json.dumps(solutions.plain(hidden)), check=task.check, answer=answer)
    check = nbformat.v4.new_code_cell(f"{ast.unparse(call)}\n{tests}", id=f"{cell.id}-check")
    check.metadata["nbgrader"] = _marks(task.check, is_locked=True, points=task.difficulty)
    solution = "\n".join(cell.source.splitlines()[: call.lineno - 1]).rstrip()
    is_value = solution.startswith(BEGIN)  # its name is set to ... above the solution: nbgrader's own stub sets none
    cell.source = f"{student_source(solution)}\n{solution}" if is_value else solution
    cell.metadata["nbgrader"] = _marks(task.check.removeprefix("check_"), is_solution=True)
    return [cell, check]


def _marks(name: str, is_locked: bool = False, is_solution: bool = False, points: int | None = None) -> dict[str, Any]:
    """What nbgrader reads of a cell, in version 3 of its schema."""
    marks = {"schema_version": 3, "grade_id": name, "cell_type": "code", "locked": is_locked, "solution": is_solution}
    return marks | {"grade": points is not None, "task": False} | ({"points": points} if points is not None else {})


def main(arguments: Sequence[str] | None = None) -> None:
    """Make assignments of notebooks."""
    parser = argparse.ArgumentParser(prog="python -m teaching.assignments", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", type=Path, nargs="+")
    parser.add_argument("folder", type=Path, help="nbgrader's course")
    parser.add_argument("--seed", type=int, help="of the hidden cases; drawn and printed by default")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**31) + 1 if options.seed is None else options.seed
    for path in options.notebooks:
        try:
            print(*assignment(path, options.folder, seed), sep="\n")
        except (TiramisuError, OSError) as error:
            parser.error(str(error))
    print(f"hidden cases of seed {seed}")


if __name__ == "__main__":
    main()
