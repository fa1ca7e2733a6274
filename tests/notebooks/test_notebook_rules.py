"""The mechanical rules of the course, for every notebook in notebooks/.

What a notebook has to look like to pass:

- the numbers of ``teaching.report.RULES``: so many cells and words, no cell of more than 25 lines;
- a header cell with a title, what the reader will be able to do, what is needed first, the minutes to read
  and the seconds to run: "**Reading** 25 minutes. **Running** 15 seconds.";
- the first code cell has the word TIRAMISU_SCALE (and calls ``course.scale.scale``);
- at least one `predict(...)`, one slider and one filmstrip, and assertions;
- 3 to 6 exercises. Each has a Markdown cell "### Exercise 1 · title", with "difficulty 2 of 5 · 4 minutes · apply",
  and a code cell with BEGIN and END SOLUTION and a call of its check, which runs on the imports of the first
  cell alone when the solution is cut out; no later cell depends on an answer;
- pictures only through ``course.figures.show`` and the slider, so that each has alt text;
- executed from top to bottom, no error, nothing on stderr, every check passed;
- the last but one section is a table of what was exact and what approximate, and the end asks a question.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from teaching.lesson import notebook_paths, read_lesson
from teaching.notebooks import BEGIN, END, execute, main, student, student_source
from teaching.report import RULES, rule_table
from tiramisu_edu.errors import TiramisuError

PATHS = notebook_paths(Path(__file__).parents[2] / "notebooks")


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def test_there_is_a_notebook():
    assert PATHS


def test_every_number_is_in_its_range(path):
    """Cells, words, longest cell, checks, assertions, images, alt texts and seconds, as `make report` counts them."""
    lesson = read_lesson(path)  # fails where the header lacks a part
    row, kept = rule_table([lesson], [lesson.running])
    assert kept, dict(zip(RULES, row[0][1:]))


def test_first_cell_has_the_scale_switch(code):
    assert "TIRAMISU_SCALE" in code[0].source
    assert "scale(" in code[0].source


def test_executed_from_top_to_bottom_without_noise(code):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert len(outputs) >= len(code) // 2, "a notebook without outputs passes nbval vacuously"
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def test_cells_keep_to_the_pattern(code):
    for number, cell in enumerate(code):
        assert not re.search(r"\binteract(ive\w*)?\(|\bOutput\(|plt\.show|%matplotlib", cell.source), (
            f"code cell {number}"
        )
        assert not re.search(r";\s*$", cell.source, re.MULTILINE), f"code cell {number} has a line that ends in ';'"


def test_pictures_go_through_the_helper(code):
    mimes = {mime for cell in code for o in cell.outputs for mime in o.get("data", {})}
    assert not mimes & {"image/png", "image/jpeg", "image/svg+xml"}, "use course.figures.show"


def test_one_slider_with_its_filmstrip(code):
    assert sum("slider_picture(" in cell.source for cell in code) == 1
    assert sum("filmstrip(" in cell.source for cell in code) >= 1
    assert any(re.search(r"\.move_to\(|\.slider\.value =", c.source) and "assert" in c.source for c in code)


def test_readers_predict_before_they_run(code):
    assert any("= predict(" in cell.source for cell in code)


def test_exercises(path, code):
    cells = [cell for cell in code if BEGIN in cell.source]
    assert [task.number for task in read_lesson(path).tasks] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert cell.source.count(BEGIN) == cell.source.count(END) == 1
        assert re.search(r"^check_\w+\(", cell.source, re.MULTILINE)
        assert ": correct" in "".join(o.get("text", "") for o in cell.outputs)


def test_closing(prose):
    assert any("exact" in text and "approximate" in text and "|---" in text.replace(" ", "") for text in prose[-4:])
    assert prose[-1].rstrip().endswith("?")


def test_student_version_says_what_is_missing(path, tmp_path, capsys):
    """In a student's copy every cell compiles, and every check called on its stub names the task."""
    stubs = nbformat.read(student(path, tmp_path), as_version=4)
    cells = [cell for cell in stubs.cells if cell.cell_type == "code"]
    namespace: dict[str, object] = {}
    exec(cells[0].source, namespace)
    for cell in cells:
        assert BEGIN not in cell.source and END not in cell.source
        assert not cell.outputs
        compiled = compile(cell.source, path.stem, "exec")
        if "# your code here" in cell.source:
            exec(compiled, namespace)
            assert "Missing: " in capsys.readouterr().out


def test_solutions_are_cut_out():
    function = f"def f(a):\n    {BEGIN}\n    return a\n    {END}\n\n\ncheck_f(f)"
    assert student_source(function) == "def f(a):\n    ...  # your code here\n\n\ncheck_f(f)"
    assert student_source(f"{BEGIN}\na = 1\nb = a\n{END}") == "a = ...  # your code here\nb = ...  # your code here"
    for broken in (BEGIN, END):
        with pytest.raises(TiramisuError, match="without"):
            student_source(broken)


def test_student_command_refuses_to_overwrite(tmp_path, monkeypatch, capsys):
    target = tmp_path / "99_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a = 1", id="a")]), target)
    with pytest.raises(TiramisuError, match="choose another folder"):
        student(target, tmp_path)
    monkeypatch.setattr("sys.argv", ["notebooks", "student", str(target), str(tmp_path / "students")])
    main()
    assert (tmp_path / "students" / "99_x.ipynb").exists()
    assert "99_x.ipynb" in capsys.readouterr().out


def test_executing_twice_stores_the_same_file(tmp_path):
    source = "import ipywidgets\nprint(1 + 1)\nipywidgets.IntSlider()"
    cells = [nbformat.v4.new_code_cell(source, id="a")]
    target = tmp_path / "99_x.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), target)
    execute(target)
    first = target.read_bytes()
    assert b'"2\\n"' in first and b"IntSlider" in first
    execute(target)
    assert target.read_bytes() == first
