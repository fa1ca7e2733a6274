"""A notebook that a student has handed in, read but not run: what is the student's own, and what looks wrong about it.

Every code cell that is not the course's own counts as the student's, in the order of the notebook, so a helper in a
further cell is found. An answer is what the last call of its check is given; without that call, the name in the stub.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from IPython.core.inputtransformer2 import TransformerManager

from .lesson import Lesson, Task
from .notebooks import BEGIN, PROGRESS, read_notebook

RECORDED = {"expected", "mistakes", "slips", "verdict"}  # of a check: what the course has recorded
RECORDS = {"all_exercises", "exercises_of", "of_notebook", "record_path", "restored"}
STUB = "# your code"
SHOWN = {"help", "print", "type"}
DIGITS = 5  # a number typed with more of them was not found by hand
LONG = 60  # nodes of a syntax tree; shorter solutions agree by chance
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python raises at code that it does not take


class Answer(NamedTuple):
    """How to get an answer: run so many of the student's cells, then evaluate an expression."""

    through: int
    expression: str


class HandedIn(NamedTuple):
    """A submission.

    Attributes:
        student: the name of the file, or of the nearest folder where the file has the name of the course's notebook.
        cells: code of the student's own cells.
        answers: name of the check -> answer; those that are there.
        said: name of the check -> is "correct" in its stored output; those that were run.
        cheats: what nobody does by accident. Nothing of the submission counts.
        copied: checks of the answers that are numbers with more digits than anyone finds by hand; they do not count.
        remarks: what a teacher may want to look at, with where it is. It counts.
    """

    path: Path
    student: str
    cells: list[str]
    answers: dict[str, Answer]
    said: dict[str, bool]
    cheats: list[str]
    copied: list[str]
    remarks: dict[str, list[str]]


class Cell(NamedTuple):
    """One of the student's cells: its code, its syntax tree (empty if broken), the exercise it stands under."""

    source: str
    tree: ast.Module
    task: Task | None
    cell: Any


def read_handed_in(lesson: Lesson, path: Path) -> HandedIn:
    """Read a submission for a notebook of the course.

    Raises:
        FileError: it is no notebook.
    """
    own, given = _own_cells(lesson, path)
    checks, solutions = [task.check for task in lesson.tasks], _solutions(lesson)
    named = {check: exercise.name for check, exercise in lesson.exercises.items()}
    answers = _answers(lesson.tasks, own, {check: _calls(tree, check)[-1] for check, tree in solutions.items()})
    cheats = sorted({what for cell in own for what in _cheats(cell.tree, checks)})
    copied = [c for c in checks if c in answers and not _is_literal(solutions[c]) and _is_literal(_task_tree(own, c))]
    not_run = [c.task.check for c in own if c.task and not c.cell.get("execution_count") and STUB not in c.source]
    like = {c for c in checks if _shapes(solutions[c], LONG) & _shapes(_task_tree(own, c), LONG)}
    remarks = {
        "no cell": [named[check] for check in checks if check not in answers],
        "course's cells missing or changed": [str(lost)]
        if (lost := sum(c not in given for c in _course(lesson)))
        else [],
        "not executed": [named[check] for check in checks if check in not_run],
        "as published": [named[check] for check in checks if check in like],
    }
    return HandedIn(
        path=path,
        student=student_of(lesson, path),
        cells=[cell.source for cell in own],
        answers=answers,
        said=_said(own, named),
        cheats=cheats,
        copied=copied,
        remarks=remarks,
    )


def student_of(lesson: Lesson, path: Path) -> str:
    """The first name, from the file outwards, that is not the name of the course's notebook."""
    names = [path.stem, *(folder.name for folder in path.absolute().parents)]
    return next(name for name in names if name != lesson.path.stem)


def _own_cells(lesson: Lesson, path: Path) -> tuple[list[Cell], set[str]]:
    """The student's cells, and the sources of the others."""
    cells = [(cell, cell.cell_type, _tidy(cell.source)) for cell in read_notebook(path).cells]
    course, tasks = set(_course(lesson)), {task.number: task for task in lesson.tasks}
    last = _tidy(PROGRESS.format(number=lesson.number))
    own, given, number = [], set(), 0
    for cell, kind, source in cells:
        if kind == "markdown" and source.startswith("#"):
            heading = re.search(r"^### Exercise (\d+)", source, re.MULTILINE)
            number = int(heading[1]) if heading else 0
        elif kind == "code" and source in course:
            given.add(source)
            number = 0
        elif kind == "code" and source not in ("", last):
            own.append(Cell(source, _tree(source), tasks.get(number), cell))
    return own, given


def _answers(tasks: Sequence[Task], own: Sequence[Cell], usual: Mapping[str, str]) -> dict[str, Answer]:
    """Check -> answer; `usual` has what a check is given in the course's notebook."""
    answers: dict[str, Answer] = {}
    called = set()
    for k, cell in enumerate(own, 1):
        for task in tasks:
            if calls := _calls(cell.tree, task.check):
                answers[task.check] = Answer(k, calls[-1])
                called.add(task.check)
            elif cell.task == task and task.check not in called:
                answers[task.check] = Answer(k, usual[task.check])
    return answers


def _calls(tree: ast.AST, check: str) -> list[str]:
    """What a check is given, as expressions."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    return [ast.unparse(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == check]


def _said(own: Sequence[Cell], named: Mapping[str, str]) -> dict[str, bool]:
    """Check -> does its last stored output say that the answer is correct."""
    said = {}
    for cell in own:
        text = "".join(str(output.get("text", "")) for output in cell.cell.get("outputs", []))
        for check, name in named.items():
            if found := re.findall(rf"^{re.escape(name)}: (correct|not yet|nothing here)", text, re.MULTILINE):
                said[check] = found[-1] == "correct"
    return said


def _cheats(tree: ast.AST, checks: Sequence[str]) -> Iterator[str]:
    """What an answer has no use for: solutions, what is recorded of them, a check otherwise than called or shown."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    fine = {id(node.func) for node in calls}
    fine |= {id(a) for node in calls if getattr(node.func, "id", "") in SHOWN for a in node.args}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if re.search(r"\bteaching\b", ast.unparse(node)):
                yield "imports the solutions"
            yield from (f"uses {alias.name}" for alias in node.names if alias.name in RECORDS)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in checks:
            yield f"changes {node.name}"
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in checks:
            fine.add(id(node.value))
            if node.attr in RECORDED or not isinstance(node.ctx, ast.Load):
                yield f"{'uses' if isinstance(node.ctx, ast.Load) else 'changes'} {ast.unparse(node)}"
        elif isinstance(node, ast.Attribute) and node.attr in {*RECORDS, *checks}:
            yield f"uses {node.attr}"
        elif isinstance(node, ast.Name) and node.id in checks and id(node) not in fine:
            yield f"{'uses' if isinstance(node.ctx, ast.Load) else 'changes'} {node.id}"
        elif isinstance(node, ast.Subscript) and getattr(node.slice, "value", "") in checks:
            yield f"uses {ast.unparse(node)}"


def _is_literal(tree: ast.AST) -> bool:
    """Whether the code has a number of many digits and reads nothing of the notebook."""
    numbers = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, float)]
    if not any(len(re.sub(r"e.*|\D", "", repr(number)).strip("0")) > DIGITS for number in numbers):
        return False
    try:
        names = names_read(ast.unparse(tree))
    except SyntaxError:  # as `nonlocal` at the top of a cell, or `global` after what another cell sets
        return False
    return all(name in dir(builtins) or name.startswith("check_") for name in names)


def names_read(source: str) -> set[str]:
    """The global names that code reads without setting them itself; variables of comprehensions are not global."""
    return _read(symtable.symtable(source, "cell", "exec"))


def _read(table: symtable.SymbolTable) -> set[str]:
    symbols = table.get_symbols()
    if table.get_type() == "module":
        found = {s.get_name() for s in symbols if s.is_referenced()}
        own = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        return found.union(*map(_read, table.get_children())) - own
    return {s.get_name() for s in symbols if s.is_global()}.union(*map(_read, table.get_children()))


def _shapes(tree: ast.Module, least: int) -> set[str]:
    """Each long statement, with its names replaced by their order and without notes."""
    found = set()
    for statement in ast.parse(ast.unparse(tree)).body:
        order: dict[str, str] = {}
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef):
                node.name, node.returns = order.setdefault(node.name, f"n{len(order)}"), None
                if ast.get_docstring(node) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
            elif isinstance(node, ast.arg):
                node.arg, node.annotation = order.setdefault(node.arg, f"n{len(order)}"), None
            elif isinstance(node, ast.Name):
                node.id = order.setdefault(node.id, f"n{len(order)}")
        if sum(1 for _ in ast.walk(statement)) >= least:
            found.add(ast.dump(statement))
    return found


def _task_tree(own: Sequence[Cell], check: str) -> ast.Module:
    """All that stands under an exercise."""
    return ast.Module([s for cell in own if cell.task and cell.task.check == check for s in cell.tree.body], [])


def _solutions(lesson: Lesson) -> dict[str, ast.Module]:
    cells = [c.source for c in lesson.notebook.cells if c.cell_type == "code" and BEGIN in c.source]
    return {task.check: _tree(source) for task, source in zip(lesson.tasks, cells)}


def _course(lesson: Lesson) -> list[str]:
    """The code cells that a student is given, without the stubs."""
    return [_tidy(c.source) for c in lesson.notebook.cells if c.cell_type == "code" and BEGIN not in c.source]


def _tree(source: str) -> ast.Module:
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
        ast.unparse(tree)  # recursive, as the parser: what is nested too deeply ends here
        return tree
    except UNREADABLE:
        return ast.Module([], [])


def _tidy(source: str) -> str:
    """Without what an editor or another system may change: ends of lines, and blanks there."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip()
