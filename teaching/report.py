"""Every rule's number for every notebook, the ladder of exercises, and every wrong answer tried.

    python -m teaching.report             # counts; seconds as the headers state them
    python -m teaching.report --run       # also runs each notebook and measures its seconds

A number out of range has a `!`, and the exit code is then 1. A number in range but over its target has a `+`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .generic import GENERAL_MOST, GOAL, score
from .lesson import THOUGHT, Lesson, notebook_paths, numbers, read_lesson
from .mutants import try_mistakes
from .notebooks import execute
from .solutions import answers_of

RULES = {  # smallest and largest number allowed
    # Words of a formula count as one. Some 500 words are header, recall questions, recap and references, and up to 700
    # the derivations; each exercise adds a folded solution.
    "cells": (25, 60),
    "words": (900, 2200),
    "code lines": (1, 45 * 25),
    "longest cell": (1, 25),
    "checks": (3, 6),
    "assertions": (5, 1000),
    "images": (3, 100),
    "with alt text": (3, 100),
    "seconds": (1, 150),
}

TARGETS = {"cells": 45, "words": 1300}  # largest number the course aims at; RULES hold what is reached so far

THOUGHT_LEAST = 0.6  # share of the exercises of a notebook that need thought: derive, design, debug, decide


def rule_table(lessons: Sequence[Lesson], seconds: Sequence[float]) -> tuple[list[list[str]], bool]:
    """One row per notebook, and whether every number is in range; all images must have alt text."""
    rows, kept = [], True
    for lesson, lasted in zip(lessons, seconds):
        found = {**numbers(lesson.notebook), "seconds": round(lasted)}
        row = [lesson.path.stem]
        for name, (low, high) in RULES.items():
            least = found["images"] if name == "with alt text" else low
            inside = least <= found[name] <= high
            over = found[name] > TARGETS.get(name, high)
            row.append(f"{found[name]}" + (" !" if not inside else " +" if over else ""))
            kept = kept and inside
        rows.append(row)
    return rows, kept


def mutant_table(lessons: Sequence[Lesson]) -> tuple[list[list[str]], bool]:
    """One row per exercise: wrong answers tried, rejected, messages that differ; and whether these are all the same."""
    rows, kept = [], True
    for lesson in lessons:
        trials, answers = try_mistakes(lesson.number), answers_of(lesson.number)
        for task in lesson.tasks:
            own = [trial for trial in trials if trial.check == task.check]
            counts = [len(own), sum(trial.rejected for trial in own), len({trial.message for trial in own})]
            solved = lesson.exercises[task.check].report(answers[task.check].solution).passed
            fine = solved and counts[0] >= 2 and len(set(counts)) == 1
            rows.append([f"{lesson.number}.{task.number} {task.title}", *map(str, counts), "" if fine else "!"])
            kept = kept and fine
    return rows, kept


def ladder_table(lessons: Sequence[Lesson]) -> tuple[list[list[str]], bool]:
    """One row per notebook: exercises of each level, the share that needs thought, hints and folded solutions."""
    rows, kept = [], True
    for lesson in lessons:
        levels = [sum(task.difficulty == level for task in lesson.tasks) for level in range(1, 6)]
        thought = sum(task.kind in THOUGHT for task in lesson.tasks) / len(lesson.tasks)
        helped = sum(task.hints >= 2 and task.reasoned for task in lesson.tasks)
        fine = levels[3] >= 1 and levels[4] >= 1 and thought >= THOUGHT_LEAST and helped == len(lesson.tasks)
        rows.append([lesson.path.stem, *map(str, levels), f"{thought:.0%}", f"{helped}", "" if fine else "!"])
        kept = kept and fine
    return rows, kept


def generic_table(lessons: Sequence[Lesson]) -> tuple[list[list[str]], list[str], bool]:
    """One row per exercise: generic wrong answers tried, refused, told only the general hint; and the survivors."""
    rows, survivors, kept, all_refused, all_general = [], [], True, 0, 0
    for lesson in lessons:
        answers = answers_of(lesson.number)
        for task in (task for task in lesson.tasks if lesson.exercises[task.check].cases):
            own = answers[task.check]
            found = score(own.solution, lesson.exercises[task.check], set(own.equivalent))
            share = found.refused / max(found.tried, 1)
            fine = share >= GOAL or not found.tried
            counts = [found.tried, found.refused, f"{share:.0%}", found.general, len(found.argued)]
            rows.append([f"{lesson.number}.{task.number} {task.title}", *map(str, counts), "" if fine else "!"])
            survivors += [f"{lesson.number}.{task.number} {name}" for name in found.survivors]
            survivors += [
                f"{lesson.number}.{task.number} {name}: right, {own.equivalent[name]}" for name in sorted(found.argued)
            ]
            kept, all_refused, all_general = kept and fine, all_refused + found.refused, all_general + found.general
    return rows, survivors, kept and all_general <= GENERAL_MOST * all_refused


def measured_seconds(path: Path) -> float:
    """How long a copy of the notebook runs, its kernel's start included."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        start = time.perf_counter()
        execute(copy)
        return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a number is out of range or a wrong answer gets through."""
    parser = argparse.ArgumentParser(prog="python -m teaching.report", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("notebooks"))
    parser.add_argument("--run", action="store_true", help="run each notebook and measure its seconds")
    options = parser.parse_args(arguments)
    lessons = [read_lesson(path) for path in notebook_paths(options.folder)]
    if not lessons:
        parser.error(f"no notebooks such as 01_name.ipynb in {options.folder}")
    seconds = [measured_seconds(lesson.path) if options.run else lesson.running for lesson in lessons]
    rows, rules_kept = rule_table(lessons, seconds)
    ranges = [
        ["allowed", *(f"{low}–{high}" for low, high in RULES.values())],
        ["target", *(f"at most {TARGETS[name]}" if name in TARGETS else "" for name in RULES)],
    ]
    print(pd.DataFrame(rows + ranges, columns=["notebook", *RULES]).to_string(index=False))
    print(f"\nseconds: {'measured here' if options.run else 'as the headers state them'}; images: all need alt text")
    for name, most in TARGETS.items():
        counts = [numbers(lesson.notebook)[name] for lesson in lessons]
        over = sum(count > most for count in counts)
        print(f"+: over the target of {most} {name}: {over} of {len(lessons)} notebooks; most: {max(counts)}")
    print()
    rows, all_rejected = mutant_table(lessons)
    total = [sum(int(row[k]) for row in rows) for k in (1, 2, 3)]
    head = ["exercise", "wrong answers", "rejected", "different messages", ""]
    print(pd.DataFrame([*rows, ["all", *map(str, total), ""]], columns=head).to_string(index=False))
    print(f"\n{total[1]} of {total[0]} wrong answers rejected ({total[1] / total[0]:.0%})\n")
    rows, ladder_kept = ladder_table(lessons)
    head = ["notebook", *(f"level {k}" for k in range(1, 6)), "thought", "hints and solution", ""]
    print(pd.DataFrame(rows, columns=head).to_string(index=False))
    rows, survivors, generic_kept = generic_table(lessons)
    tried, refused, general = (sum(int(row[k]) for row in rows) for k in (1, 2, 4))
    head = ["exercise", "generic wrong answers", "refused", "share", "general hint only", "argued", ""]
    print("\n" + pd.DataFrame(rows, columns=head).to_string(index=False))
    print(f"\n{refused} of {tried} generic wrong answers refused ({refused / max(tried, 1):.1%}); ", end="")
    print(f"{general} of the refused read only the general hint ({general / max(refused, 1):.1%})")
    print("\nsurvivors:", *survivors, sep="\n    ")
    return 0 if rules_kept and all_rejected and ladder_kept and generic_kept else 1


if __name__ == "__main__":
    sys.exit(main())
