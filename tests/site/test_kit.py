"""The kit around the course: slides, the printed book, the plan of six sessions, notation, the Chinese font."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path

import nbformat
import pytest
from fontTools.ttLib import TTFont

import tiramisu_edu
from teaching import solutions
from teaching.book import chapter
from teaching.lesson import notebook_paths, read_lesson
from teaching.notebooks import BEGIN, PLUMBING
from teaching.printing import Fold, Moving, Question, formula, inline, parts_of
from teaching.slides import deck, main

ROOT = Path(__file__).parents[2]
PATHS = {int(path.name[:2]): path for path in notebook_paths(ROOT / "notebooks")}
PLAN = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")


@functools.cache
def lesson_of(number):
    """A notebook of the course, read when it is first needed."""
    return read_lesson(PATHS[number])


@pytest.fixture
def docs(monkeypatch):
    """Imports a module of docs."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module


@pytest.mark.parametrize("number", PATHS)
def test_a_deck_has_what_its_notebook_shows(number):
    lesson = lesson_of(number)
    page = deck(lesson, "Where were we?")
    parts = [part for cell in lesson.notebook.cells if cell.cell_type == "code" for part in parts_of(cell)]
    figures = [part for part in parts if isinstance(part, str) and part.startswith("<figure")]
    assert page.count("<section") == page.count("</section>") >= 15
    assert all(figure in page for figure in figures) and "Where were we?" in page
    assert page.count('class="ask"') == sum(isinstance(part, Question) for part in parts)
    assert page.count('class="answer"') == sum(isinstance(part, Fold) for part in parts)
    assert page.count('class="exercise"') == len(lesson.tasks)
    text = "\n".join(cell.source for cell in lesson.notebook.cells if cell.cell_type == "markdown")
    assert len(re.findall('<math [^>]*display="block"', page)) == text.count("$$") // 2
    assert not re.search(r'(src|href)="(?!data:|http|#)', page) and "@import" not in page and "Hint 1" not in page


@pytest.mark.parametrize("number", PATHS)
def test_a_chapter_has_its_folded_parts_at_its_end(number):
    lesson = lesson_of(number)
    page = chapter(lesson)
    text, end = page.split('<section class="end">')
    assert "<details" not in page and BEGIN not in page and PLUMBING not in page
    targets, places = re.findall(r'href="#(f[\d-]+)"', text), re.findall(r'id="(f[\d-]+)"', end)
    assert targets == places and len(places) >= 5 + 3 * len(lesson.tasks)
    assert all(f"Exercise {task.number}: a solution" in end for task in lesson.tasks)
    assert text.count("# your code here") >= len(lesson.tasks) and "# your code here" not in end


def test_sliders_and_answers_of_a_cell():
    """The frame that stands is printed; all frames move on a slide. A question keeps its choices."""
    frames = (
        '<figure data-value="1" hidden><img src="data:a"></figure><figure data-value="2"><img src="data:b"></figure>'
    )
    shown = [
        f'<div class="slider-picture"><label>x <input type="range"></label>{frames}</div>',
        '<fieldset class="prediction"><legend><b>Predict.</b> Is 1 &lt; 2?</legend>'
        '<label><input type="radio" name="p0" value="yes"> yes</label></fieldset>',
        '<details class="x"><summary>Is 1 &lt; 2? What happened</summary><div><b>yes.</b></div></details>',
    ]
    outputs = [nbformat.v4.new_output("display_data", {"text/html": html}) for html in shown]
    moving, question, fold = parts_of(nbformat.v4.new_code_cell("x", outputs=outputs))
    assert moving == Moving(shown[0], '<figure data-value="2"><img src="data:b"></figure>')
    assert question == Question("Is 1 < 2?", ("yes",)) and fold[1] == "<div><b>yes.</b></div>"


def test_a_folder_without_notebooks_makes_no_deck(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out")])
    assert "error: no notebook of the course in" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_formulas_and_titles():
    assert "<mtext>(3)</mtext>" in formula(r"a = b \tag{3}", "block") and "mspace" in formula(r"a \tag{3}")
    spaced = formula(r"q \log p(x) + \log(x) - \log_2 x + \exp\big(-x\big)")
    assert spaced.count("<mspace") == 2 and re.search(
        r"<mi>q</mi><mspace [^>]*/><mi>log</mi><mspace [^>]*/><mi>p", spaced
    )
    assert inline("1. Why *so*? (notebook 7)") == "1. Why <em>so</em>? (notebook 7)"


def test_the_minutes_of_the_six_sessions_add_up():
    sessions = re.findall(r"### Session (\d) · [^\n]+ \((\d+) minutes\)\n\n(.+?)\n\n", PLAN, re.DOTALL)
    assert [number for number, *_ in sessions] == list("123456")
    for _, minutes, table in sessions:
        assert sum(map(int, re.findall(r"^\| (\d+) \|", table, re.MULTILINE))) == int(minutes) == 90


def test_sections_that_the_plan_names_exist():
    """“exercise 2 of notebook 4” and quoted headings are those of the notebooks."""
    named = re.findall(r"^\| \d+ \| exercise (\d) of \{nb\}`(\d+)`", PLAN, re.MULTILINE)
    assert len(named) >= 6
    for number, notebook in named:
        assert int(number) in {task.number for task in lesson_of(int(notebook)).tasks}
    headings = {
        heading
        for lesson in map(lesson_of, PATHS)
        for cell in lesson.notebook.cells
        for heading in re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
    }
    quoted = re.findall(r'"([^"]+)"', PLAN.partition("## Two weeks")[2].partition("## Homework")[0])
    assert quoted and set(quoted) <= headings


def test_homework_has_the_points_and_minutes_of_its_exercises():
    """The sums are those of the page, and no exercise of a session is given once more."""
    rows = re.findall(r"^\| ([A-E]) \| (\d+)\.(\d) (.+?) \| (\d) \| (\d+) \|$", PLAN, re.MULTILINE)
    assert {row[0] for row in rows} == set("ABCDE")
    for _, notebook, number, title, points, minutes in rows:
        task = lesson_of(int(notebook)).tasks[int(number) - 1]
        assert (task.title, task.difficulty, task.minutes) == (title, int(points), int(minutes))
    sums = [5 + sum(int(row[4]) for row in rows if row[0] == each) for each in "ABCDE"]
    sets, whole = re.search(r"Together that is ([\d, and]+) points; with the project (\d+)", PLAN).groups()
    assert list(map(int, re.findall(r"\d+", sets))) == sums and int(whole) == sum(sums) + 20
    in_class = re.findall(r"^\| \d+ \| [^|]*exercise (\d) of \{nb\}`(\d+)`", PLAN, re.MULTILINE)
    assert not {(row[2], row[1]) for row in rows} & set(in_class)


def test_misconceptions_meet_messages_that_exist():
    rows = re.findall(r"^\| .+? \| “(.+?)” \| (\d+) `(check_\w+)` \|$", PLAN, re.MULTILINE)
    assert len(rows) >= 12
    for message, number, check in rows:
        assert message in solutions.answers_of(int(number))[check].mistakes, message


def test_twelve_exam_questions_have_folded_answers():
    exam = PLAN.partition("## Twelve exam questions")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\d+\. ", exam, re.MULTILINE)) == exam.count("<details><summary>Answer</summary>") == 12


def test_letters_are_those_of_the_package(docs):
    """Capital letters mean on the page of notation what the docstring of the package says."""
    symbols = {symbol.code: symbol.meaning for symbol in docs("notation").NOTATION}
    fixed = re.search(r"Letters, everywhere: (.+?)\. ", inspect.getdoc(tiramisu_edu).replace("\n", " "))[1]
    for letters, meaning in re.findall(r"((?:[A-Z] )+)([a-z ]+)", fixed):
        assert symbols[letters.strip()] == meaning
    assert len({symbol.tex for symbol in docs("notation").NOTATION}) == len(docs("notation").NOTATION)


def test_letters_are_first_met_where_the_page_of_notation_says(docs):
    """In a formula of that notebook's text, with or without the time; single letters mean too much to be searched."""
    formulas = {}
    for number, lesson in sorted((number, lesson_of(number)) for number in PATHS):
        text = "".join(cell.source for cell in lesson.notebook.cells if cell.cell_type == "markdown")
        formulas[number] = " ".join(re.findall(r"\$+([^$]+)\$+", text))
    for symbol in docs("notation").NOTATION:
        for tex in re.split(r",\\? ", symbol.tex):
            letter = re.compile(rf"(?<![\\\w]){re.escape(tex.removesuffix('_t'))}(?![a-zA-Z])")
            first = next((number for number, text in formulas.items() if letter.search(text)), None)
            assert len(tex) == 1 or first == symbol.notebook, (tex, first)


def test_the_cheat_sheet_has_five_formulas_and_a_picture(docs):
    page = docs("sheet").sheet()
    assert len(re.findall('<math [^>]*display="block"', page)) == 5 and page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_shipped_font_has_the_chinese_of_all_pages(docs):
    """`python docs/han.py FONT` makes it anew after a change."""
    han = docs("han")
    assert {chr(code) for code in TTFont(han.HAN).getBestCmap()} >= han.characters()
    assert han.HAN.stat().st_size < 60_000 and "han.woff" in (han.HERE / "kit" / "kit.css").read_text()
