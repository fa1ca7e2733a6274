"""The solutions of the exercises, and the wrong answers seen in class: one module for each notebook.

They are for teachers and stay out of the package that students install. What they give on the cases of each exercise is
recorded beside the exercise, and the check compares with that: run `python -m solutions` after every change here.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tiramisu_edu.course.checks import Exercise, Failure, Outcomes
from tiramisu_edu.course.lesson import exercises_of


class Answers(NamedTuple):
    """The course's own answers to one exercise.

    Attributes:
        solution: the right answer, a function when there are cases, otherwise a value.
        mistakes: hint -> wrong answer that deserves it; two at least.
    """

    solution: Any
    mistakes: Mapping[str, Any]


def answers_of(number: int) -> dict[str, Answers]:
    """The answers of notebook `number` by the name of their check: `check_forward` and so on."""
    contents = vars(importlib.import_module(f"{__name__}.nb{number:02d}"))
    return {name: value for name, value in contents.items() if isinstance(value, Answers)}


def outcomes(exercise: Exercise, answers: Answers) -> Outcomes:
    """What the answers give on the cases of the exercise."""
    arguments = list(inspect.signature(answers.solution).parameters) if exercise.cases else []
    wrong = {hint: exercise.results(answer) for hint, answer in answers.mistakes.items()}
    return Outcomes(arguments, exercise.results(answers.solution), wrong)


def recorded(number: int) -> str:
    """The file of outcomes of notebook `number`, as JSON."""
    answers = answers_of(number)
    found = {e.name: outcomes(e, answers[check])._asdict() for check, e in exercises_of(number).items()}
    return json.dumps(found, default=_plain, ensure_ascii=False, indent=1) + "\n"


def _plain(value: Any) -> Any:
    return {"failure": value.error} if isinstance(value, Failure) else value.tolist()
