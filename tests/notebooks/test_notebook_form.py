"""The form of every notebook: header, recall, promises that an exercise meets, recap, references.

What a reader finds at the head: the paper with its section, three things "afterwards you can", each with the exercise
that asks for it, what is needed first, minutes and seconds, and five questions on what came before, their answers
folded. At the end: what was exact, a recap in one paragraph, three references with a line each, and a question.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from teaching.lesson import Lesson, notebook_paths, read_lesson

ROOT = Path(__file__).parents[2]
PATHS = notebook_paths(ROOT / "notebooks")
PAPER = ("Tiramisu", "A. Liu, M. Niepert, G. Van den Broeck", "arXiv 2401.03349", "https://arxiv.org/abs/2401.03349")


@pytest.fixture(params=PATHS, ids=lambda path: path.stem, scope="module")
def lesson(request) -> Lesson:
    return read_lesson(request.param)


def prose(lesson: Lesson) -> list[str]:
    return [cell.source for cell in lesson.notebook.cells if cell.cell_type == "markdown"]


def section(lesson: Lesson, heading: str) -> str:
    """What stands under the heading, up to the end of its cell."""
    found = [text for text in prose(lesson) if text.startswith(heading)]
    assert len(found) == 1, f"{lesson.path.stem}: {len(found)} cells begin with {heading!r}"
    return found[0].removeprefix(heading).strip()


def promises(can: str) -> list[tuple[str, list[int]]]:
    """Each thing a reader can do afterwards, and the numbers of its exercises."""
    parts = can.removesuffix(".").split("; ")
    return [(part, [int(n) for n in re.findall(r"\d+", part.rpartition("(exercise")[2])]) for part in parts]


def test_the_header_names_the_paper_and_where_in_it(lesson):
    header = " ".join(lesson.notebook.cells[0].source.split())
    assert all(part in header for part in PAPER)
    assert re.search(r"arXiv 2401\.03349\. Here: .*(Section|Definition|Equation) \d", header)


def test_each_of_three_promises_has_an_exercise(lesson):
    """And each exercise belongs to a promise."""
    found = promises(lesson.can)
    assert len(found) == 3 and all(exercises for _, exercises in found), found
    asked = sorted(number for _, exercises in found for number in exercises)
    assert asked == [task.number for task in lesson.tasks]


def test_a_promise_without_exercise_is_noticed():
    assert promises("count (exercise 1); sum up (exercises 2 and 3); wonder.") == [
        ("count (exercise 1)", [1]),
        ("sum up (exercises 2 and 3)", [2, 3]),
        ("wonder", []),
    ]


def test_minutes_of_the_exercises_are_those_of_the_header(lesson):
    minutes = re.search(r"\*\*Exercises\*\* (\d+) minutes", lesson.notebook.cells[0].source)
    assert minutes and int(minutes[1]) == sum(task.minutes for task in lesson.tasks)


def test_five_folded_questions_on_earlier_notebooks(lesson):
    second = lesson.notebook.cells[1].source
    assert second.startswith("## Five questions")
    folded = re.findall(r"<details><summary>(\d)\. (.+)</summary>\n\n(.+)\n</details>", second)
    assert [number for number, *_ in folded] == list("12345")
    for _, question, answer in folded:
        assert "?" in question and len(answer.split()) >= 2
        assert "$" not in question, "a browser does not typeset formulas in a summary"
        earlier = [int(n) for n in re.findall(r"notebook (\d+)", question)]
        assert all(number < lesson.number for number in earlier)
        assert earlier or lesson.number == 1 or "notebook" in question


def test_the_recap_is_one_paragraph_in_plain_words(lesson):
    recap = section(lesson, "## In plain words")
    assert "\n\n" not in recap and "$$" not in recap and 50 <= len(recap.split()) <= 130


def test_three_references_with_a_line_each(lesson):
    lines = section(lesson, "## To read on").splitlines()
    assert len(lines) == 3
    listed = re.sub(r"\s+", " ", (ROOT / "docs" / "references.md").read_text(encoding="utf-8"))
    for line in lines:
        found = re.match(r"- .+\*(?P<title>.+)\*, \d{4}(:|, ).{10,}", line)
        assert found, line
        assert found["title"].rstrip(".").lower() in listed.lower(), f"not in docs/references.md: {found['title']}"


def test_the_end_comes_in_order(lesson):
    """The table, the recap, what to read, the question."""
    *_, table, recap, read, last = prose(lesson)
    assert "## What was exact, what was approximate" in table and "|---" in table
    assert recap.startswith("## In plain words") and read.startswith("## To read on")
    assert last.startswith(("## What comes next", "## The course in one page")) and last.rstrip().endswith("?")


def test_no_cell_reads_like_a_stub_of_an_edit(lesson):
    assert not [cell.source for cell in lesson.notebook.cells if "@@" in cell.source or not cell.source.strip()]
    assert nbformat.validate(lesson.notebook) is None
