"""A function read line by line: every note finds its line, without importing the module."""

from __future__ import annotations

import html
import re
import sys

import pytest

from tiramisu_edu.course.reading import _lines, _page, read_lines
from tiramisu_edu.errors import TiramisuError

MODULE = "shapes_to_read"
TEXT = '''
import nothing_of_this_name

@nothing_of_this_name.made
def area(
    width, height,
):
    """Not shown."""
    # a caption
    total = width * height

    return total


def bare(a): return a < 2
'''


@pytest.fixture(autouse=True)
def a_module_on_the_path(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(TEXT, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


def shown(page):
    return html.unescape(re.sub("<[^>]*>", "\n", page))


def test_decorators_and_comments_are_shown_and_the_docstring_is_not():
    lines = _lines(MODULE, "area", "")
    assert lines[0] == "@nothing_of_this_name.made" and lines[-1] == "    return total"
    assert "    # a caption" in lines and not any("Not shown" in line for line in lines)
    assert _lines(MODULE, "area", "total =")[-1] == "    total = width * height"
    assert _lines(MODULE, "bare", "") == ["def bare(a): return a < 2"]
    assert MODULE not in sys.modules


def test_notes_stand_above_their_lines_in_the_order_of_the_code():
    page = _page(_lines(MODULE, "area", ""), {"return": "hand <back>", "total =": "multiply"}, "area")
    text = shown(page)
    assert text.index("multiply") < text.index("height\n") < text.index("hand <back>") < text.rindex("total")
    assert re.findall(r"<b>(\d)</b> (\w+)", page) == [("1", "multiply"), ("2", "hand")]


def test_it_reaches_the_page(capsys):
    read_lines(MODULE, "bare", {"def bare": "short"})
    assert "HTML" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "function", "until", "notes", "message"),
    [
        (MODULE, "volume", "", {}, "no function 'volume'"),
        ("no_such_module", "area", "", {}, "no function 'area'"),
        (MODULE, "area", "perimeter", {}, "no line of area has 'perimeter'"),
        (MODULE, "area", "total =", {"return": "cut off"}, "'return', which no shown line has"),
    ],
)
def test_what_is_not_there_is_named(module, function, until, notes, message):
    with pytest.raises(TiramisuError, match=message):
        read_lines(module, function, notes, until=until)
