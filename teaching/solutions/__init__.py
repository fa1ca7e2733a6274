"""The exercises with their solutions and the wrong answers seen in class: one module for each notebook.

They are for teachers and stay out of the package that students install. That has a record of each exercise: its cases,
what the solution gives on them and what the wrong answers give, with which a check compares. After every change here
run `python -m teaching.solutions`. How to write an exercise: `teaching/README.md`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum, children_before_parents
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course.checks import Exercise, as_it_is
from tiramisu_edu.course.compare import Failure, same
from tiramisu_edu.course.exercises import restored

from ..generic import changes, quietly, slips
from ..shrink import shrink

RANDOM_CASES = 20
MISTAKE_CASES = 6  # of those that a listed wrong answer gets wrong, as many are recorded
SIZES = 4  # random cases grow from size 1 to this

Random = Callable[[np.random.Generator, int], tuple]
"""From a generator and a size, 1 to 4, to the arguments of a case; numbers rounded, since all are recorded."""


@dataclass(frozen=True)
class Answers:
    """An exercise and the course's own answers to it.

    Attributes:
        name, task, view, tolerance, slack: see `Exercise`.
        solution: the right answer, a function when there are cases, otherwise a value.
        mistakes: hint -> wrong answer that deserves it; two at least.
        cases: those made by hand, by their label; the smallest first.
        random: makes further cases; None for exercises whose answer is a value.
        random_cases: how many; fewer where an answer takes long.
        traits: what may be special about a case, in words -> whether its arguments have it.
        fair: whether arguments are such as the task speaks of; with it, cases are shrunk to the smallest ones on which
            wrong answers fail.
        equivalent: survivors among the generic wrong answers (see `teaching.generic`) -> why they are right.
    """

    name: str
    task: str
    solution: Any
    mistakes: Mapping[str, Any]
    cases: Mapping[str, tuple] = field(default_factory=dict)
    random: Random | None = None
    random_cases: int = RANDOM_CASES
    traits: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    fair: Callable[..., bool] | None = None
    view: Callable[[Any], Any] = as_it_is
    tolerance: float = 1e-6
    slack: float = 1e-9
    equivalent: Mapping[str, str] = field(default_factory=dict)

    def all_cases(self, seed: int = 0) -> dict[str, tuple]:
        """Those made by hand, then the random ones of this seed, from small to large; all as students get them."""
        rng, made = np.random.default_rng(seed), []
        for k in range(self.random_cases if self.random else 0):
            made.append(self.random(rng, 1 + k * SIZES // self.random_cases))  # type: ignore[misc]
        texts = sorted({_text(arguments) for arguments in made}, key=lambda text: (len(text), text))
        written = {label: _text(arguments) for label, arguments in self.cases.items()}
        written |= {f"random {k + 1}": text for k, text in enumerate(texts)}
        return {label: json.loads(text, object_hook=restored) for label, text in written.items()}

    def shrunken(self) -> dict[str, tuple]:
        """Small cases such that each known wrong answer, listed or generic, fails on one that cannot be made smaller.

        An answer that already fails on a small case found for another one needs no case of its own.
        """
        if self.fair is None:
            return {}
        pool, small = list(self.all_cases().values()), list[tuple]()
        for answer in [*self.mistakes.values(), *(change.answer for change in changes(self.solution))]:
            failing = sorted(filter(partial(self._fails, answer), [*small, *pool]), key=_size)
            if failing and all(failing[0] is not known for known in small):
                small.append(_as_recorded(shrink(failing[0], partial(self._fails, answer), _size)))
        known = set(map(_text, pool))
        new = sorted((arguments for arguments in small if _text(arguments) not in known), key=_size)
        return {f"small {k + 1}": arguments for k, arguments in enumerate(new)}

    def _fails(self, answer: Any, arguments: tuple) -> bool:
        """Whether the wrong answer gives a clearly different value in this case, and the case is a fair one."""
        try:
            given = _as_recorded(arguments)
            if self.fair is None or not self.fair(*given):
                return False
            empty = self._empty({"": given})
        except Exception:  # a circuit that is none, rows that no longer fit: no case
            return False
        ours, right = (quietly(partial(empty.results, each)).get("") for each in (answer, self.solution))
        if any(isinstance(each, Failure | None) for each in (ours, right)) or "NaN" in _text((right,)):
            return False
        return not same(ours, right, self.tolerance, 2 * self.slack)

    def _empty(self, cases: Mapping[str, tuple]) -> Exercise:
        arguments = list(inspect.signature(self.solution).parameters) if cases else []
        kept: dict[str, Any] = {"view": self.view, "tolerance": self.tolerance, "slack": self.slack}
        return Exercise(self.name, self.task, {}, {}, arguments=arguments, cases=cases, **kept)

    def compared(self, seed: int, small: Mapping[str, tuple] | None = None) -> Exercise:
        """With what the solution gives on cases of this seed, and nothing that explains a wrong answer.

        Args:
            seed: of the random cases.
            small: shrunken cases that stand beside them; from small to large they are in order with the others.
        """
        cases = self.all_cases(seed) | dict(small or {})
        if small:
            cases = dict(sorted(cases.items(), key=lambda case: _size(case[1])))
        empty = self._empty(cases)
        return replace(empty, expected=empty.results(self.solution))

    def exercise(self, seed: int = 0, small: Mapping[str, tuple] | None = None) -> Exercise:
        """With what all the answers give; seed 0 makes the cases that students have. Args: as `compared`."""
        right = self.compared(seed, small)
        cases, expected = right.cases, right.expected
        wrong = {hint: right.results(answer) for hint, answer in self.mistakes.items()}
        differing = {}
        for hint, theirs in wrong.items():
            off = [c for c, r in theirs.items() if not same(r, expected[c], self.tolerance, self.slack)]
            differing[hint] = {c: theirs[c] for c in [*off[:2], *off[2:][2 - MISTAKE_CASES :]]}
        made = replace(
            right,
            mistakes=differing,
            traits={c: found for c, a in cases.items() if (found := [t for t, has in self.traits.items() if has(*a)])},
        )
        return replace(made, slips=slips(self.solution, made)) if cases else made

    def record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        made = self.exercise(small=self.shrunken())
        fields = ("task", "arguments", "expected", "mistakes", "traits", "slips", "tolerance", "slack")
        return plain({name: getattr(made, name) for name in (*fields, "cases")})


def _text(arguments: tuple) -> str:
    return json.dumps(plain(arguments))


def _size(arguments: tuple) -> tuple[int, str]:
    """How much there is to read in a case; of two that are as long, the one with the smaller digits is the smaller."""
    text = _text(arguments)
    return len(text), text


def _as_recorded(arguments: tuple) -> tuple:
    """The arguments as students get them: numbers with ten digits, nodes named after their places."""
    return json.loads(_text(arguments), object_hook=restored)


def answers_of(number: int) -> dict[str, Answers]:
    """The answers of notebook `number` by the name of their check: `check_forward` and so on."""
    contents = vars(importlib.import_module(f"{__name__}.nb{number:02d}"))
    return {name: value for name, value in contents.items() if isinstance(value, Answers)}


def recorded(number: int) -> str:
    """The record of the exercises of notebook `number`, as JSON, a line for each."""
    found = {answers.name: answers.record() for answers in answers_of(number).values()}
    lines = [json.dumps(name) + ": " + json.dumps(record, ensure_ascii=False) for name, record in found.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def numbers() -> list[int]:
    """The notebooks that have exercises."""
    return sorted(int(m.name[2:]) for m in pkgutil.iter_modules(__path__) if m.name.startswith("nb"))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: what JSON lacks as {kind: content}, floats with ten digits."""
    if isinstance(value, Failure):
        return {"failure": value.error}
    if isinstance(value, ReferenceCircuit):
        return {"circuit": _rows(value.root)}
    if isinstance(value, Input | Product | Sum):
        return {"root": _rows(value)}
    if isinstance(value, np.random.Generator):
        return {"rng": int(value.bit_generator.seed_seq.entropy)}  # type: ignore[attr-defined]
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, np.ndarray):
        return {"array": plain(value.tolist())}
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, tuple):
        return {"tuple": list(map(plain, value))}
    if isinstance(value, dict) and not all(isinstance(key, str) and not key.isdigit() for key in value):
        return {"map": [[plain(key), plain(each)] for key, each in value.items()]}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return list(map(plain, value)) if isinstance(value, list) else value


def _rows(root: Node) -> list[list]:
    """One row per node, as `tiramisu_edu.course.exercises.graph` reads them."""
    place = {n: k for k, n in enumerate(children_before_parents(root))}
    return [
        [n.variable, plain(list(n.probabilities))]
        if isinstance(n, Input)
        else ["product", [place[c] for c in n.children]]
        if isinstance(n, Product)
        else ["sum", [place[c] for c in n.children], plain(list(n.weights))]
        for n in place
    ]
