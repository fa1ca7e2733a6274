"""Checks accept solutions, reject every listed wrong answer with its own message, and never raise."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from teaching import solutions
from teaching.solutions import Answers, plain
from tiramisu_edu.course.checks import source
from tiramisu_edu.course.compare import Failure, same, show_value
from tiramisu_edu.course.exercises import all_exercises

EXERCISES = all_exercises()
ANSWERS = {f"nb{n:02d}.{check}": found for n in solutions.numbers() for check, found in solutions.answers_of(n).items()}


def other(value):
    """The same answer in another form."""
    if isinstance(value, float | np.floating):
        return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.tensor(value, requires_grad=True)
    if isinstance(value, np.ndarray):
        return value.astype(object)
    return [*map(other, value)] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_in_another_form_too(name):
    exercise, solution = EXERCISES[name], ANSWERS[name].solution
    answers = [solution, lambda *case: other(solution(*case))] if exercise.cases else [solution, other(solution)]
    for report in map(exercise.report, answers):
        assert report.passed, report.message


@pytest.mark.parametrize("name", EXERCISES)
def test_what_is_recorded_is_what_the_answers_give(name):
    stored = EXERCISES[name]
    found = ANSWERS[name].exercise(small={c: a for c, a in stored.cases.items() if c.startswith("small")})
    assert (found.name, found.task, found.arguments) == (stored.name, stored.task, stored.arguments)
    assert (found.tolerance, found.slack) == (stored.tolerance, stored.slack)
    assert list(found.cases) == list(stored.cases)
    assert json.dumps(plain(dict(found.cases))) == json.dumps(plain(dict(stored.cases)))
    for part in ("expected", "mistakes", "traits", "slips"):
        assert list(getattr(found, part)) == list(getattr(stored, part))
        assert same(getattr(found, part), getattr(stored, part), 1e-8), part


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_on_other_random_cases(name):
    """What a grader keeps back: the cases of another seed. On no case does the solution fail."""
    exercise = ANSWERS[name].compared(seed=1)
    assert exercise.report(ANSWERS[name].solution).passed
    expected = [*exercise.expected.values(), *EXERCISES[name].expected.values()]
    assert not any(isinstance(each, Failure) for each in expected)


@pytest.mark.parametrize("name", EXERCISES)
def test_each_listed_mistake_fails_with_its_own_message(name):
    exercise = EXERCISES[name]
    assert len(ANSWERS[name].mistakes) >= 2
    messages = []
    for hint, wrong in ANSWERS[name].mistakes.items():
        report = exercise.report(wrong)
        assert not report.passed, hint
        assert hint in report.message
        messages.append(report.message)
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("stub", [None, ...])
def test_an_empty_stub_is_told_what_is_missing(name, stub):
    exercise = EXERCISES[name]
    report = exercise.report(stub)
    assert not report.passed
    assert exercise.task in report.message
    if exercise.cases:
        assert exercise.report(lambda *_: stub).message == report.message


def divide(values):
    return values[0] / 0


def _twice(a):
    return [2 * v for v in a]


TWICE = Answers(
    name="double",
    task="return 2 a",
    cases={"numbers": ([1.0, 2.0],), "one": ([3.0],)},
    solution=_twice,
    mistakes={"add": lambda a: [v + 2 for v in a], "square": lambda a: [v**2 for v in a]},
)
DOUBLE = TWICE.exercise()


def test_an_exercise_without_outcomes_accepts_nothing():
    report = dataclasses.replace(DOUBLE, expected={}).report(TWICE.solution)
    assert not report.passed and "python -m teaching.solutions" in report.message


def test_a_message_names_case_value_and_expectation():
    assert DOUBLE.report(lambda a: [0.0 for _ in a]).message.splitlines() == [
        "double: not yet",
        "  case      numbers: a = [1., 2.]",
        "  at        0",
        "  yours     0",
        "  expected  2",
        "  likely    none of the usual ones; work the case by hand and compare each step",
    ]


def test_an_exception_is_reported_with_the_students_line():
    message = DOUBLE.report(divide).message
    assert "your code raised ZeroDivisionError" in message
    assert "return values[0] / 0" in message


def test_a_wrong_shape_and_a_missing_branch_are_named():
    assert "the shape is (2, 1), expected (2,)" in DOUBLE.report(lambda a: [[2 * v] for v in a]).message
    assert "a branch of your function returns nothing" in DOUBLE.report(lambda a: None if a[0] < 2 else [6.0]).message
    assert "expected a function" in DOUBLE.report(3.0).message


def test_a_student_cannot_spoil_the_cases():
    DOUBLE.report(lambda a: a.clear())
    assert DOUBLE.report(TWICE.solution).passed
    assert DOUBLE.report(lambda a: NotImplemented).passed is False


def not_written(a):
    raise NotImplementedError


def test_a_stub_that_raises_not_implemented_counts_as_empty():
    assert "Missing: return 2 a." in DOUBLE.report(not_written).message


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1.0 + 1e-9, 1.0, True),
        (np.float32(0.1), 0.1, True),
        (1, True, True),
        (0.9, True, False),
        ("Better ", "better", True),
        ({"k": 1.0}, {"k": 1.0, "zero": 0.0}, True),
        ({"k": 1.0, "zero": 0}, {"k": 1.0}, True),
        ({"k": 1.0}, {"k": 1.0, "one": 1.0}, False),
        ([torch.ones(1, requires_grad=True), torch.zeros(1)], [[1.0], [0.0]], True),
        (torch.tensor([0.1, 1000.0]), [0.1 + 1e-6, 1000.0], True),
        (np.array([0.1 + 1e-5, 1000.0]), [0.1, 1000.0], False),
        ((1.0, 2.0), [1.0, 2.0], True),
        (np.True_, True, True),
        ("a", "a", True),
        ({"k": [1.0]}, {"k": [1.0]}, True),
        ({"k": [1.0]}, {"j": [1.0]}, False),
        ([[1], [2, 3]], [[1], [2, 3]], True),
        ([[1], [2, 4]], [[1], [2, 3]], False),
        (np.nan, np.nan, True),
        (np.zeros(3), np.zeros((3, 1)), False),
        (np.zeros((0, 4)), [], True),
        (np.array([True, False], dtype=object), [True, False], True),
        (None, 1.0, False),
    ],
)
def test_same(a, b, equal):
    assert same(a, b, 1e-6) is equal


def test_values_are_shown_short():
    assert show_value(0.1 + 0.2) == "0.3"
    assert len(show_value("x" * 1000)) <= 120


def test_source_shows_code_without_its_docstring(capsys):
    source(same)
    assert "HTML" in capsys.readouterr().out
