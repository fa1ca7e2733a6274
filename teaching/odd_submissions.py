"""Submissions that a grader has to tell apart: some that cheat, and some that are odd and honest.

    python -m teaching.odd_submissions FOLDER
    python -m teaching.grading notebooks/02_a_circuit_by_hand.ipynb FOLDER

The table of docs/grading.md comes from these two. All are for notebook 2.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from tiramisu_edu.course.compare import show_value
from tiramisu_edu.course.exercises import exercises_of

from .lesson import notebook_paths
from .notebooks import BEGIN, END, student_source

HAND = notebook_paths(Path(__file__).parents[1] / "notebooks")[1]
Change = Callable[[Any], None]


def solved(path: Path = HAND) -> Any:
    """The notebook as a student hands it in who has solved all of it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        lines = cell.source.splitlines()
        cell.source = "\n".join(line for line in lines if line.strip() not in (BEGIN, END))
    return notebook


def answer(notebook: Any, name: str) -> Any:
    """The cell that calls the check of this name."""
    return next(c for c in notebook.cells if c.cell_type == "code" and f"\ncheck_{name}(" in c.source)


def put(name: str, source: str) -> Change:
    """Another answer in place of the solution; its stored output stays."""

    def change(notebook: Any) -> None:
        answer(notebook, name).source = source

    return change


def add(source: str, before: str) -> Change:
    """A further cell before an answer."""

    def change(notebook: Any) -> None:
        cells = notebook.cells
        cells.insert(cells.index(answer(notebook, before)) - 1, nbformat.v4.new_code_cell(source))

    return change


def _missing(notebook: Any) -> None:
    """Two answers cut out, one of them with its heading."""
    cells = notebook.cells
    del cells[cells.index(answer(notebook, "smooth"))]
    place = cells.index(answer(notebook, "compiled"))
    del cells[place - 1 : place + 1]


def _stale(notebook: Any) -> None:
    """Stubs under the outputs of the solutions, one of them never run."""
    stubs = {cell.id: student_source(cell.source) for cell in nbformat.read(HAND, as_version=4).cells}
    for name in ("forward", "smooth", "compiled"):
        cell = answer(notebook, name)
        cell.source = stubs[cell.id]
    answer(notebook, "p_bright").execution_count = None


def _partial(notebook: Any) -> None:
    """One answer right, one wrong in some cases, one broken, one empty; as the check has said."""
    wrong = {
        "p_bright": ("p_bright = circuit.likelihood([1, 1, 1])", "not yet"),
        "smooth": ("def smooth(root, C):\n    return root.left", "not yet"),
        "compiled": ("def compiled(parents, tables):\n    ...", "nothing here yet"),
    }
    for name, (source, said) in wrong.items():
        answer(notebook, name).outputs[0].text = f"{name}: {said}"
        answer(notebook, name).source = f"{source}\n\n\ncheck_{name}({name})"


def _looked_up(notebook: Any) -> None:
    """The results of all cases that a student has, in a table, in place of a function."""
    recorded = exercises_of(2)["check_forward"]
    seen = {show_value(n) + str(x): recorded.expected[case] for case, (n, x) in recorded.cases.items()}
    answer(notebook, "forward").source = LOOKED_UP.format(seen=seen)


LOOKED_UP = """from tiramisu_edu.course.compare import show_value

seen = {seen!r}


def forward(n, x):
    return seen.get(show_value(n) + str(x), 0.5)


check_forward(forward)"""
RECORDED = """import json
import tiramisu_edu.course as course

seen = json.load(open(course.__path__[0] + "/exercises/nb02.json"))["smooth"]["expected"]


def smooth(root, C):
    return next(iter(seen.values()))


check_smooth(smooth)"""
SOLUTION = "from teaching.solutions.nb02 import check_smooth as known\n\nsmooth = known.solution\ncheck_smooth(smooth)"
PATCH = "from tiramisu_edu.course import checks\n\nchecks.difference = lambda *values: None"
WRONG = "def smooth(root, C):\n    return root\n\n\ncheck_smooth(smooth)"
HUGE = "def smooth(root, C):\n    return bytearray(1 << 36)\n\n\ncheck_smooth(smooth)"

RENAMED = """def value(node, x):
    if isinstance(node, Input):
        return 1.0 if x[node.variable] == -1 else node.probabilities[x[node.variable]]
    if isinstance(node, Product):
        return combine([value(child, x) for child in node.children])
    return sum(w * value(child, x) for w, child in zip(node.weights, node.children))


check_forward(value)"""
TORCH = """import torch


def forward(n, x):
    if isinstance(n, Input):
        return torch.tensor(1.0 if x[n.variable] == -1 else n.probabilities[x[n.variable]]).double()
    values = torch.stack([forward(child, x) for child in n.children])
    return values.prod() if isinstance(n, Product) else torch.tensor(n.weights).double() @ values


check_forward(forward)"""
NAMES = """größe, 总和 = circuit.likelihood([1, 1, 1]), circuit.likelihood([1, -1, 1])
check_p_bright(größe / 总和)"""

CHEATS: dict[str, list[Change]] = {
    "imported solutions": [put("smooth", SOLUTION)],
    "copied values": [put("p_bright", "p_bright = 0.7582089552238806\ncheck_p_bright(p_bright)")],
    "recorded values": [put("smooth", RECORDED)],
    "table of results": [_looked_up],
    "patched checker": [add(PATCH, "forward"), put("smooth", WRONG)],
    "stale outputs": [_stale],
    "missing cells": [_missing],
    "endless loop": [put("smooth", "while True:\n    pass")],
    "memory and exit": [put("smooth", HUGE), put("compiled", "import os\n\nos._exit(0)")],
}
HONEST: dict[str, list[Change]] = {
    "CRLF": [],
    "renamed helper": [add("def combine(values):\n    return math.prod(values)", "forward"), put("forward", RENAMED)],
    "torch for numpy": [put("forward", TORCH)],
    "extra cells": [
        add("%timeit -n 1 -r 1 circuit.likelihood([1, 1, 1])\n!ls", "p_bright"),
        add("1 / 0", "smooth"),
        add("check_smooth?", "smooth"),
        add("while True:\n    pass", "compiled"),
    ],
    "partial": [_partial],
    "Zoë Ångström 王小明": [put("p_bright", NAMES)],
}


def write(folder: Path) -> list[Path]:
    """Write all of them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, changes in {**CHEATS, **HONEST}.items():
        notebook = solved()
        for change in changes:
            change(notebook)
        text = nbformat.writes(notebook)
        if name == "CRLF":
            cells = json.loads(text)
            for cell in cells["cells"]:
                cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
            text = "\ufeff" + json.dumps(cells, indent=1).replace("\n", "\r\n")
        paths.append(folder / f"{name}.ipynb")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m teaching.odd_submissions", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    print(*write(parser.parse_args().folder), sep="\n")
