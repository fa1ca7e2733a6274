"""Submissions that cheat get nothing by it, odd and honest ones what they are worth, and the page says the same."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

from teaching import grading, sandbox, solutions
from teaching.grading import main, submissions
from teaching.handed_in import read_handed_in
from teaching.lesson import read_lesson
from teaching.notebooks import student
from teaching.odd_submissions import CHEATS, HAND, HONEST, answer, solved, write
from teaching.sandbox import encoded
from teaching.verdict import found, hidden_exercises
from tiramisu_edu.course.compare import Failure
from tiramisu_edu.course.exercises import exercises_of
from tiramisu_edu.errors import FileError, TiramisuError

PAGE = Path(__file__).parents[2] / "docs" / "grading.md"
LESSON = read_lesson(HAND)
NAMES = ["forward", "p_bright", "smooth", "compiled"]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Exit code, what was printed, and the rows of the CSV file by student, for one run over all of them.

    Of the course's cells only those run that answers need, for the others draw.
    """
    needed = [(source, check) for k, (source, check) in enumerate(grading._cells(LESSON)) if check or k < 6]
    folder = tmp_path_factory.mktemp("class")
    write(folder / "handed_in")
    (folder / "handed_in" / "=1+1.ipynb").write_text("<html>")
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "_cells", lambda lesson: needed)
        options = ["--csv", str(folder / "grades.csv"), "--seed", "7", "--seconds", "4", "--workers", "2"]
        code = main([str(HAND), str(folder / "handed_in"), *options])
    with (folder / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return code, printed.getvalue(), {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", HONEST)
def test_odd_and_honest(graded, name):
    row = graded[2][name]
    assert [int(row[each]) for each in NAMES] == ([3, 0, 0, 0] if name == "partial" else [3, 2, 4, 5])
    assert row["flags"] == ""


NOTHING = {
    "imported solutions": "imports the solutions",
    "recorded values": "opens exercises/nb02.json",
    "table of results": "forward knows the cases that students have, and no others; copied: forward",
    "patched checker": "changes tiramisu_edu.course.checks.difference",
}
SOMETHING = {
    "copied values": ([3, 0, 4, 5], "copied: p_bright", ""),
    "stale outputs": ([0, 2, 0, 0], "", "not executed: p_bright; stale output: forward, smooth, compiled"),
    "missing cells": ([3, 2, 0, 0], "", "no cell: smooth, compiled"),
    "endless loop": ([3, 2, 0, 5], "", "stale output: smooth"),
    "memory and exit": ([3, 2, 0, 0], "", "stale output: smooth, compiled"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_cheating_costs_what_it_was_to_gain(graded, name):
    row = graded[2][name]
    points, flag, remark = SOMETHING.get(name) or ([0, 0, 0, 0], NOTHING[name], "")
    assert [int(row[each]) for each in NAMES] == points
    assert int(row["points"]) == sum(points)
    assert row["flags"] == flag and remark in row["remarks"]


def test_what_ended_a_process_is_said(graded):
    why = {name: row["why not"] for name, row in graded[2].items()}
    assert why["endless loop"] == "smooth: stopped: does a loop never end?"
    assert "MemoryError" in why["memory and exit"] and "ended before it was done" in why["memory and exit"]
    assert "p_bright: a number is typed in" in why["copied values"]
    assert "smooth: not yet; your code raised AttributeError" in why["partial"]


def test_what_is_no_notebook_is_named_and_no_formula_for_a_spreadsheet(graded):
    code, printed, rows = graded
    assert code == 1 and "hidden cases of seed 7" in printed
    assert "=1+1.ipynb is no notebook" in rows["'=1+1"]["why not"]
    assert rows["'=1+1"]["points"] == "0"


def test_the_page_shows_what_the_grader_prints(graded):
    """All but the times."""

    def rows(text):
        found = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")
        ]
        return [row[:6] + row[7:] for row in found if row[0] != "=1+1" and not row[0].startswith("-")]

    page = PAGE.read_text(encoding="utf-8")
    assert rows(page[page.index("| student ") :]) == rows(graded[1])


def test_hidden_cases_are_others_than_the_students():
    for seed in (0, -3):
        with pytest.raises(TiramisuError, match=f"seed {seed}: choose 1 or more"):
            hidden_exercises(LESSON, seed)
    recorded, hidden = exercises_of(2)["check_forward"], hidden_exercises(LESSON, 7)["check_forward"]
    seen = {repr(recorded.expected[case]) for case in recorded.cases}
    new = {repr(hidden.expected[case]) for case in hidden.cases if case.startswith("random ")}
    assert len(new) > 10 and len(new & seen) < 3


def test_names_come_from_the_file_or_from_its_folder(tmp_path, monkeypatch):
    """Notebooks of other weeks are left out; two of one name are told apart by their paths."""
    week = tmp_path / "Åsa" / HAND.stem
    (week / ".ipynb_checkpoints").mkdir(parents=True)
    for path in (HAND.name, f".ipynb_checkpoints/{HAND.name}", "béla.ipynb", "03_queries.ipynb"):
        nbformat.write(solved(), week / path)
    found = submissions(LESSON, [tmp_path, week / "béla.ipynb"])
    assert [read_handed_in(LESSON, path).student for path in found] == ["Åsa", "béla"]
    (tmp_path / "none").mkdir()
    for path, said in {"none": "no notebook to be graded as 02_a", "gone": "there is no .*gone"}.items():
        with pytest.raises(FileError, match=said):
            submissions(LESSON, [tmp_path / path])
    monkeypatch.setattr(grading, "_run", lambda lesson, readable, *_: [{} for _ in readable])
    grades = grading.grade(LESSON, [week / "béla.ipynb", week / ".." / "béla.ipynb", week / HAND.name], seed=7)
    assert [Path(grade.student).name for grade in grades] == ["béla.ipynb", "béla.ipynb", "Åsa"]


@pytest.mark.parametrize(
    "options, said",
    [
        (["--workers", "0"], "--workers: 0 is no number above 0"),
        (["--seconds", "nan"], "--seconds: nan is no number above 0"),
        (["--csv", "/none/grades.csv"], "No such file or directory: '/none/grades.csv'"),
    ],
)
def test_what_cannot_be_is_told_before_the_work(options, said, capsys):
    with pytest.raises(SystemExit):
        sys.exit(main([str(HAND), str(HAND), *options]))
    assert said in capsys.readouterr().err


def test_the_students_version_is_not_graded_against(tmp_path, capsys):
    path = student(HAND, tmp_path)
    assert main([str(path), str(path)]) == 2
    assert "has no solutions: give the course's own notebook" in capsys.readouterr().err


def test_a_broken_file_is_told_with_the_name_of_its_folder(tmp_path, monkeypatch):
    """Also one with cells that are none; the class's other submissions go on."""
    monkeypatch.setattr(grading, "_run", lambda *_: [])
    path = tmp_path / "Åsa" / HAND.name
    path.parent.mkdir()
    path.write_text('{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code"}]}')
    (grade,) = grading.grade(LESSON, [path], seed=7)
    assert grade.student == "Åsa" and "is no notebook" in grade.failure


@pytest.mark.parametrize(
    "line", ["x = '\ud800'", "x = " + "1+" * 3000 + "1", "x = " + "-" * 5000 + "1", "nonlocal x", "x = '\0'", "x = ("]
)
def test_code_that_python_does_not_take_is_the_loss_of_its_exercise_only(tmp_path, line):
    (tmp_path / "x.ipynb").write_text(json.dumps(solved() | {"cells": _with(f"p_bright = 0.7582089552\n{line}")}))
    found = read_handed_in(LESSON, tmp_path / "x.ipynb")
    assert list(found.answers) == ["check_" + name for name in NAMES] and not found.copied and not found.cheats


def _with(source):
    notebook = solved()
    answer(notebook, "p_bright").source = source
    return notebook.cells


def handed_in(tmp_path, source, name="p_bright"):
    notebook = solved()
    answer(notebook, name).source = source
    nbformat.write(notebook, tmp_path / "x.ipynb")
    return read_handed_in(LESSON, tmp_path / "x.ipynb")


@pytest.mark.parametrize(
    "source",
    [
        "p_bright = check_p_bright.expected['']",
        "check = check_p_bright",
        "p_bright = globals()['check_p_bright']",
        "check_p_bright.report = lambda answer: None",
        "def check_p_bright(answer): print('p_bright: correct')",
        "from tiramisu_edu.course.exercises import exercises_of",
        "import tiramisu_edu.course.exercises as e\ne.record_path(2)",
        "import teaching.solutions",
    ],
)
def test_what_no_answer_needs_is_seen_without_running_it(tmp_path, source):
    assert handed_in(tmp_path, source).cheats


@pytest.mark.parametrize("number", ["0.7582089552238806", "float('0.7') + 5.82089552e-2", "math.exp(-0.2767963)"])
def test_a_number_that_is_typed_in_is_copied(tmp_path, number):
    assert handed_in(tmp_path, f"import math\n\ncheck_p_bright({number})").copied == ["check_p_bright"]
    assert handed_in(tmp_path, f"import math\n\np_bright = {number}\n\ncheck_p_bright(p_bright)").copied == [
        "check_p_bright"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "import math\n\ncheck_p_bright(math.exp(0.5) / circuit.likelihood([1, 1, 1]))",
        "p_bright = 0.504 / 0.6\nprint(check_p_bright)\nhelp(check_p_bright)\ncheck_p_bright.cases",
        "p_bright = round(circuit.likelihood([1, 1, 1]), 7) + 0.1234567\n%timeit 1\ncheck_p_bright?",
        "from tiramisu_edu.course.exercises.nb02 import check_p_bright, three_pixels\np_bright = three_pixels()",
    ],
)
def test_honest_ways_are_not_suspected(tmp_path, source):
    found = handed_in(tmp_path, source)
    assert not found.cheats and not found.copied


def test_a_students_version_with_nothing_done_has_no_remarks(tmp_path):
    found = read_handed_in(LESSON, student(HAND, tmp_path))
    assert list(found.answers) == ["check_" + name for name in NAMES]
    assert not found.cheats and not found.copied and not any(found.remarks.values())


@pytest.mark.parametrize("number", range(1, 15))
def test_every_solution_is_right_on_hidden_cases(number):
    """None of them ends in an error, and what it returns comes through to the grader whole."""
    for answers in solutions.answers_of(number).values():
        exercise = answers.compared(11)
        assert not any(isinstance(value, Failure) for value in exercise.expected.values()), exercise.name
        line = json.dumps(["values", encoded(exercise.expected)])
        assert exercise.verdict(found([line, '["end"]'], "", 0.0).values).passed, exercise.name


def test_a_notebook_that_cannot_be_graded_is_named(tmp_path, monkeypatch, capsys):
    script = tmp_path / "sandbox.py"
    script.write_text("raise SystemExit('FileError: the course stops at: 1 / 0')")
    monkeypatch.setattr(sandbox, "__file__", str(script))
    nbformat.write(solved(), tmp_path / "x.ipynb")
    assert main([str(HAND), str(tmp_path / "x.ipynb"), "--seed", "7"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"02_a_circuit.*could not be graded: FileError: the course stops at: 1 / 0", said)
