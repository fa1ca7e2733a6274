"""Runs a notebook in place, and makes the student's version of it.

    python -m teaching.notebooks execute notebooks/02_a_circuit_by_hand.ipynb
    python -m teaching.notebooks student notebooks/02_a_circuit_by_hand.ipynb students/

`execute` stores the outputs that CI compares, without timings or widget states, so that running twice
changes nothing but what changed; it folds the cells that begin with `# Plumbing`. `student` replaces what stands
between `### BEGIN SOLUTION` and `### END SOLUTION`, puts it folded into the cell of reasoning below, removes the
outputs and ends with a cell that shows the student's progress.
"""

from __future__ import annotations

import argparse
import ast
import textwrap
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from tiramisu_edu.errors import FileError, TiramisuError

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
PLUMBING = "# Plumbing"  # a code cell that begins so is folded: imports, assertions, drawing
PLUMBED = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}
REASONING = "<details><summary>A solution, after an attempt</summary>\n"  # how the cell below an exercise begins
PROGRESS = "from tiramisu_edu.course.exercises import progress\n\nprogress({number})"


def read_notebook(path: Path) -> Any:
    """The notebook in a file.

    Raises:
        FileError: there is none.
    """
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
        "".join(cell.cell_type + cell.source for cell in notebook.cells)  # what lacks either is no cell
        return notebook
    except Exception as error:
        raise FileError(f"{path} is no notebook ({error}): give the .ipynb file itself") from error


def execute(path: Path) -> None:
    """Run all cells and store their outputs in the file; the first cell that raises ends it with an error."""
    notebook = read_notebook(path)
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = PLUMBED if cell.cell_type == "code" and cell.source.startswith(PLUMBING) else {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)  # a random id, of no use without the widget's state
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def student_source(source: str) -> str:
    """The cell with its solution taken out: an ellipsis in a function, `name = ...` for each name it sets.

    >>> print(student_source("### BEGIN SOLUTION\\na = 1\\n### END SOLUTION\\ncheck_a(a)"))
    a = ...  # your code here
    check_a(a)
    """
    kept: list[str] = []
    solution: list[str] | None = None
    for line in source.splitlines():
        if line.strip() == BEGIN:
            solution = []
        elif line.strip() == END:
            if solution is None:
                raise TiramisuError(f"{END} without {BEGIN}")
            kept.extend(_stub(solution))
            solution = None
        elif solution is not None:
            solution.append(line)
        else:
            kept.append(line)
    if solution is not None:
        raise TiramisuError(f"{BEGIN} without {END}")
    return "\n".join(kept)


def _stub(solution: list[str]) -> list[str]:
    indent = solution[0][: len(solution[0]) - len(solution[0].lstrip())]
    if indent:
        return [f"{indent}...  # your code here"]
    names = []
    for statement in ast.parse(textwrap.dedent("\n".join(solution))).body:
        targets: list[Any] = statement.targets if isinstance(statement, ast.Assign) else []
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [f"{name} = ...  # your code here" for name in names]


def solution_in(source: str) -> str:
    """The solution in a cell, empty where there is none."""
    return textwrap.dedent(source.partition(BEGIN)[2].partition(END)[0].strip("\n").rstrip())


def student(path: Path, folder: Path) -> Path:
    """Write the student's version of a notebook into a folder; its path."""
    notebook = read_notebook(path)
    solution = ""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            solution = solution_in(cell.source) or solution
            cell.source, cell.outputs, cell.execution_count = student_source(cell.source), [], None
        elif cell.source.startswith(REASONING):
            cell.source = f"{REASONING}\n```python\n{solution}\n```\n{cell.source.removeprefix(REASONING)}"
    summary = PROGRESS.format(number=int(path.name[:2]))
    notebook.cells += [
        nbformat.v4.new_markdown_cell("## Your progress", id="progress"),
        nbformat.v4.new_code_cell(summary, id="progress-summary"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.resolve() == path.resolve():
        raise FileError(f"{target} is the notebook itself: choose another folder")
    nbformat.write(notebook, target)
    return target


def main() -> None:
    """The two commands of this module."""
    parser = argparse.ArgumentParser(prog="python -m teaching.notebooks")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("execute", help="run notebooks and store their outputs")
    run.add_argument("notebooks", type=Path, nargs="+")
    make = commands.add_parser("student", help="write notebooks without solutions")
    make.add_argument("notebooks", type=Path, nargs="+")
    make.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        for path in arguments.notebooks:
            if arguments.command == "execute":
                execute(path)
                print(f"{path}: executed")
            else:
                print(student(path, arguments.folder))
    except (TiramisuError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
