"""Exercises that check themselves, and the source of the package shown in a notebook.

An exercise is data: cases to try, and what the solution and the wrong answers seen in class give on each, the latter
with the sentence that would help. `exercise(answer)` prints what it finds and never raises: a wrong answer is
recognised by giving, on every case, what a listed wrong answer gives. The answers are not part of the package.

    check_product = Exercise(
        name="product_value",
        task="return the product of the children's values",
        arguments=["values"],
        cases={"two children": ([0.5, 0.2],)},
        expected={"two children": 0.1},
        mistakes={"independent parts multiply; you added them": {"two children": 0.7}},
    )
"""

from __future__ import annotations

import ast
import copy
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from ..errors import TiramisuError


def as_it_is(result: Any) -> Any:
    return result


NO_CASES: Mapping[str, tuple] = {"": ()}


@dataclass(frozen=True)
class Report:
    """What a check found: whether the answer is right, and the lines it prints."""

    passed: bool
    message: str


@dataclass(frozen=True)
class Failure:
    """Stands for the result of an answer that raised an exception."""

    error: str


@dataclass(frozen=True)
class Exercise:
    """One exercise; call it with the student's answer.

    Attributes:
        name: what the student was asked to define.
        task: what an empty stub lacks, as "return …" or "set it to …".
        expected: label of a case -> what the solution gives.
        mistakes: hint -> what the wrong answer that deserves it gives, likewise.
        arguments: names of the function's arguments.
        cases: label -> arguments of the function; empty for exercises whose answer is a value.
        view: applied to every result before it is compared, for example the table of a circuit.
        tolerance: relative and absolute tolerance of numbers.
        reports: what its checks have found in this session, the latest last.
    """

    name: str
    task: str
    expected: Mapping[str, Any]
    mistakes: Mapping[str, Mapping[str, Any]]
    arguments: Sequence[str] = ()
    cases: Mapping[str, tuple] = field(default_factory=dict)
    view: Callable[[Any], Any] = as_it_is
    tolerance: float = 1e-6
    reports: list[Report] = field(default_factory=list, init=False, compare=False, repr=False)

    def __call__(self, answer: Any = ...) -> None:
        self.reports.append(self.report(answer))
        print(self.reports[-1].message)

    def report(self, answer: Any) -> Report:
        """Try the answer on every case; the first case that fails is reported."""
        if self.cases and answer is not None and answer is not ... and not callable(answer):
            return Report(False, f"{self.name}: expected a function, got {show_value(answer)}")
        return self.verdict(self.results(answer))

    def verdict(self, results: Mapping[str, Any]) -> Report:
        """Compare the results of an answer, label of the case -> value, with those of the solution."""
        if not self.expected:
            return Report(False, f"{self.name}: what is right is not recorded; run `python -m teaching.solutions`")
        if all(result is None or result is ... for result in results.values()):
            return self._unsolved()
        for case, expected in self.expected.items():
            if case not in results or not same(results[case], expected, self.tolerance):
                return Report(False, self._explain(case, {case: None, **results}))
        return Report(True, f"{self.name}: correct" + (f" in all {len(results)} cases" if self.cases else ""))

    def results(self, answer: Any) -> dict[str, Any]:
        """The viewed result of each case, or a Failure; none for an empty answer."""
        results: dict[str, Any] = {}
        if answer is None or answer is ...:
            return results
        for case, arguments in (self.cases or NO_CASES).items():
            try:
                result = answer(*copy.deepcopy(arguments)) if self.cases else answer
                results[case] = result if result is None or result is ... else self.view(result)
            except NotImplementedError:
                results[case] = None
            except (Exception, SystemExit) as error:
                results[case] = Failure(_describe(error))
        return results

    def _unsolved(self) -> Report:
        return Report(False, f"{self.name}: nothing here yet. Missing: {self.task}.")

    def _explain(self, case: str, results: dict[str, Any]) -> str:
        lines = [f"{self.name}: not yet"]
        if case:
            lines.append(f"  case      {case}: {self._arguments(case)}")
        lines.append(f"  yours     {show_value(results[case])}")
        lines.append(f"  expected  {show_value(self.expected[case])}")
        lines.append(f"  likely    {self._likely(results) or _shape_hint(results[case], self.expected[case])}")
        return "\n".join(line.replace("\n", "\n" + " " * 12) for line in lines)

    def _arguments(self, case: str) -> str:
        named = zip(self.arguments, self.cases[case])
        return ", ".join(f"{name} = {show_value(value)}" for name, value in named)

    def _likely(self, results: dict[str, Any]) -> str | None:
        """The hint of the listed wrong answer that gives the same results as the student's."""
        for hint, theirs in self.mistakes.items():
            if all(same(results[case], theirs[case], self.tolerance) for case in results):
                return hint
        return None


def normalised(values: Any) -> np.ndarray:
    """Values divided by their sum; a `view` of answers that are right up to a factor."""
    values = np.asarray(values, dtype=float)
    return values / values.sum()


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two results are equal: numbers and arrays up to a tolerance, containers item by item."""
    try:
        if isinstance(b, Mapping):
            return set(a) == set(b) and all(same(a[key], b[key], tolerance) for key in b)
        if isinstance(b, bool | np.bool_):
            return isinstance(a, bool | np.bool_) and bool(a) == bool(b)
        if isinstance(b, str | Failure | None):
            return type(a) is type(b) and bool(a == b)
        if isinstance(b, list | tuple) and not _is_numeric(b):
            return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b))
        x, y = _array(a).astype(float), _array(b).astype(float)
        return x.shape == y.shape and np.allclose(x, y, rtol=tolerance, atol=tolerance * 1e-3, equal_nan=True)
    except Exception:  # an answer of a foreign type: unequal, whatever its comparison does
        return False


def show_value(value: Any) -> str:
    """A short text for a value in a message; never fails."""
    if isinstance(value, Failure):
        return f"your code raised {value.error}"
    try:
        if _is_numeric(value) and _array(value).ndim:
            return np.array2string(_array(value), precision=4, separator=", ", threshold=40)
        text = f"{value:.6g}" if isinstance(value, float | np.floating) else repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "…"


def source(thing: Any) -> None:
    """Show the source of a function, method or class of the package without its docstring, coloured."""
    from IPython.display import HTML, display

    code = inspect.cleandoc("\n" + inspect.getsource(thing))
    if thing.__doc__:
        first = ast.parse(code).body[0].body[0]  # type: ignore[attr-defined]
        lines = code.splitlines()
        code = "\n".join(lines[: first.lineno - 1] + lines[first.end_lineno :])
    style = "background:#ffffff;color:#000000;padding:0.6em;border-left:3px solid #0072B2"
    display(HTML(coloured(code + "\n", cssclass="source", cssstyles=style)))


def coloured(code: str, **options: Any) -> str:
    """Python as HTML, its colours in the text itself; `options` are those of Pygments' `HtmlFormatter`."""
    formatter = HtmlFormatter(noclasses=True, style="default", **options)
    return highlight(code, PythonLexer(stripnl=False, ensurenl=False), formatter)


def as_array(value: Any) -> np.ndarray | None:
    """Numbers and truth values as an array; None for anything else."""
    return _array(value) if _is_numeric(value) else None


def _array(value: Any) -> np.ndarray:
    """The value as an array; a tensor that carries a gradient counts by its numbers."""
    return np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)


def _is_numeric(value: Any) -> bool:
    try:
        return _array(value).dtype.kind in "biuf"
    except Exception:
        return False


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[1:2]  # the student's function, below `_results`
    line = f" at “{frames[0].line}”" if frames and frames[0].line else ""
    try:
        said = str(error)
    except Exception:
        said = "its message cannot be shown"
    return f"{type(error).__name__}: {said}" + ("" if isinstance(error, TiramisuError) else line)


def _shape_hint(ours: Any, expected: Any) -> str:
    if isinstance(ours, Failure):
        return "read the error above from its end"
    if ours is None or ours is ...:
        return "a branch of your function returns nothing"
    if _is_numeric(ours) and _is_numeric(expected) and _array(ours).shape != _array(expected).shape:
        return f"the shape is {_array(ours).shape}, expected {_array(expected).shape}"
    return "none of the usual ones; work the case by hand and compare each step"
