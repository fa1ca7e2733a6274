"""Generic wrong answers: small changes of a solution's syntax tree, as students make them without being asked.

A term or a factor dropped, operands swapped, max for mean, a logarithm or root left out, only two items of a list, =
for +=, a condition turned round, an index off by one. The share of them that a check refuses says how much it sees.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

import numpy as np

from tiramisu_edu.course import checks
from tiramisu_edu.course.checks import GENERAL, Exercise
from tiramisu_edu.course.compare import Failure, same

GOAL = 0.95  # share of generic wrong answers that a check refuses
GENERAL_MOST = 0.15  # share of the refused that may read only the general hint
SECONDS = 3  # of the processor, for one wrong answer on all cases

OTHER_CALL = {"max": "min", "min": "max", "sum": "max", "mean": "sum", "prod": "sum", "argmax": "argmin"}
OTHER_CALL |= {"argmin": "argmax", "maximum": "minimum", "minimum": "maximum", "any": "all", "all": "any"}
DROPPED_CALL = {"log", "sqrt", "exp", "abs", "log2", "square", "normalised"}
OTHER_OPERATOR = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
OTHER_COMPARISON = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.GtE: ast.Lt,
}
OTHER_BOOL = {ast.And: ast.Or, ast.Or: ast.And}
AT_THE_LIMIT = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}

# What a student reads whose answer behaves like a change. It names the kind, not the place.
SENTENCES = {
    "= for +=": "it looks as if something were overwritten where it should be added up",
    "only two items": "it looks as if only the first two items counted",
    "filter dropped": "it looks as if an item that should be left out were used",
    "sign or not": "it looks as if a minus sign or a `not` were missing",
    "operands swapped": "it looks as if the two sides of a difference, quotient or power were swapped",
    "root or square": "it looks as if a root or a square were too many, or too few",
    "another operator": "it looks as if + stood for −, or × for ÷, or the other way round",
    "operand dropped": "it looks as if a term or a factor were left out",
    "condition": "it looks as if a condition were the wrong way round",
    "at the limit": "it looks as if a condition were wrong just at its limit: < for ≤, or the other way round",
    "any": "it looks as if `all` stood for `any`, or the other way round",
    "always": "it looks as if one of two branches were always taken",
    "off by one": "it looks as if an index, an axis or a number were off by one",
    "option left out": "it looks as if an option were left out, such as the axis of a sum or keepdims",
    "left out": "it looks as if a function were left out: a root, a logarithm, an exponential",
    " for ": "it looks as if a sum, a mean, a maximum or a product stood in place of another one",
}


class Change(NamedTuple):
    """A generic wrong answer: what was done, in which line, and the function."""

    what: str
    line: str
    answer: Callable


class Score(NamedTuple):
    """What a check made of them.

    Attributes:
        tried, refused: how many.
        general: refused with no more than the general hint.
        survivors: those that were taken, without the ones that are argued to be right.
        argued: these, which are not counted.
    """

    tried: int
    refused: int
    general: int
    survivors: list[str]
    argued: set[str]


def changes(solution: Callable) -> Iterator[Change]:
    """Every change of one place in the solution, a plain function."""
    tree = _tree(solution)
    for k, _ in enumerate(ast.walk(tree)):
        at = list(ast.walk(tree))[k]
        for what, new in _variants(at):
            changed = copy.deepcopy(tree)
            _put(changed, list(ast.walk(changed))[k], new)
            space = dict(solution.__globals__)
            code = compile(ast.fix_missing_locations(ast.Module([changed], [])), "<changed>", "exec")
            exec(code, space)
            yield Change(what, ast.unparse(at).split("\n")[0], space[tree.name])


def slips(solution: Callable, exercise: Exercise) -> dict[str, list[dict[str, Any]]]:
    """Sentence -> what the changes that it fits give, in the smallest and the two largest cases that they get wrong."""
    found: dict[str, list[dict[str, Any]]] = {}
    for change in changes(solution):
        results = quietly(lambda: exercise.results(change.answer))  # noqa: B023
        wrong = [
            case
            for case, expected in exercise.expected.items()
            if case in results and not same(results[case], expected, exercise.tolerance, exercise.slack)
        ]
        kept = {case: results[case] for case in [*wrong[:1], *wrong[1:][-2:]]}
        if wrong and not any(isinstance(result, Failure | None) for result in kept.values()):
            sentence = next(text for part, text in SENTENCES.items() if part in change.what)
            if not any(same(kept, each, 1e-6) for each in found.setdefault(sentence, [])):
                found[sentence].append(kept)
    return found


def quietly(call: Callable[[], Any]) -> Any:
    """The call, stopped early, and without the warnings of broken arithmetic."""
    usual, checks.time_limit = checks.time_limit, lambda *_: usual(SECONDS, "PROF")
    try:
        with np.errstate(all="ignore"):
            return call()
    finally:
        checks.time_limit = usual


def score(solution: Callable, exercise: Exercise, equivalent: Container[str]) -> Score:
    """Give every change to the check; those in `equivalent` are right and not counted."""
    tried = refused = general = 0
    survivors, argued = [], set()
    for change in changes(solution):
        name = f"{change.what}: {change.line}"
        report = quietly(lambda: exercise.report(change.answer))  # noqa: B023
        if report.passed and name in equivalent:
            argued.add(name)
            continue
        tried, refused = tried + 1, refused + (not report.passed)
        general += GENERAL in report.message
        survivors += [name] if report.passed else []
    return Score(tried, refused, general, survivors, argued)


def _tree(solution: Callable) -> ast.FunctionDef:
    """The function without annotations, in which there is nothing to change."""
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(solution))).body[0]
    for n in ast.walk(tree):
        if isinstance(n, ast.FunctionDef):
            n.returns = None
        elif isinstance(n, ast.arg):
            n.annotation = None
    return tree


def _put(tree: ast.AST, old: ast.AST, new: ast.AST | None) -> None:
    """Replace a node where it hangs in the tree; drop the statement when `new` is None."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(each is old for each in value):
                kept = [new if each is old else each for each in value]
                setattr(parent, name, [each for each in kept if each is not None] or [ast.Pass()])


def _variants(at: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    """(what was done, what stands there instead) for one node of the tree."""
    at = copy.deepcopy(at)
    if isinstance(at, ast.BinOp):
        yield from _of_operation(at)
    elif isinstance(at, ast.UnaryOp) and isinstance(at.op, ast.USub | ast.Not | ast.Invert):
        yield "sign or not dropped", at.operand
    elif isinstance(at, ast.Compare):
        for what, other in (("condition turned round", OTHER_COMPARISON), ("at the limit", AT_THE_LIMIT)):
            if type(at.ops[0]) in other:
                yield what, ast.Compare(at.left, [other[type(at.ops[0])](), *at.ops[1:]], at.comparators)
    elif isinstance(at, ast.BoolOp):
        yield "condition: and for or, or for and", ast.BoolOp(OTHER_BOOL[type(at.op)](), at.values)
    elif isinstance(at, ast.Subscript) and isinstance(at.slice, ast.Compare | ast.UnaryOp | ast.BoolOp):
        yield "filter dropped", at.value
    elif isinstance(at, ast.AugAssign):
        yield "= for += and its like", ast.Assign([at.target], at.value)
    elif isinstance(at, ast.IfExp):
        yield "always the first", at.body
        yield "always the second", at.orelse
    elif isinstance(at, ast.For):
        yield "only two items", ast.For(at.target, _two(at.iter), at.body, at.orelse)
    elif isinstance(at, ast.comprehension):
        yield "only two items", ast.comprehension(at.target, _two(at.iter), at.ifs, at.is_async)
        if at.ifs:
            yield "filter dropped", ast.comprehension(at.target, at.iter, [], at.is_async)
    elif isinstance(at, ast.Call):
        yield from _of_call(at)
    elif isinstance(at, ast.Constant) and isinstance(at.value, int | float) and not isinstance(at.value, bool):
        yield "number off by one", ast.Constant(at.value + 1)


def _of_operation(at: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    yield "right operand dropped", at.left
    if not isinstance(at.op, ast.Sub | ast.Div | ast.Pow):
        yield "left operand dropped", at.right
    if isinstance(at.op, ast.Sub | ast.Div | ast.Pow | ast.MatMult):
        yield "operands swapped", ast.BinOp(at.right, at.op, at.left)
    if isinstance(at.op, ast.Div):
        for power in (0.5, 2):
            yield "root or square", ast.BinOp(at.left, at.op, ast.BinOp(at.right, ast.Pow(), ast.Constant(power)))
    if type(at.op) in OTHER_OPERATOR:
        yield "another operator", ast.BinOp(at.left, OTHER_OPERATOR[type(at.op)](), at.right)


def _of_call(at: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    called = at.func.attr if isinstance(at.func, ast.Attribute) else getattr(at.func, "id", "")
    if called in OTHER_CALL:
        other = copy.deepcopy(at)
        if isinstance(other.func, ast.Attribute):
            other.func.attr = OTHER_CALL[called]
        else:
            other.func = ast.Name(OTHER_CALL[called], ast.Load())
        yield f"{OTHER_CALL[called]} for {called}", other
    if called == "where" and len(at.args) == 3:
        yield "always the first", at.args[1]
        yield "always the second", at.args[2]
    if called in DROPPED_CALL and at.args:
        yield f"{called} left out", at.args[0]
    if at.keywords:
        yield "option left out", ast.Call(at.func, at.args, at.keywords[1:])


def _two(items: ast.expr) -> ast.expr:
    listed = ast.Call(ast.Name("list", ast.Load()), [items], [])
    return ast.Subscript(listed, ast.Slice(None, ast.Constant(2)), ast.Load())
