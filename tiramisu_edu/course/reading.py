"""A function of the package read line by line: notes between the lines that they are about.

The source is read from its file, so a Triton kernel can be read where Triton is not installed. A note is found by a
piece of its line; a piece that is not there is an error, so that notes cannot outlive the code.

    read_lines("tiramisu_edu.circuits.engines.triton_kernels", "sum_forward", {"u = tl.dot(": "…"})
"""

from __future__ import annotations

import ast
import html
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from ..errors import TiramisuError
from ..lab.palette import BLUE
from .checks import coloured


def read_lines(module: str, function: str, notes: Mapping[str, str], *, until: str = "") -> None:
    """Show a function with a note above each line that has one, numbered in the order of the code.

    Args:
        module: dotted name; it is not imported.
        function: at the top level of the module; its docstring is left out.
        notes: a piece of a line -> what to say about the first line that has it.
        until: the last line shown is the first that has this; all lines if empty.

    Raises:
        TiramisuError: no such module or function, or a piece that no shown line has.
    """
    from IPython.display import HTML, display

    display(HTML(_page(_lines(module, function, until), notes, f"{module}.{function}")))


def _lines(module: str, function: str, until: str) -> list[str]:
    spec = importlib.util.find_spec(module)
    text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            break
    else:
        raise TiramisuError(f"{module} has no function {function!r} at its top level")
    first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
    quiet = range(0)
    if ast.get_docstring(statement):
        docstring = statement.body[0]
        quiet = range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1)
    numbered = enumerate(text.splitlines()[: statement.end_lineno], start=1)
    shown = [line for number, line in numbered if number >= first and number not in quiet]
    last = next((n for n, line in enumerate(shown, start=1) if until in line), 0) if until else len(shown)
    if not last:
        raise TiramisuError(f"no line of {function} has {until!r}")
    return shown[:last]


def _page(lines: list[str], notes: Mapping[str, str], name: str) -> str:
    places = {}
    for piece, note in notes.items():
        found = [n for n, line in enumerate(lines) if piece in line]
        if not found:
            raise TiramisuError(f"{name}: a note is about {piece!r}, which no shown line has")
        places[found[0]] = note
    starts = sorted({0, *places})
    blocks, number = [], 0
    for start, stop in zip(starts, [*starts[1:], len(lines)]):
        if start in places:
            number += 1
            style = f"margin:0.7em 0 0.1em;padding-left:0.6em;border-left:3px solid {BLUE}"
            blocks.append(f'<p style="{style}"><b>{number}</b> {html.escape(places[start])}</p>')
        blocks.append(_code(lines[start:stop]))
    return f'<div style="background:#ffffff;color:#000000;padding:0.6em">{"".join(blocks)}</div>'


def _code(lines: list[str]) -> str:
    style = "margin:0;padding:0 0 0 0.6em;overflow-x:auto;background:#ffffff;color:#000000"
    return f'<pre style="{style}">{coloured(chr(10).join(lines), nowrap=True)}</pre>'
