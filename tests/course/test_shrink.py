"""Shrinking: the case shown for a mistake is small, fair, and still shows it."""

from __future__ import annotations

import numpy as np
import pytest

from teaching import solutions
from teaching.chance import circuit, picture
from teaching.shrink import shrink
from teaching.solutions import Answers
from tiramisu_edu.circuits.nodes import Product
from tiramisu_edu.course.exercises import exercises_of

SHRUNKEN = [(n, check, a) for n in solutions.numbers() for check, a in solutions.answers_of(n).items() if a.fair]


def size(arguments):
    return len(repr(arguments))


def test_an_array_shrinks_to_the_entry_that_matters():
    values, rates = np.array([0.37, 2.5, -1.25, 4.0]), np.array([0.7, 3.5, 2.25, 1.0])
    small, left = shrink((values, rates), lambda a: len(a[0]) == len(a[1]) > 0 and a[0].min() < 0, size)
    assert small.tolist() == [-1.0] and len(left) == 1


def test_rows_of_distributions_stay_distributions_and_what_is_unlike_keeps_its_kind():
    table, seen = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]), np.array([True, False, True])
    arguments = ({"a": table, "b": table}, seen)
    small, left = shrink(arguments, lambda a: "b" in a[0] and a[0]["b"].sum() == len(a[0]["b"]) and a[1].any(), size)
    assert small["b"].tolist() == [[1.0]] and list(small) == ["b"] and left.tolist() == [True]


@pytest.mark.parametrize("seed", range(5))
def test_a_circuit_shrinks_to_the_node_that_matters(seed):
    """Fewer pixels and children, simpler tables; what stands beside the circuit shrinks with it."""
    rng = np.random.default_rng(seed)
    made = circuit(rng, 4)

    def fits(arguments):
        of, x = arguments
        return len(x) == of.num_variables and of.is_smooth and any(isinstance(n, Product) for n in of.nodes)

    of, x = shrink((made, picture(rng, made, hidden=0)), fits, lambda a: (a[0].num_edges, size(a[1])))
    assert isinstance(of.root, Product) and of.num_nodes == 3 and len(x) == 2


@pytest.mark.parametrize(("number", "check", "answers"), SHRUNKEN, ids=[check for _, check, _ in SHRUNKEN])
def test_cases_are_in_order_and_the_small_ones_fair(number: int, check: str, answers: Answers):
    cases = exercises_of(number)[check].cases
    small = {label: arguments for label, arguments in cases.items() if label.startswith("small")}
    assert all(answers.fair(*arguments) for arguments in small.values())
    assert not small or list(cases) == sorted(cases, key=lambda label: solutions._size(cases[label]))


def test_a_mistake_is_shown_on_a_case_that_no_step_makes_smaller():
    exercise, answers = exercises_of(5)["check_promised"], solutions.answers_of(5)["check_promised"]
    wrong = answers.mistakes["a node that many pictures pass counts more: weigh its divergence by its counts"]
    results = exercise.results(wrong)
    case = next(c for c, right in exercise.expected.items() if abs(results[c] - right) > 1e-6)
    arguments = exercise.cases[case]
    assert shrink(arguments, lambda less: answers._fails(wrong, less), solutions._size) is arguments
