"""The versions for nbgrader: the release tells nothing, the hidden tests of the source tell right from wrong."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from teaching.assignments import BEGIN_HIDDEN, assignment, main
from teaching.lesson import notebook_paths, read_lesson
from teaching.notebooks import BEGIN, REASONING

HAND = notebook_paths(Path(__file__).parents[2] / "notebooks")[1]


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Cells of the source and of the release by their grade_id, and both notebooks."""
    paths = assignment(HAND, tmp_path_factory.mktemp("course"), seed=5)
    assert [path.parts[-3] for path in paths] == ["source", "release"]
    notebooks = [nbformat.read(path, as_version=4) for path in paths]
    marked = [{c.metadata.nbgrader.grade_id: c for c in n.cells if "nbgrader" in c.metadata} for n in notebooks]
    return *marked, *notebooks


def test_marks(versions):
    """What nbgrader's schema, version 3, asks for; points are the levels, and what is no solution is locked."""
    for cells in versions[:2]:
        marks = [cell.metadata.nbgrader for cell in cells.values()]
        assert all(each.schema_version == 3 and each.locked != each.solution and not each.task for each in marks)
        points = {name: cell.metadata.nbgrader.points for name, cell in cells.items() if cell.metadata.nbgrader.grade}
        assert points == {task.check: task.difficulty for task in read_lesson(HAND).tasks}
        assert [name for name, cell in cells.items() if cell.metadata.nbgrader.solution] == [
            name.removeprefix("check_") for name in points
        ]


def test_the_release_has_neither_solutions_nor_hidden_tests(versions):
    source, release, whole, given = versions
    assert not any(mark in json.dumps(given) for mark in (BEGIN, BEGIN_HIDDEN, REASONING.strip()))
    assert not any(cell.get("outputs") for cell in [*whole.cells, *given.cells])
    assert release["p_bright"].source == "p_bright = ...  # your code here"
    assert release["forward"].source == "def forward(n, x):\n    ...  # your code here"
    assert release["check_forward"].source == "check_forward(forward)"
    assert list(source) == list(release)
    unmarked = [cell.source for cell in whole.cells if "nbgrader" not in cell.metadata]
    assert unmarked == [cell.source for cell in given.cells if "nbgrader" not in cell.metadata]


def test_hidden_tests_take_the_solution_and_refuse_the_stub_and_what_fits_the_recorded_cases(versions, capsys):
    source, release, whole, _ = versions
    space: dict[str, object] = {}
    exec(next(cell.source for cell in whole.cells if cell.cell_type == "code"), space)
    for name in ("forward", "smooth", "compiled"):
        exec(source[name].source, space)
        exec(source[f"check_{name}"].source, space)
        exec(release[name].source, space)
        with pytest.raises(AssertionError, match=f"{name}: nothing here yet"):
            exec(source[f"check_{name}"].source, space)
    exec("p_bright = 0.5", space)
    with pytest.raises(AssertionError, match="p_bright: not yet"):
        exec(source["check_p_bright"].source, space)
    assert capsys.readouterr().out.count("correct in all") == 3


def test_the_seed_of_the_students_is_refused_in_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(HAND), str(tmp_path), "--seed", "0"])
    assert "error: seed 0: choose 1 or more, since 0 makes the cases that students have" in capsys.readouterr().err
