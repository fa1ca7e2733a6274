"""The report counts what the rules ask for, and notices a rule that is broken and a wrong answer that gets through."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nbformat
import pytest

from teaching import report
from teaching.lesson import notebook_paths, numbers, read_lesson
from teaching.mutants import try_mistakes
from teaching.solutions import nb02
from tiramisu_edu.errors import FileError

FOLDER = Path(__file__).parents[2] / "notebooks"
HAND = next(FOLDER.glob("02_*.ipynb"))


@pytest.fixture
def lesson():
    return read_lesson(HAND)


def test_a_lesson_says_what_its_header_says(lesson):
    assert (lesson.number, lesson.title, lesson.needs) == (2, "A circuit by hand", (1,))
    assert lesson.question.endswith("?") and "\n" not in lesson.can
    assert [task.number for task in lesson.tasks] == list(range(1, len(lesson.tasks) + 1))
    assert {task.check for task in lesson.tasks} == set(lesson.exercises)


@pytest.mark.parametrize("path", notebook_paths(FOLDER), ids=lambda path: path.stem)
def test_every_exercise_posed_is_one_that_is_tested(path):
    lesson = read_lesson(path)
    assert {task.check for task in lesson.tasks} == set(lesson.exercises)
    assert all(need < lesson.number for need in lesson.needs)


def test_a_missing_header_is_named(tmp_path):
    target = tmp_path / "02_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 2 · X", id="a")]), target)
    with pytest.raises(FileError, match="You need"):
        read_lesson(target)


def test_numbers_are_counted():
    image = {"text/html": '<img alt="one two three four five" src="x"><img alt="short" src="y">'}
    code = "a = 1\n\nassert a\nfor _ in range(2):\n    assert a\ncheck_a(a)"
    cell = nbformat.v4.new_code_cell(code, outputs=[nbformat.v4.new_output("display_data", data=image)])
    prose = nbformat.v4.new_markdown_cell("It's **two** words and $x_1$.")
    found = numbers(nbformat.v4.new_notebook(cells=[prose, cell]))
    assert found == {
        "cells": 2,
        "words": 5,
        "code lines": 5,
        "longest cell": 6,
        "checks": 1,
        "assertions": 2,
        "images": 2,
        "with alt text": 1,
    }


def test_a_number_out_of_range_is_marked_and_one_over_its_target(lesson, monkeypatch):
    found = numbers(lesson.notebook)
    monkeypatch.setattr(report, "TARGETS", {"cells": found["cells"] - 1, "words": found["words"]})
    rows, kept = report.rule_table([lesson], [10])
    assert kept and [number for number in rows[0] if not number.isdigit()] == [HAND.stem, f"{found['cells']} +"]
    rows, kept = report.rule_table([lesson], [report.RULES["seconds"][1] + 1])
    assert not kept and rows[0][-1] == "{} !".format(report.RULES["seconds"][1] + 1)


def test_every_wrong_answer_is_shown_with_its_code_and_message(lesson):
    trials = try_mistakes(2)
    assert all(trial.rejected and trial.code and trial.hint for trial in trials)
    assert trials[0].code == "_forward_with(…, fault='last')"
    assert len({trial.message for trial in trials}) == len(trials)
    rows, kept = report.mutant_table([lesson])
    assert kept and len(rows) == len(lesson.tasks)


def test_a_wrong_answer_that_gets_through_is_marked(lesson, monkeypatch):
    answers = nb02.check_forward
    first, *_ = answers.mistakes
    lax = dataclasses.replace(answers, mistakes={**answers.mistakes, first: answers.solution})
    monkeypatch.setattr(nb02, "check_forward", lax)
    rows, kept = report.mutant_table([lesson])
    assert not kept and rows[0][1:] == ["4", "3", "4", "!"]


def test_the_command_prints_its_tables(tmp_path, capsys):
    (tmp_path / HAND.name).write_bytes(HAND.read_bytes())
    assert report.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (
        "02_a_circuit_by_hand" in printed and "{}–{}".format(*report.RULES["cells"]) in printed and "(100%)" in printed
    )
    words = numbers(read_lesson(HAND).notebook)["words"]
    over = int(words > report.TARGETS["words"])
    assert f"+: over the target of {report.TARGETS['words']} words: {over} of 1 notebooks; most: {words}" in printed
    with pytest.raises(SystemExit):
        report.main([str(tmp_path / "nowhere")])
    assert "no notebooks" in capsys.readouterr().err
