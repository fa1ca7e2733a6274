"""The exercise engine: random cases, messages, changed arguments, endless loops, right answers of another form."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from teaching.chance import CIRCUIT_TRAITS, circuit, picture, simplex, weights
from teaching.generic import changes, score
from teaching.solutions import RANDOM_CASES, Answers, plain
from tiramisu_edu.circuits.enumeration import brute_force_joint
from tiramisu_edu.course import checks
from tiramisu_edu.course.checks import GENERAL, Exercise, normalised, shares
from tiramisu_edu.course.compare import Failure, show_apart
from tiramisu_edu.course.exercises import RESTORED


def _mean(values, odds):
    total = 0.0
    for value, p in zip(values, odds):
        total += p * value
    return total / sum(odds)


MEAN = Answers(
    name="mean",
    task="return the mean",
    solution=_mean,
    cases={"two": ([1.0, 3.0], [1.0, 1.0])},
    random=lambda rng, size: (rng.normal(size=size).round(2).tolist(), (rng.random(size) + 0.1).round(2).tolist()),
    traits={"more than three values": lambda values, odds: len(values) > 3},
    mistakes={"weigh each": lambda values, odds: sum(values) / len(values), "divide": lambda v, o: sum(map(mul, v, o))},
)


def mul(a, b):
    return a * b


EXERCISE = MEAN.exercise()


def test_random_cases_grow_and_another_seed_makes_others():
    assert len(EXERCISE.cases) > RANDOM_CASES / 2
    lengths = [len(str(case)) for label, case in EXERCISE.cases.items() if label.startswith("random")]
    assert lengths[0] < lengths[-1]
    assert MEAN.exercise(1).cases != EXERCISE.cases == MEAN.exercise(0).cases


def test_a_mistake_that_only_large_cases_show_is_found_and_named():
    told = EXERCISE.report(lambda values, odds: _mean(values[:3], odds[:3])).message
    assert "not yet, right in" in told and "right in every other case; wrong in all cases with more than three" in told
    assert told.count("case      random") == 1


def test_changed_arguments_are_reported():
    def clearing(values, odds):
        found = _mean(values, odds)
        values.clear()
        return found

    report = EXERCISE.report(clearing)
    assert not report.passed and "your code changed its argument values" in report.message


def test_an_endless_loop_ends(monkeypatch):
    monkeypatch.setattr(checks, "CHECK_SECONDS", 0.2)

    def endless(values, odds):
        while True:
            try:
                sum(values)
            except Exception:
                break
        while True:
            pass

    start = time.perf_counter()
    report = EXERCISE.report(endless)
    assert time.perf_counter() - start < 5
    assert not report.passed and "does a loop never end?" in report.message


@pytest.mark.parametrize("form", [np.float64, torch.tensor, np.array, lambda x: torch.tensor(x, requires_grad=True)])
def test_right_answers_of_another_form_pass(form):
    assert EXERCISE.report(lambda values, odds: form(_mean(values, odds))).passed
    assert EXERCISE.report(lambda values, odds: np.float32(_mean(values, odds))).passed


def test_what_is_to_be_found_is_never_shown():
    value = Exercise("root", "find the root", {"": 1.2345}, {"close": {"": 1.0}})
    for answer in (1.0, 2.469, "x", None, [1, 2], np.nan, -2.2345):
        assert "1.234" not in value.report(answer).message
    assert value.report(1.2345).passed and "close" in value.report(1.0).message


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda v, o: -_mean(v, o), "the sign"),
        (lambda v, o: 2 * _mean(v, o), "every number is 2 times"),
        (lambda v, o: _mean(v, o) + 0.5, "off by the same 0.5"),
        (lambda v, o: np.nan, "there is nan in it"),
        (lambda v, o: np.float32("nan"), "there is nan in it"),
        (lambda v, o: [_mean(v, o)], "the shape is (1,), expected ()"),
        (lambda v, o: "no", "the answer is a str, expected a float"),
        (lambda v, o: {"a": 1}, "the answer is a dict, expected a float"),
        (lambda v, o: v[0] + 0 * o[0], GENERAL),
    ],
)
def test_what_leads_from_the_expected_to_the_given(answer, told):
    assert told in EXERCISE.report(answer).message


def test_what_is_off_is_told_by_the_argument_that_is_the_same_there():
    def halved(values, known):
        return np.where(known, values, values / 2)

    made = Answers("kept", "", lambda values, known: values, {}, {"a": (np.arange(4.0) + 1, np.arange(4) % 2 == 0)})
    assert "every number that is off stands where known is False" in made.compared(0).report(halved).message


def test_an_argument_that_is_not_used_is_named():
    assert "your code does not use odds" in EXERCISE.report(lambda values, odds: values[0]).message


def test_a_slip_gets_its_sentence():
    def overwritten(values, odds):
        for value, p in zip(values, odds):
            total = p * value
        return total / sum(odds)

    assert "overwritten where it should be added up" in EXERCISE.report(overwritten).message


def test_generic_changes_are_made_and_refused():
    found = {change.what for change in changes(_mean)}
    assert {"= for += and its like", "only two items", "left operand dropped", "max for sum"} <= found
    result = score(_mean, EXERCISE, ())
    assert result.refused == result.tried and not result.survivors
    lax = Answers("mean", "", _mean, {}, {"one": ([1.0], [1.0])}).exercise()
    assert score(_mean, lax, ()).survivors


def test_values_that_look_alike_are_shown_with_the_digits_that_differ():
    assert show_apart(0.12345678, 0.12345699) == ("0.12345678", "0.12345699")
    assert show_apart(1, Failure("nothing")) == ("1", "nothing")


def test_views():
    assert shares([[0, 1], [0, 1], [1, 1], [0, 0]]) == {(0, 1): 0.5, (1, 1): 0.25, (0, 0): 0.25}
    assert shares([2, 2, 3, 3]) == {2: 0.5, 3: 0.5}
    assert normalised([1, 3]).tolist() == [0.25, 0.75] and normalised([-1.0, 3.0]).tolist() == [-1.0, 3.0]


@pytest.mark.parametrize("seed", range(20))
def test_random_circuits_are_circuits_and_survive_the_record(seed):
    rng = np.random.default_rng(seed)
    made = circuit(rng, 1 + seed % 4)
    kept = RESTORED["circuit"](plain(made)["circuit"])
    assert made.is_smooth and made.is_decomposable and kept.num_nodes == made.num_nodes
    assert np.allclose(brute_force_joint(kept).probabilities, brute_force_joint(made).probabilities)
    assert made.likelihood(picture(rng, made)) > 0
    assert [len(row) for row in weights(rng, made)] == list(made.num_categories)
    assert abs(simplex(rng, 3).sum() - 1) < 1e-12 and (simplex(rng, 5, zeros=False) > 0).all()


def test_random_circuits_have_all_traits():
    made = [circuit(np.random.default_rng(seed), 4) for seed in range(20)]
    assert all(sum(map(has, made)) >= 2 for has in CIRCUIT_TRAITS.values())
