"""The exercises with their solutions and the wrong answers seen in class: one module for each notebook.

They are for teachers and stay out of the package that students install. That has a record of each exercise: its cases,
what the solution gives on them and what the wrong answers give, with which a check compares. After every change here
run `python -m teaching.solutions`.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tiramisu_edu.course.checks import Exercise, Failure, as_it_is


@dataclass(frozen=True)
class Answers:
    """An exercise and the course's own answers to it.

    Attributes:
        name, task, cases, view: see `Exercise`.
        solution: the right answer, a function when there are cases, otherwise a value.
        mistakes: hint -> wrong answer that deserves it; two at least.
        built: cases that the package builds, because they hold circuits; they are not recorded.
    """

    name: str
    task: str
    solution: Any
    mistakes: Mapping[str, Any]
    cases: Mapping[str, tuple] = field(default_factory=dict)
    built: Mapping[str, tuple] = field(default_factory=dict)
    view: Callable[[Any], Any] = as_it_is

    def exercise(self) -> Exercise:
        """With what the answers give."""
        cases = {**self.cases, **self.built}
        empty = Exercise(self.name, self.task, {}, {}, cases=cases, view=self.view)
        arguments = list(inspect.signature(self.solution).parameters) if cases else []
        wrong = {hint: empty.results(answer) for hint, answer in self.mistakes.items()}
        return replace(empty, arguments=arguments, expected=empty.results(self.solution), mistakes=wrong)

    def record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        made = self.exercise()
        fields = ("task", "arguments", "expected", "mistakes")
        return plain({name: getattr(made, name) for name in fields} | {"cases": self.cases})


def answers_of(number: int) -> dict[str, Answers]:
    """The answers of notebook `number` by the name of their check: `check_forward` and so on."""
    contents = vars(importlib.import_module(f"{__name__}.nb{number:02d}"))
    return {name: value for name, value in contents.items() if isinstance(value, Answers)}


def recorded(number: int) -> str:
    """The record of the exercises of notebook `number`, as JSON, a line for each."""
    found = {answers.name: answers.record() for answers in answers_of(number).values()}
    lines = [json.dumps(name) + ": " + json.dumps(record, ensure_ascii=False) for name, record in found.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays, tuples and failures as {kind: content}."""
    if isinstance(value, Failure):
        return {"failure": value.error}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {"tuple": list(map(plain, value))}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return list(map(plain, value)) if isinstance(value, list) else value
