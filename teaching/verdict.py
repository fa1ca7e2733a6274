"""What a submission is worth: what its answers gave on hidden cases, compared with what the solutions give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tiramisu_edu.course import checks
from tiramisu_edu.course.checks import Exercise
from tiramisu_edu.course.compare import Failure, difference
from tiramisu_edu.errors import TiramisuError

from . import sandbox, solutions
from .handed_in import HandedIn
from .lesson import Lesson

SEEN = "of the student's: "  # begins the labels of the random cases that students have
COURSE = "tiramisu_edu.course."  # where checks are, and what they use
SAID = {"cell": [int], "error": [int, str], "flag": [str], "patched": [str], "end": []}  # beside "values"
COPIED = 0.5  # right in all cases that students have, wrong in more than this share of those of a grader: looked up


class Grade(NamedTuple):
    """What became of a submission.

    Attributes:
        solved: name of each exercise -> is it solved.
        points: name -> the points that it gets.
        told: name of each exercise that is not solved -> why.
        seconds: of CPU time.
        cheats: what was found that nobody does by accident; all points are 0.
        copied: names of exercises whose answer was typed in; they have no points.
        remarks: what a teacher may want to look at; it costs nothing.
        failure: why it was not run whole; empty where it was.
    """

    path: Path
    student: str
    solved: dict[str, bool]
    points: dict[str, int]
    told: dict[str, str]
    seconds: float = 0.0
    cheats: Sequence[str] = ()
    copied: Sequence[str] = ()
    remarks: Sequence[str] = ()
    failure: str = ""

    @property
    def flags(self) -> list[str]:
        """What has cost points."""
        return [*self.cheats, *([f"copied: {', '.join(self.copied)}"] if self.copied else [])]


class Found(NamedTuple):
    """What came back of an answer: its lines by their kind, why its process ended early, and its seconds."""

    lines: dict[str, list[Any]]
    why: str
    seconds: float

    @property
    def values(self) -> Mapping[str, Any]:
        """Label of the case -> value."""
        values = self.lines.get("values", [{}])[0]
        return values if isinstance(values, Mapping) else {}


def hidden_exercises(lesson: Lesson, seed: int) -> dict[str, Exercise]:
    """The exercises with cases of this seed beside those that students have, and what the solutions give on them.

    Raises:
        TiramisuError: a seed below 1, 0 being what students have, or a notebook without solutions.
    """
    if seed < 1:
        raise TiramisuError(f"seed {seed}: choose 1 or more, since 0 makes the cases that students have")
    if not lesson.tasks:
        raise TiramisuError(f"{lesson.path} has no solutions: give the course's own notebook, no student's version")
    checks.CHECK_SECONDS = 10**6  # solutions are right, however busy the machine is
    made = {}
    for check, answers in solutions.answers_of(lesson.number).items():
        new, old = answers.compared(seed), answers.compared(0)
        seen = {label: SEEN + label for label in old.cases if label not in answers.cases}
        made[check] = replace(
            new,
            cases={**new.cases, **{seen[label]: old.cases[label] for label in seen}},
            expected={**new.expected, **{seen[label]: old.expected[label] for label in seen}},
        )
    return {task.check: made[task.check] for task in lesson.tasks}


def found(lines: Sequence[str], why: str, seconds: float) -> Found:
    """What a process has written, sorted; whatever a hostile one has."""
    kinds: dict[str, list[Any]] = {}
    try:
        for line in lines:
            kind, *content = json.loads(line)
            if kind != "values" and [type(each) for each in content] != SAID[kind]:
                raise ValueError(f"no line of the sandbox: {line[:80]}")
            kinds.setdefault(kind, []).append(sandbox.decoded(content[0]) if kind == "values" else content)
    except Exception:
        return Found({}, why or "its process returned what is no value", seconds)
    return Found(kinds, why, seconds)


def graded(lesson: Lesson, each: HandedIn, exercises: Mapping[str, Exercise], given: Mapping[str, Found]) -> Grade:
    """The grade of a submission.

    Args:
        exercises: those of `hidden_exercises`.
        given: check -> what came back of the answer, for those that there are.
    """
    grade = Grade(each.path, each.student, {}, {}, {}, sum(back.seconds for back in given.values()))
    cheats, stale, changed = list(each.cheats), [], []
    for (check, exercise), task in zip(exercises.items(), lesson.tasks):
        name, back = exercise.name, given.get(check, Found({}, "", 0.0))
        passed, grade.told[name] = _verdict(exercise, back)
        if check in each.copied:
            grade.told[name] = f"{name}: a number is typed in, not computed"
        grade.solved[name] = passed and check not in each.copied
        grade.points[name] = task.difficulty * grade.solved[name]
        cheats += _caught(exercise, back)
        stale += [name] if each.said.get(check, passed) != passed else []
        changed += [name for (name,) in back.lines.get("patched", []) if COURSE not in name]
    remarks = {**each.remarks, "stale output": stale, "functions changed": sorted(set(changed))}
    return grade._replace(
        points=dict.fromkeys(grade.points, 0) if cheats else grade.points,
        told={name: why for name, why in grade.told.items() if not grade.solved[name]},
        cheats=sorted(set(cheats)),
        copied=[exercises[check].name for check in each.copied],
        remarks=[f"{what}: {', '.join(where)}" for what, where in remarks.items() if where],
    )


def _verdict(exercise: Exercise, back: Found) -> tuple[bool, str]:
    """Is it solved; and the first line of what the check says, or why there is nothing to be checked."""
    report = exercise.verdict(back.values)
    errors = [*(error for _, error in back.lines.get("error", [])[-2:]), *[back.why] * bool(back.why)]
    if errors and not back.values:
        return False, f"{exercise.name}: {'; '.join(errors)}"
    failures = [value.error for value in back.values.values() if isinstance(value, Failure)]
    return report.passed, "; ".join([report.message.split("\n")[0], *failures[:1]])


def _caught(exercise: Exercise, back: Found) -> list[str]:
    """What an answer did when it was run that nobody does by accident."""
    cheats = [what for (what,) in back.lines.get("flag", [])]
    cheats += [f"changes {name}" for (name,) in back.lines.get("patched", []) if COURSE in name]
    return [
        *cheats,
        *(
            [f"{exercise.name} knows the cases that students have, and no others"]
            if _is_looked_up(exercise, back.values)
            else []
        ),
    ]


def _is_looked_up(exercise: Exercise, values: Mapping[str, Any]) -> bool:
    """Right wherever a student can know the result, and wrong in most of the other cases."""
    wrong = {
        case: difference(values.get(case), expected, exercise.tolerance, exercise.slack) is not None
        for case, expected in exercise.expected.items()
    }
    seen = [off for case, off in wrong.items() if case.startswith(SEEN)]
    new = [off for case, off in wrong.items() if case.startswith("random ")]
    return bool(seen) and not any(seen) and sum(new) > COPIED * len(new)
