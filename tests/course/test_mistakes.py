"""Whatever a student hands to a check by mistake, the check answers in words."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from tiramisu_edu.circuits.nodes import Input, Product
from tiramisu_edu.course.checks import Exercise
from tiramisu_edu.course.compare import show_value
from tiramisu_edu.course.exercises import all_exercises, progress

EXERCISES = all_exercises()


class Hostile:
    """An answer that breaks whatever touches it."""

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __repr__(self):
        raise RuntimeError("no text")

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array")


SLIPS = [
    0,
    -1.5,
    True,
    "0.5",
    [],
    [None],
    (1, 2, 3),
    {"a": 1},
    {1, 2},
    b"x",
    np.zeros((3, 4, 5)),
    np.zeros((2, 0)),
    np.array(["a"]),
    np.array([None, 1]),
    np.inf,
    torch.zeros(2, 2),
    torch.ones(3, requires_grad=True),
    range(3),
    complex(0, 1),
    Exception("no answer"),
    iter([1, 2]),
    float("nan"),
    Hostile(),
    object,
    len,
]


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def raising(error):
    def answer(*_):
        raise error

    return answer


def endless(*arguments):
    return endless(*arguments)


@pytest.mark.parametrize("name", EXERCISES)
def test_a_slip_is_answered_in_words(name, capsys):
    exercise = EXERCISES[name]
    functions = [lambda *_, slip=slip: slip for slip in SLIPS] if exercise.cases else []
    wrong = [raising(KeyError("k")), raising(Unspeakable()), raising(SystemExit(2)), endless, lambda: 1, sys.exit, dict]
    for answer in [*SLIPS, *functions, *(wrong if exercise.cases else [])]:
        before = len(exercise.reports)
        exercise(answer)
        printed = capsys.readouterr()
        assert printed.out.startswith(f"{exercise.name}: ")
        assert "Traceback" not in printed.out and not printed.err
        assert len(exercise.reports) == before + 1
    assert not any(report.passed for report in exercise.reports)
    exercise.reports.clear()


def test_a_value_without_text_is_named():
    assert show_value(Hostile()) == "a Hostile"


def test_forgetting_the_answer_is_not_an_error(capsys):
    for exercise in EXERCISES.values():
        exercise()
        assert f"Missing: {exercise.task}." in capsys.readouterr().out
        exercise.reports.clear()


def test_a_tensor_with_a_gradient_counts_by_its_numbers():
    wrong = {"one": {"": [1.0, 1.0]}, "none": {"": [0.0, 0.0]}}
    half = Exercise("half", "set it to 1/2 twice", {"": [0.5, 0.5]}, wrong)
    assert half.report(torch.full((2,), 0.5, requires_grad=True)).passed
    assert "yours     [1., 1., 1.]" in half.report(torch.ones(3, requires_grad=True)).message
    assert "the shape is (3,), expected (2,)" in half.report(torch.ones(3, requires_grad=True)).message


def forward(n, x):
    if isinstance(n, Input):
        return 1.0 if x[n.variable] == -1 else n.probabilities[x[n.variable]]
    below = [forward(c, x) for c in n.children]
    return math.prod(below) if isinstance(n, Product) else np.dot(n.weights, below)


def test_progress_names_what_is_missing(capsys):
    ours = {name: e for name, e in EXERCISES.items() if name.startswith("nb02.")}
    first, second, *_ = ours.values()
    first(forward)
    second(None)
    capsys.readouterr()
    progress(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"1 of {len(ours)} exercises solved"
    assert lines[1].startswith(f"[x] {first.name}: correct")
    assert lines[2] == f"[ ] {second.report(None).message}"
    assert lines[3].endswith("not tried yet")
    for exercise in ours.values():
        exercise.reports.clear()
