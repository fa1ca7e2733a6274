"""Student and solution version agree; a newcomer who has solved nothing is told what is missing and meets no traceback.

That solutions pass is proved twice: the solved notebooks run under nbval, and the rules ask for "correct" behind every
check. The run of a newcomer takes as long as the notebook, so by default the short ones run whole, and for all others
it is shown that no cell reads an answer; ``TIRAMISU_NEWCOMER=all`` runs all (``make newcomer``).
"""

from __future__ import annotations

import ast
import os
import symtable
from pathlib import Path

import nbclient
import nbformat
import pytest

from teaching import grading
from teaching.grading import grade, main
from teaching.lesson import notebook_paths, read_lesson
from teaching.notebooks import BEGIN, END, REASONING, student
from tiramisu_edu.course.exercises import progress
from tiramisu_edu.errors import FileError

PATHS = notebook_paths(Path(__file__).parents[2] / "notebooks")
SHORT = 15  # seconds at toy scale, as the header says
HAND = next(path for path in PATHS if path.stem.startswith("02"))

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


def read(table):
    """The global names that a cell reads without setting them itself; variables of comprehensions are not global."""
    symbols = table.get_symbols()
    if table.get_type() == "module":
        found = {s.get_name() for s in symbols if s.is_referenced()}
        own = {s.get_name() for s in symbols if s.is_assigned()}
        return found.union(*map(read, table.get_children())) - own
    return {s.get_name() for s in symbols if s.is_global()}.union(*map(read, table.get_children()))


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
            assert not answers & read(symtable.symtable(cell.source, "cell", "exec")), (
                f"code cell {number} reads an answer"
            )


def test_a_cell_that_reads_an_answer_is_noticed():
    source = "steps = [step for step in rows]\ndef f():\n    return answer\nown = 1\nprint(own)"
    assert read(symtable.symtable(source, "cell", "exec")) == {"rows", "answer", "print"}
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
    said = notebook.cells[-1].outputs[0]["text"]
    assert said.startswith(f"0 of {len(lesson.tasks)} exercises solved")
    assert said.count("Missing: ") == len(lesson.tasks)


@quiet
def test_a_teacher_grades_what_the_student_wrote_and_nothing_else(tmp_path, capsys):
    handed_in = tmp_path / "ada.ipynb"
    notebook = nbformat.read(student(HAND, tmp_path), as_version=4)
    one, two, three, four = (cell for cell in notebook.cells if "# your code here" in cell.source)
    one.source = "print('forward: correct in all 26 cases')"  # the check is gone
    two.source = "p_bright = circuit.likelihood([1, 1, 1]) / circuit.likelihood([1, -1, 1])\ncheck_p_bright(p_bright)"
    three.source = "def smooth(root, C):\n    return root\n\n\ncheck_smooth(smooth)"
    four.source = "compiled = 1 / 0"
    nbformat.write(notebook, handed_in)
    assert main([str(HAND), str(handed_in)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{handed_in}: 1 of 4\n")
    assert "smooth: not yet" in printed and "p_bright" not in printed
    assert "forward: nothing here yet" in printed and "compiled: nothing here yet" in printed


HOSTILE = {
    "exit": "import os\nos._exit(0)",
    "loop": "def smooth(root, C):\n    while True:\n        bytearray(1 << 40 if root is None else 1)",
    "checker": "check_smooth.report = lambda answer: None\nsmooth = 0",
    "solution": "smooth = check_smooth.expected",
    "import": "from teaching.solutions.nb02 import check_smooth as theirs\nsmooth = theirs",
    "getattr": "smooth = globals()['check_smooth']",
}


@quiet
def test_a_class_is_graded_whatever_one_of_them_hands_in(tmp_path, capsys, monkeypatch):
    """A line per student; the right first answer counts but where the checker was touched; the exit code says so."""
    monkeypatch.setattr(grading, "CELL_SECONDS", 2)
    for name, second in HOSTILE.items():
        notebook = nbformat.read(student(HAND, tmp_path), as_version=4)
        _, two, three, *_ = (cell for cell in notebook.cells if "# your code here" in cell.source)
        two.source = "p_bright = circuit.likelihood([1, 1, 1]) / circuit.likelihood([1, -1, 1])"
        three.source = second
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    (tmp_path / "empty.ipynb").write_text("")
    names = ["empty", *HOSTILE]
    assert main([str(HAND), *(str(tmp_path / f"{name}.ipynb") for name in names)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    found = dict(zip(names, (line.partition(".ipynb: ")[2] for line in lines), strict=True))
    assert found["empty"].startswith("0 of 4; not run whole:")
    assert found["exit"] == "1 of 4; not run whole: its process ended before the notebook did"
    assert found["loop"] == "1 of 4"
    assert all(found[name].startswith("0 of 4; flagged") for name in ("checker", "solution", "import", "getattr"))


@quiet
def test_a_process_that_goes_on_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "TOTAL_SECONDS", 0.3)
    found = grade(read_lesson(HAND), HAND)
    assert found.failure == "stopped after 0.3 s" and not any(found.solved.values()) and len(found.solved) == 4


def test_what_is_no_notebook_is_named(tmp_path):
    broken = tmp_path / "bob.ipynb"
    broken.write_text("<html>")
    assert "bob.ipynb is no notebook" in grade(read_lesson(HAND), broken).failure
    with pytest.raises(FileError, match="notebook 99 has no exercises"):
        progress(99)
