"""The pages made from notebooks and exercises, and what the written ones promise."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

from teaching.lesson import notebook_paths, read_lesson
from teaching.notebooks import BEGIN

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(DOCS.glob("*.md"))


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("pages")


@pytest.fixture
def formulas(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("formulas")


@pytest.fixture
def hand(tmp_path):
    """A folder with one notebook: the pages of all of them take a while."""
    folder = tmp_path / "source"
    folder.mkdir()
    path = next(path for path in notebook_paths(ROOT / "notebooks") if path.name.startswith("02"))
    (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_every_page_is_made(pages, hand, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (lesson,) = pages.write_pages(hand, docs, "owner/name")
    generated = {path.name: path.read_text(encoding="utf-8") for path in (docs / "generated").iterdir()}
    included = set(re.findall(r"generated/(\w+\.md)", " ".join(path.read_text(encoding="utf-8") for path in WRITTEN)))
    assert included == set(generated)
    for name in ("graph.md", "notebooks.md", "mistakes.md"):  # a fence has three marks, or the page shows it as text
        marks = re.findall(r"^`+", generated[name], re.MULTILINE)
        assert marks and set(marks) == {"```"} and len(marks) % 2 == 0
    page = nbformat.read(docs / "notebooks" / lesson.path.name, as_version=4)
    for place in pages.TAKE.values():
        place = place.format(stem=lesson.path.stem)
        assert f'href="../{place}"' in page.cells[1].source and (docs / "extra" / place).stat().st_size > 10_000
        assert f'href="{place}"' in generated["takeaway.md"]
    assert 'href="../moving.html"' in page.cells[1].source
    assert BEGIN not in (docs / "extra" / "download" / "student" / lesson.path.name).read_text(encoding="utf-8")
    assert (docs / "extra" / "cheatsheet.html").exists()
    assert f"colab.research.google.com/github/owner/name/blob/main/notebooks/{lesson.path.name}" in page.cells[1].source
    assert "mybinder.org/v2/gh/owner/name/main" in generated["buttons.md"]
    assert all("hide-cell" in cell.metadata.tags for cell in page.cells if BEGIN in cell.source)
    for task in lesson.tasks:
        exercise = lesson.exercises[task.check]
        assert exercise.name in generated["mistakes.md"]
        assert generated["mistakes.md"].count("<pre>") >= 2 * len(lesson.tasks)
    assert pages.write_pages(hand, docs, "") and "no buttons" in (docs / "generated" / "buttons.md").read_text()


def test_the_graph_has_a_box_per_notebook_and_an_arrow_to_the_next(pages):
    lessons = [read_lesson(path) for path in notebook_paths(ROOT / "notebooks")]
    graph = pages.reading_order(lessons)
    assert graph.count("<rect") == len(lessons)
    assert graph.count('class="next"') == len(lessons) - 1
    for lesson in lessons:
        assert f'href="notebooks/{lesson.path.stem}.html"' in graph


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_modules_and_files_that_a_page_names_exist(path):
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"\{py:mod\}`([\w.]+)`", text):
        assert importlib.util.find_spec(module), module
    for link in re.findall(r"\]\((\w+\.md)\)", text):
        assert (DOCS / link).exists(), link
    for number in re.findall(r"\{nb\}`(\d+)`", text):
        assert len(list((ROOT / "notebooks").glob(f"{int(number):02}_*.ipynb"))) == 1
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^    make ([a-z-]+)|`make ([a-z-]+)", text, re.MULTILINE)) <= {
        pair for name in targets for pair in ((name, ""), ("", name))
    }


def test_every_section_of_the_paper_is_in_the_map():
    rows = re.findall(r"^\| ([^|]+) \|.*\{nb\}", (DOCS / "paper.md").read_text(encoding="utf-8"), re.MULTILINE)
    for section in ("1", "2", "3", "4.1", "4.2", "5", "6.1", "6.2", "6.3", "7"):
        assert any(re.search(rf"(^|\s){re.escape(section)} ", row) for row in rows), section


def test_every_formula_is_found_on_its_line(formulas):
    """The function exists, the line has the piece, and a notebook of the course teaches it."""
    numbers = {read_lesson(path).number for path in notebook_paths(ROOT / "notebooks")}
    for formula in formulas.FORMULAS:
        path, line = formulas.line_of(formula)
        assert formula.piece in (ROOT / path).read_text(encoding="utf-8").splitlines()[line - 1]
        assert formula.notebooks and set(formula.notebooks) <= numbers
    places = [formula.place for formula in formulas.FORMULAS]
    assert {f"Eq. {number}" for number in range(3, 9)} | {"Definition 1"} <= set(places)
    assert formulas.formula_table().count("\n") == len(places) + 1


def test_a_formula_whose_line_is_gone_is_an_error(formulas):
    gone = formulas.FORMULAS[0]._replace(piece="no such line")
    with pytest.raises(LookupError, match="no line of diffusion"):
        formulas.line_of(gone)


def test_terms_have_their_chinese_beside_them():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\{glossary\}\n(.*?)```", text, re.DOTALL)
    terms = [line for block in blocks for line in block.splitlines() if line and not line.startswith(" ")]
    assert len(terms) >= 40
    assert all(re.search(r"[a-z].* .*[\u4e00-\u9fff]", term) for term in terms)


def test_nothing_is_fetched_from_elsewhere():
    css = (DOCS / "static" / "site.css").read_text()
    assert "http" not in css
    assert 'html_math_renderer = "mathml"' in (DOCS / "conf.py").read_text()
