"""Exercises that check themselves, and the source of the package shown in a notebook.

An exercise is data: cases to try, and what the solution and the wrong answers seen in class give on each, the latter
with the sentence that would help. A few cases are made by hand, the others by chance, from small to large: the first
that fails is the smallest, and the one that is shown. `exercise(answer)` prints what it finds and never raises. The
answers are not part of the package.

    check_product = Exercise(
        name="product_value", task="return the value of the product", arguments=["values"],
        cases={"two children": ([0.5, 0.2],)}, expected={"two children": 0.1},
        mistakes={"independent parts multiply; you added them": {"two children": 0.7}},
    )
"""

from __future__ import annotations

import ast
import contextlib
import copy
import dis
import inspect
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from ..errors import TiramisuError
from .compare import (
    TELLING,
    Difference,
    Failure,
    array_of,
    difference,
    form_hint,
    located,
    rule_between,
    same,
    show_apart,
    show_value,
)

CHECK_SECONDS = 10  # an answer that takes longer for all cases together is stopped
HINT_SHARE = 0.8  # of the failing cases on which an answer gives what a listed wrong one gives, to get its hint
GENERAL = "none of the usual ones; work the case by hand and compare each step"


def as_it_is(result: Any) -> Any:
    return result


@dataclass(frozen=True)
class Report:
    """What a check found: whether the answer is right, and the lines it prints."""

    passed: bool
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise; call it with the student's answer.

    Attributes:
        name: what the student was asked to define.
        task: what an empty stub lacks, in words that do not give it away.
        expected: label of a case -> what the solution gives.
        mistakes: hint -> what the wrong answer that deserves it gives, where that is not the expected.
        arguments: names of the function's arguments.
        cases: label -> arguments of the function, from small to large; empty for exercises whose answer is a value,
            which is then to be found and never shown.
        traits: label -> what is special about the case, in words.
        slips: sentence on a small slip -> what answers with it give in three cases where that is not the expected.
        view: applied to every result before it is compared, for example the table of a circuit.
        tolerance: relative tolerance of numbers.
        slack: their absolute tolerance.
        reports: what its checks have found in this session, the latest last.
    """

    name: str
    task: str
    expected: Mapping[str, Any]
    mistakes: Mapping[str, Mapping[str, Any]]
    arguments: Sequence[str] = ()
    cases: Mapping[str, tuple] = field(default_factory=dict)
    traits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    slips: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    view: Callable[[Any], Any] = as_it_is
    tolerance: float = 1e-6
    slack: float = 1e-9
    reports: list[Report] = field(default_factory=list, init=False, compare=False, repr=False)

    def __call__(self, answer: Any = ...) -> None:
        self.reports.append(self.report(answer))
        print(self.reports[-1].message)

    def report(self, answer: Any) -> Report:
        """Try the answer on every case; the first case that fails is reported."""
        if self.cases and answer is not None and answer is not ... and not callable(answer):
            return Report(False, f"{self.name}: expected a function, got {show_value(answer)}")
        found, unused = self.verdict(self.results(answer)), ", ".join(_unused(answer))
        hint = f"your code does not use {unused}" if unused else GENERAL
        return replace(found, message=found.message.replace(GENERAL, hint))

    def verdict(self, results: Mapping[str, Any]) -> Report:
        """Compare the results of an answer, label of the case -> value, with those of the solution."""
        if not self.expected:
            return Report(False, f"{self.name}: what is right is not recorded; run `python -m teaching.solutions`")
        if all(result is None or result is ... for result in results.values()):
            return Report(False, f"{self.name}: nothing here yet. Missing: {self.task}.")
        wrong = {}
        for case, expected in self.expected.items():
            if found := difference(results.get(case), expected, self.tolerance, self.slack):
                wrong[case] = found
        if wrong:
            return Report(False, self._explain(wrong, {case: results.get(case) for case in self.expected}))
        return Report(True, f"{self.name}: correct" + (f" in all {len(results)} cases" if self.cases else ""))

    def results(self, answer: Any) -> dict[str, Any]:
        """The viewed result of each case, or a Failure; none for an empty answer."""
        results: dict[str, Any] = {}
        if answer is None or answer is ...:
            return results
        try:
            with time_limit(CHECK_SECONDS):
                for case, arguments in (self.cases or {"": ()}).items():
                    results[case] = Failure(f"your code was stopped after {CHECK_SECONDS} s: does a loop never end?")
                    results[case] = self._result(answer, arguments)
        except TimeoutError:
            pass  # the case that it came in is a failure, and those that follow have no result
        return results

    def _result(self, answer: Any, arguments: tuple) -> Any:
        given = copy.deepcopy(arguments)
        before = [_bytes(argument) for argument in given]
        try:
            result = answer(*given) if self.cases else answer
            viewed = result if result is None or result is ... else self.view(result)
        except NotImplementedError:
            return None
        except TimeoutError:
            raise
        except (Exception, SystemExit) as error:
            return Failure(_describe(error))
        for name, argument, bytes_ in zip(self.arguments, given, before):
            if bytes_ != _bytes(argument):
                return Failure(
                    f"your code changed its argument {name}: whoever passed it still needs it; work on a copy"
                )
        return viewed

    def _explain(self, wrong: Mapping[str, Difference], results: Mapping[str, Any]) -> str:
        case, found = next(iter(wrong.items()))
        right = len(self.expected) - len(wrong)
        lines = [f"{self.name}: not yet" + (f", right in {right} of {len(self.expected)} cases" if right else "")]
        if case:
            lines.append(f"  case      {case}: {self._arguments(case)}")
        ours, expected = show_apart(found.ours, found.expected)
        if found.place and not isinstance(results[case], Failure):
            lines.append(f"  at        {', '.join(map(str, found.place))}")
        lines.append(f"  yours     {ours}")
        if self.cases:
            lines.append(f"  expected  {expected}")
        lines.append(f"  likely    {self._likely(wrong, results)}")
        return "\n".join(line.replace("\n", "\n" + " " * 12) for line in lines)

    def _arguments(self, case: str) -> str:
        named = zip(self.arguments, self.cases[case])
        return ", ".join(f"{name} = {show_value(value)}" for name, value in named)

    def _likely(self, wrong: Mapping[str, Difference], results: Mapping[str, Any]) -> str:
        """The most telling sentence: of a listed mistake, the form, a rule, a slip, or what the wrong cases share."""
        case, found = next(iter(wrong.items()))
        listed = [(self._alike(theirs, results), hint) for hint, theirs in self.mistakes.items()]
        if max(listed, default=(0.0, ""))[0] >= HINT_SHARE:
            return max(listed)[1]
        if told := form_hint(results[case], self.expected[case], found):
            return told
        slip = (s for s, all_theirs in self.slips.items() if any(self._alike(t, results) == 1 for t in all_theirs))
        told = self._rule(wrong, results) or next(slip, None) or self._where(wrong, results)
        return told or self._shared_trait(wrong) or GENERAL

    def _rule(self, wrong: Mapping[str, Difference], results: Mapping[str, Any]) -> str | None:
        """What leads from the expected numbers to the given ones; never told of a value that is to be found."""
        numeric = [c for c in wrong if c and not isinstance(results[c], Failure)]
        parts = {wrong[c].place[:1] for c in numeric}
        return rule_between([results[c] for c in numeric], [self.expected[c] for c in numeric], parts)

    def _where(self, wrong: Mapping[str, Difference], results: Mapping[str, Any]) -> str | None:
        """What an argument tells of the entries that are off."""
        arguments = dict(zip(self.arguments, zip(*(self.cases[c] for c in wrong if c))))
        ours, expected = [results[c] for c in wrong], [self.expected[c] for c in wrong]
        return located(ours, expected, arguments, self.tolerance, self.slack)

    def _alike(self, theirs: Mapping[str, Any], results: Mapping[str, Any]) -> float:
        """The share of the cases that a known wrong answer gets wrong in which the results are the same as its."""
        alike = [  # without cases in which only the student's answer raises, unless these are the most
            same(results[c], value, max(self.tolerance, 1e-5), self.slack)
            for c, value in theirs.items()
            if isinstance(value, Failure) or not isinstance(results[c], Failure)
        ]
        return sum(alike) / len(alike) if 2 * len(alike) > len(theirs) else 0.0

    def _shared_trait(self, wrong: Mapping[str, Any]) -> str | None:
        """What all failing cases have and no other has; or what all failing ones have, and some do not."""
        having = {t: {c for c in self.cases if t in self.traits.get(c, ())} for ts in self.traits.values() for t in ts}
        exact = [trait for trait, cases in having.items() if cases == set(wrong)]
        if exact:
            return f"right in every other case; wrong in all cases with {exact[0]}, and only there"
        wider = [trait for trait, cases in having.items() if set(wrong) < cases and len(cases) < len(self.cases)]
        return f"all wrong cases are cases with {wider[0]}" if wider and len(wrong) >= TELLING else None


@contextlib.contextmanager
def time_limit(seconds: float, clock: str = "REAL") -> Iterator[None]:
    """TimeoutError in the block after some seconds, with the clock PROF of the processor; in the main thread only, and
    not on Windows."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"stopped after {seconds:g} s")

    alarm, timer = signal.SIGPROF if clock == "PROF" else signal.SIGALRM, getattr(signal, f"ITIMER_{clock}")
    handler = signal.signal(alarm, stop)
    outer = signal.setitimer(timer, seconds, 1)  # and again, where an answer swallows the error
    try:
        yield
    finally:
        signal.setitimer(timer, *outer)
        signal.signal(alarm, handler)


def normalised(values: Any) -> np.ndarray:
    """Values divided by their sum; a `view` of answers that are right up to a factor. None may be negative."""
    values = array_of(values).astype(float)
    return values / values.sum() if (values >= 0).all() else values


def shares(draws: Any) -> dict[Any, float]:
    """How often each draw occurs; a `view` of answers that are drawn by chance. A draw is a number or a row of them."""
    rows, counts = np.unique(array_of(draws), axis=0, return_counts=True)
    keys = (tuple(row) if isinstance(row, list) else row for row in rows.tolist())
    return dict(zip(keys, counts / counts.sum()))


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


def _bytes(argument: Any) -> bytes | None:
    """What tells whether an argument was changed; None for what changes in use, or cannot be told."""
    try:
        return None if isinstance(argument, np.random.Generator) else pickle.dumps(argument)
    except Exception:
        return None


def _unused(answer: Any) -> list[str]:
    """Names of a function's arguments that its code does not read."""
    code = getattr(answer, "__code__", None)
    if not inspect.iscode(code):
        return []
    loads = [i.argval for i in dis.get_instructions(code) if "LOAD_FAST" in i.opname]
    read = {*code.co_cellvars, *(name for names in loads for name in (names if isinstance(names, tuple) else [names]))}
    return [name for name in code.co_varnames[: code.co_argcount] if name not in read]


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[1:2]  # the student's function, below `_result`
    line = f" at “{frames[0].line}”" if frames and frames[0].line else ""
    try:
        said = str(error)
    except Exception:
        said = "its message cannot be shown"
    return f"your code raised {type(error).__name__}: {said}" + ("" if isinstance(error, TiramisuError) else line)
