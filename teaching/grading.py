"""Where a class stands. A teacher runs

    python -m teaching.grading notebooks/02_a_circuit_by_hand.ipynb handed_in/*.ipynb

which puts the answers of each handed-in notebook, and nothing else of it, into the course's own notebook, and prints
who solved what. So an edited check, a deleted cell or a stored output counts for nothing.

Each notebook runs in a process of its own, with limits of time and memory. That process returns what each answer gives
on the cases of its exercise, as plain values. The verdict is made here, from these values alone.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell

from tiramisu_edu.course.checks import time_limit
from tiramisu_edu.course.compare import Failure, as_array
from tiramisu_edu.course.exercises import exercises_of
from tiramisu_edu.errors import FileError

from .lesson import Lesson, read_lesson
from .notebooks import BEGIN, student_source

CELL_SECONDS = 120  # an answer that runs longer is stopped and counts as unsolved
TOTAL_SECONDS = 900  # a notebook that runs longer is killed
MEMORY_GIB, FILE_MIB = 8, 256
# What no answer needs: the insides of a check, and ways around them.
CHECKER = {"expected", "mistakes", "reports", "verdict", "modules", "__class__", "__dict__", "__globals__"}
AROUND = {"Exercise", "all_exercises", "exec", "eval", "get_ipython", "__builtins__", "__import__"}


class Grade(NamedTuple):
    """A handed-in notebook.

    Attributes:
        solved: name of each exercise -> is it solved.
        said: name -> the first line that its check said.
        failure: why not all of it was run; empty where it was.
        flag: what of the checker an answer reaches for; nothing counts then.
    """

    path: Path
    solved: dict[str, bool]
    said: dict[str, str]
    failure: str = ""
    flag: str = ""


def grade(lesson: Lesson, handed_in: Path) -> Grade:
    """Run a student's answers in the course's own notebook, and compare what they give with the solutions.

    Args:
        lesson: the notebook, with its solutions; these are replaced by the answers.
        handed_in: the student's notebook; a cell belongs to the exercise whose heading it follows.
    """
    exercises = {task.check: lesson.exercises[task.check] for task in lesson.tasks}
    returned: dict[str, Any] = {}
    failure = flag = ""
    try:
        answers = _answers(lesson, handed_in)
        flag = ", ".join(sorted(set().union(*map(_reaches_for, answers.values()))))
        if not flag:
            returned, failure = _in_own_process(lesson, answers)
    except FileError as error:
        failure = str(error)
    reports = {e.name: e.verdict(returned.get(check, {})) for check, e in exercises.items()}
    said = {name: report.message.split("\n")[0] for name, report in reports.items()}
    return Grade(handed_in, {name: report.passed for name, report in reports.items()}, said, failure, flag)


def _in_own_process(lesson: Lesson, answers: dict[int, str]) -> tuple[dict[str, Any], str]:
    """Name of each check -> label of the case -> value; and why the process ended early, if it did."""
    with tempfile.TemporaryDirectory() as folder:
        request, result = Path(folder, "request.json"), Path(folder, "result.json")
        asked = {"number": lesson.number, "cells": list(_cells(lesson, answers)), "seconds": CELL_SECONDS}
        request.write_text(json.dumps(asked))
        result.touch()
        command = [sys.executable, "-m", "teaching.grading", "--run", str(request), str(result)]
        settings = {"MPLBACKEND": "agg", "IPYTHONDIR": folder, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        more: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        more |= {"cwd": lesson.path.parent, "env": os.environ | settings, "start_new_session": True}
        failure = _ended(subprocess.Popen(command, **more))
        found: dict[str, Any] = {}
        try:
            for check, values in map(json.loads, result.read_text(encoding="utf-8").splitlines()):
                found.setdefault(check, dict(_decoded(values)))
        except Exception:  # whatever a hostile process has written
            failure = failure or "its process returned what is no value"
    return found, failure or ("" if "end" in found else "its process ended before the notebook did")


def _ended(child: subprocess.Popen) -> str:
    """Wait for the process, and kill it and all that it has started; why it ended early, if it did."""
    try:
        code = child.wait(TOTAL_SECONDS)
        return f"its process ended with code {code}" if code else ""
    except subprocess.TimeoutExpired:
        return f"stopped after {TOTAL_SECONDS:g} s"
    finally:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL) if hasattr(os, "killpg") else child.kill()
        child.wait()


def _cells(lesson: Lesson, answers: dict[int, str]) -> Iterator[tuple[str, str, str]]:
    """Source of each code cell, and for an exercise its check and the name of the answer; empty stubs where none is."""
    tasks = iter(lesson.tasks)
    for cell in lesson.notebook.cells:
        if cell.cell_type == "code" and BEGIN in cell.source:
            task = next(tasks)
            name = re.search(rf"^{task.check}\((\w+)\)", cell.source, re.MULTILINE)
            yield answers.get(task.number, student_source(cell.source)), task.check, name[1] if name else ""
        elif cell.cell_type == "code":
            yield cell.source, "", ""


def _run(request: Path, result: Path) -> None:
    """The student's process: run the cells, and write what each answer gives as soon as it is known."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_GIB << 30,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MIB << 20,) * 2)
    asked = json.loads(request.read_text())
    exercises, shell = exercises_of(asked["number"]), InteractiveShell.instance()
    with result.open("a", encoding="utf-8") as file:
        for source, check, name in asked["cells"]:
            values: Any = _encoded({})
            if check:
                shell.user_ns.pop(name, None)
            try:
                with time_limit(asked["seconds"]):
                    shell.run_cell(source)
                    if check:
                        values = _encoded(exercises[check].results(shell.user_ns.get(name, ...)))
            except Exception:  # the answer counts as none; `--run`, called by hand, shows why
                traceback.print_exc()
            if check:
                print(json.dumps([check, values]), file=file, flush=True)
        print(json.dumps(["end", _encoded({})]), file=file, flush=True)


def _reaches_for(source: str) -> set[str]:
    """Names of the checker that an answer uses otherwise than by calling its check."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return set()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"^check_\w+$|tiramisu_edu\.course|course/exercises|teaching[./]", node.value))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= set(re.findall(r"tiramisu_edu(?:\.| import )course|\bteaching\b", ast.unparse(node)))
        elif isinstance(node, ast.Attribute) and (node.attr in CHECKER or node.attr.startswith("check_")):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and (node.id in AROUND or node.id.startswith("check_")):
            found |= set() if node.id.startswith("check_") and id(node) in called else {node.id}
    return found


def _encoded(value: Any) -> Any:
    """A result as JSON: a number, text, truth value or None as it is, all else as [kind, content]."""
    if isinstance(value, Failure):
        return ["failure", value.error]
    if value is ...:
        return ["ellipsis", None]
    if isinstance(value, Mapping):
        return ["map", [[_encoded(key), _encoded(each)] for key, each in value.items()]]
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    array = None if isinstance(value, (list, tuple)) and not len(value) else as_array(value)
    if array is not None:
        return ["array", [str(array.dtype), list(array.shape), array.ravel().tolist()]]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [type(value).__name__, [_encoded(each) for each in value]]
    return ["failure", f"a value of the type {type(value).__name__}"]


def _decoded(value: Any) -> Any:
    """The inverse of `_encoded`."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "map":
        return {_decoded(key): _decoded(each) for key, each in content}
    if kind == "array":
        dtype, shape, numbers = content
        return np.array(numbers, dtype=dtype).reshape(shape)
    if kind in ("list", "tuple", "set", "frozenset"):
        return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(_decoded, content))
    return ... if kind == "ellipsis" else Failure(str(content))


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per handed-in notebook and, below it, what is missing. Exit code 1 if any could not be run whole."""
    parser = argparse.ArgumentParser(prog="python -m teaching.grading")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)  # the student's process: request, result
    parser.add_argument("notebook", type=Path, help="the course's own notebook, with its solutions")
    parser.add_argument("handed_in", type=Path, nargs="+", help="students' notebooks")
    options = parser.parse_args(arguments)
    if options.run:
        _run(options.notebook, options.handed_in[0])
        return 0
    lesson, failed = read_lesson(options.notebook), 0
    for path in options.handed_in:
        found = grade(lesson, path)
        failed += bool(found.failure)
        why = f"; flagged: an answer uses {found.flag}" if found.flag else ""
        why += f"; not run whole: {found.failure}" if found.failure else ""
        print(f"{path}: {sum(found.solved.values())} of {len(found.solved)}{why}", flush=True)
        for name, solved in found.solved.items():
            if not solved and not found.flag:
                print(f"    {found.said[name]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
