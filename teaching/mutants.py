"""The wrong answers of every exercise, tried: which are rejected, and what the student then reads.

A check is worth as much as the wrong answers that it catches. Each exercise lists those seen in class; here they are
all given to it, as the tests do, for the report and for the instructor's page.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from tiramisu_edu.course.exercises import exercises_of

from . import solutions


class Trial(NamedTuple):
    """One wrong answer and what became of it.

    Attributes:
        check: name of the check, as in `check_forward`.
        code: the wrong answer as it stands among the answers.
        hint: the sentence that should help.
        message: what the check printed.
        rejected: the check did not accept it, and its message has the hint.
    """

    check: str
    code: str
    hint: str
    message: str
    rejected: bool


def try_mistakes(number: int) -> list[Trial]:
    """Give every listed wrong answer of notebook `number` to its check."""
    trials = []
    answers = solutions.answers_of(number)
    for check, exercise in exercises_of(number).items():
        code = _mistakes_in_source(number)[check]
        for hint, wrong in answers[check].mistakes.items():
            report = exercise.report(wrong)
            rejected = not report.passed and hint in report.message.replace("\n" + " " * 12, "\n")
            trials.append(Trial(check, code[hint], hint, report.message, rejected))
    return trials


@functools.cache
def _mistakes_in_source(number: int) -> dict[str, dict[str, str]]:
    """check -> hint -> the expression that stands for the wrong answer, read from the modules of the answers."""
    files = [Path(solutions.__file__).with_name(f"{name}.py") for name in (f"nb{number:02d}", "loops")]
    found: dict[str, dict[str, str]] = {}
    for statement in (statement for file in files for statement in ast.parse(file.read_text(encoding="utf-8")).body):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            for keyword in statement.value.keywords:
                if keyword.arg == "mistakes" and isinstance(keyword.value, ast.Dict):
                    pairs = zip(keyword.value.keys, keyword.value.values)
                    texts = {str(key.value): _text(value) for key, value in pairs if isinstance(key, ast.Constant)}
                    found.update({name.id: texts for name in statement.targets if isinstance(name, ast.Name)})
    return found


def _text(value: ast.expr) -> str:
    """The expression without what it shares with the exercise: the arguments of a lambda, or those left open."""
    text = ast.unparse(value.body if isinstance(value, ast.Lambda) else value)
    return textwrap.shorten(re.sub(r"^partial\((\w+), ", r"\1(…, ", text), 160, placeholder=" …")
