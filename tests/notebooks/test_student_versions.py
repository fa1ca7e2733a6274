"""Student and solution version agree; a newcomer who has solved nothing is told what is missing and meets no traceback.

That solutions pass is proved twice: the solved notebooks run under nbval, and the rules ask for "correct" behind every
check. The run of a newcomer takes as long as the notebook, so by default the short ones run whole, and for all others
it is shown that no cell reads an answer; ``TIRAMISU_NEWCOMER=all`` runs all (``make newcomer``).
"""

from __future__ import annotations

import ast
import os
import tempfile
from pathlib import Path

import nbclient
import nbformat
import pytest
import torch

from teaching.handed_in import names_read
from teaching.lesson import notebook_paths, read_lesson
from teaching.notebooks import BEGIN, END, REASONING, student
from tiramisu_edu.course.exercises import progress
from tiramisu_edu.errors import FileError
from tiramisu_edu.lab.worlds.stored import Stored

PATHS = notebook_paths(Path(__file__).parents[2] / "notebooks")
SHORT = 10  # seconds at toy scale, as the header says

quiet = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:zmq")


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_student_and_solution_differ_in_the_solutions_only(path, tmp_path):
    """Every line outside the markers is in the student's version, in order, and nothing else but the stubs is."""
    solved = nbformat.read(path, as_version=4).cells
    stubs = nbformat.read(student(path, tmp_path), as_version=4).cells
    assert [cell.id for cell in stubs[: len(solved)]] == [cell.id for cell in solved]
    assert [cell.cell_type for cell in stubs[len(solved) :]] == ["markdown", "code"]
    for ours, theirs in zip(solved, stubs, strict=False):
        if BEGIN in ours.source:
            lines = ours.source.splitlines()
            begin, end = ([line.strip() for line in lines].index(marker) for marker in (BEGIN, END))
            given = theirs.source.splitlines()
            assert given[:begin] == lines[:begin]
            assert given[len(given) - len(lines[end + 1 :]) :] == lines[end + 1 :]
            assert all(
                line.endswith("...  # your code here") for line in given[begin : len(given) - len(lines) + end + 1]
            )
        elif ours.source.startswith(REASONING):
            assert theirs.source.startswith(f"{REASONING}\n```python\n") and BEGIN not in theirs.source
            assert theirs.source.endswith(ours.source.removeprefix(REASONING))
        else:
            assert theirs.source == ours.source


def names(statement):
    """The names that a statement sets."""
    nodes = (node for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {node.id for node in nodes}


def bound(source):
    """What the top level of a cell defines."""
    functions = {s.name for s in ast.parse(source).body if isinstance(s, ast.FunctionDef | ast.ClassDef)}
    assigned = [s for s in ast.parse(source).body if isinstance(s, ast.Assign | ast.AnnAssign)]
    return functions.union(*map(names, assigned))


def test_no_other_cell_reads_an_answer(path):
    """So an unsolved exercise leaves every other cell as it is in the solved notebook, which CI runs."""
    cells = code_cells(nbformat.read(path, as_version=4))
    answers = set().union(*(bound(cell.source) for cell in cells if BEGIN in cell.source))
    for number, cell in enumerate(cells):
        if BEGIN not in cell.source:
            assert not answers & names_read(cell.source), f"code cell {number} reads an answer"


def test_a_cell_that_reads_an_answer_is_noticed():
    source = "steps = [step for step in rows]\ndef f():\n    return answer\nown = 1\nprint(own)"
    assert names_read(source) == {"rows", "answer", "print"}
    assert bound("def f(): ...\na = b = 1\nc: int = 2") == {"f", "a", "b", "c"}


@quiet
def test_a_newcomer_meets_no_traceback(path, tmp_path):
    """Run All before anything is solved: each check names what is missing, the summary counts none, no cell fails."""
    lesson = read_lesson(path)
    if lesson.running > SHORT and os.environ.get("TIRAMISU_NEWCOMER") != "all":
        pytest.skip(f"takes {lesson.running} s; `make newcomer` runs it, and no cell of it reads an answer (see above)")
    notebook = nbformat.read(student(path, tmp_path), as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, allow_errors=True).execute()
    for number, cell in enumerate(code_cells(notebook)):
        assert not [o for o in cell.outputs if o.output_type == "error"], f"code cell {number}: {cell.outputs}"
        if "# your code here" in cell.source:
            assert "nothing here yet. Missing: " in "".join(o.get("text", "") for o in cell.outputs)
    said = "".join(output["text"] for output in notebook.cells[-1].outputs)  # a kernel may send it in pieces
    assert said.startswith(f"0 of {len(lesson.tasks)} exercises solved")
    assert said.count("Missing: ") == len(lesson.tasks)


def test_progress_of_a_notebook_without_exercises():
    with pytest.raises(FileError, match="notebook 99 has no exercises"):
        progress(99)


def test_a_student_installs_no_solutions():
    """The wheel holds the package and its data; what grades stays in the checkout."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["tiramisu_edu"], "force-include": {"data": "tiramisu_edu/data"}}


def test_a_folder_that_can_only_be_read_is_enough_for_reading_pictures(tmp_path, monkeypatch):
    """A teacher's pictures and models on a server, shared by a class: the working file goes elsewhere."""
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir, real=tempfile.TemporaryFile: asked.append(dir) or real())
    assert len(Stored.write([torch.zeros(1, 3, 4, 4)] * 2, 2, tmp_path)) == 2
    assert asked == [None]
