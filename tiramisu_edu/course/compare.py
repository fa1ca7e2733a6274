"""Two results compared: where they first differ, how to show a value, and what simple rule leads from one to the other.

What counts as equal is generous in form and strict in number: lists, tuples, arrays and tensors with the same entries
are equal, entries of a mapping that are zero may be left out, and float32 is compared as far as its digits go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ..circuits.nodes import Input, Node, NodeGraph, Product

NAN = "there is nan in it: somewhere 0 is divided by 0, 0 meets a logarithm, or infinity is subtracted"
TELLING = 3  # as many wrong cases or entries say something by what they share
FLOAT32 = 1e-5  # how far answers in single precision may be off, relative to their largest entry


@dataclass(frozen=True)
class Failure:
    """Stands for the result of an answer that gave none: one sentence on what happened."""

    error: str


class Difference(NamedTuple):
    """The first entry that differs: its place (keys and indices from the outside in), and the two values."""

    place: tuple[Any, ...]
    ours: Any
    expected: Any


MISSING = Failure("nothing: this entry is missing")
UNEXPECTED = Failure("no such entry")


def difference(a: Any, b: Any, tolerance: float, slack: float = 1e-9, place: tuple[Any, ...] = ()) -> Difference | None:
    """Where `a` first differs from the expected `b`; None where they are equal, whatever type `a` has."""
    try:
        if isinstance(b, Mapping):
            return _in_mapping(a, b, tolerance, slack, place)
        if isinstance(b, str):
            return None if isinstance(a, str) and a.strip().lower() == b.strip().lower() else Difference(place, a, b)
        if isinstance(b, Failure):  # the same error, in whatever line
            alike = isinstance(a, Failure) and a.error.split(" at “")[0] == b.error.split(" at “")[0]
            return None if alike else Difference(place, a, b)
        if b is None:
            return None if a is None else Difference(place, a, b)
        if isinstance(b, list | tuple) and as_array(b) is None:
            if isinstance(a, str | Mapping) or len(a) != len(b):
                return Difference(place, a, b)
            found = (difference(x, y, tolerance, slack, (*place, k)) for k, (x, y) in enumerate(zip(a, b)))
            return next(filter(None, found), None)
        return _in_numbers(a, b, tolerance, slack, place)
    except Exception:  # an answer of a foreign type: unequal, whatever its comparison does
        return Difference(place, a, b)


def same(a: Any, b: Any, tolerance: float, slack: float = 1e-9) -> bool:
    """Whether two results are equal: numbers up to a relative tolerance or an absolute slack."""
    return difference(a, b, tolerance, slack) is None


def _in_mapping(a: Any, b: Mapping, tolerance: float, slack: float, place: tuple) -> Difference | None:
    if not isinstance(a, Mapping):
        return Difference(place, a, b)
    for key in [*b, *(key for key in a if key not in b)]:
        ours, expected = a.get(key, MISSING), b.get(key, UNEXPECTED)
        given = expected if ours is MISSING else ours
        if MISSING is ours or expected is UNEXPECTED:
            numbers = as_array(given)
            if numbers is None or not np.allclose(numbers, 0, atol=slack):
                return Difference((*place, key), ours, expected)
        elif found := difference(ours, expected, tolerance, slack, (*place, key)):
            return found
    return None


def _in_numbers(a: Any, b: Any, tolerance: float, slack: float, place: tuple) -> Difference | None:
    x, y = array_of(a), array_of(b).astype(float)
    if x.size == y.size == 0:
        return None
    if x.dtype.kind not in "biuf" or x.shape != y.shape:
        return Difference(place, a, b)
    off = _off(x, y, tolerance, slack)
    if not off.any():
        return None
    where = tuple(int(k) for k in np.argwhere(off)[0])
    return Difference((*place, *where), x[where], y[where])


def _off(x: np.ndarray, y: np.ndarray, tolerance: float, slack: float) -> np.ndarray:
    """Where two arrays of one shape differ; single precision counts as far as its digits go."""
    if x.dtype in (np.float32, np.float16):
        tolerance = max(tolerance, FLOAT32)
        slack = max(slack, FLOAT32 * float(np.max(np.abs(y[np.isfinite(y)]), initial=0)))
    return ~np.isclose(x.astype(float), y, rtol=tolerance, atol=slack, equal_nan=True)


def show_value(value: Any, digits: int = 6) -> str:
    """A short text for a value in a message; never fails."""
    if isinstance(value, Failure):
        return value.error
    try:
        if isinstance(value, Node | NodeGraph):
            return _circuit_text(value if isinstance(value, NodeGraph) else NodeGraph(value))
        if isinstance(value, np.random.Generator):
            return "a generator"
        if (numbers := as_array(value)) is not None and numbers.ndim:
            return np.array2string(numbers, precision=4, separator=", ", threshold=40)
        text = f"{value:.{digits}g}" if isinstance(value, float | np.floating) else repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "…"


def _circuit_text(circuit: NodeGraph) -> str:
    """One line per node, children first: what a student needs to draw the circuit and to work the case by hand."""
    called = {n: n.name or f"n{k}" for k, n in enumerate(circuit.nodes)}
    lines = []
    for n in circuit.nodes:
        if isinstance(n, Input):
            value = f"input on X{n.variable}, {show_value(n.probabilities)}"
        elif isinstance(n, Product):
            value = " × ".join(called[c] for c in n.children)
        else:
            value = " + ".join(f"{weight:.4g} {called[c]}" for weight, c in zip(n.weights, n.children))
        lines.append(f"\n  {called[n]} = {value}")
    return "".join(lines)


def show_apart(a: Any, b: Any) -> tuple[str, str]:
    """Both values, with as many digits as tell them apart."""
    for digits in (6, 12, 17):
        texts = show_value(a, digits), show_value(b, digits)
        if texts[0] != texts[1]:
            break
    return texts


RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the sign is the wrong way round": lambda y: -y,
    "yours and the expected number add up to 1: this is the probability of the opposite": lambda y: 1 - y,
    "this is the logarithm of what is asked for": np.log,
    "this is the exponential of what is asked for": np.exp,
    "this is the square of what is asked for": np.square,
    "this is the root of what is asked for": np.sqrt,
    "this is one over what is asked for": lambda y: 1 / y,
    "the magnitude is right, the sign is lost": np.abs,
}


def rule_between(ours: Sequence[Any], expected: Sequence[Any], parts: Collection[tuple] = ()) -> str | None:
    """The sentence on how wrong results follow from the expected ones, over all cases; None where no rule fits.

    Args:
        parts: places in the results that are off; when it is one place in all, the rule may be one of that part.
    """
    rule = _rule_between(ours, expected)
    if rule or len(parts) != 1 or not all(isinstance(each, list | tuple) for each in [*ours, *expected]):
        return rule
    (part,) = parts
    return _rule_between([each[part[0]] for each in ours], [each[part[0]] for each in expected]) if part else None


def _rule_between(ours: Sequence[Any], expected: Sequence[Any]) -> str | None:
    try:
        pairs = [(array_of(x).astype(float), array_of(y).astype(float)) for x, y in zip(ours, expected)]
        if any(x.shape != y.shape for x, y in pairs):
            return None
        a, b = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    except Exception:
        return None
    with np.errstate(all="ignore"):
        for sentence, rule in RULES.items():
            if np.allclose(a, rule(b), rtol=1e-5, atol=1e-9):
                return sentence
        if len(a) > 1:
            return _right_up_to(pairs, a, b)
    return None


def _right_up_to(pairs: Sequence[tuple[np.ndarray, np.ndarray]], a: np.ndarray, b: np.ndarray) -> str | None:
    factor, gap = a / b, a - b
    if np.isfinite(factor).all() and factor[0] and np.allclose(factor, factor[0], rtol=1e-5):
        return f"every number is {factor[0]:.4g} times what it should be: a factor is missing or too much"
    if np.isfinite(gap).all() and np.allclose(gap, gap[0], rtol=1e-5):
        return f"every number is off by the same {gap[0]:.4g}: something constant is added or forgotten"
    several = [(x.ravel(), y.ravel()) for x, y in pairs if x.size > 1]
    if len(several) == len(pairs):
        if all(np.allclose(x * y.sum(), y * x.sum(), rtol=1e-5, atol=1e-9) and x.any() for x, y in several):
            return "right up to a factor in each case: something to divide by, such as a sum, is missing or another one"
        if all(np.allclose(x - x[0], y - y[0], rtol=1e-5, atol=1e-9) for x, y in several):
            return "right up to a number added in each case: what is constant within a case is missing or too much"
        if all(np.allclose(np.sort(x), np.sort(y), rtol=1e-5, atol=1e-9) for x, y in several):
            return "the right numbers in the wrong order: compare the axes, and which value belongs where"
    return None


def located(
    ours: Sequence[Any], expected: Sequence[Any], arguments: Mapping[str, Sequence[Any]], tolerance: float, slack: float
) -> str | None:
    """The sentence on an argument that has the same value wherever a result is off; None where there is none.

    Args:
        ours, expected: the results of the wrong cases.
        arguments: name -> its value in each of these cases. It tells where when its axes are the first of a result's.
    """
    try:
        off = [_off(array_of(x), array_of(y).astype(float), tolerance, slack) for x, y in zip(ours, expected)]
    except Exception:  # no numbers, or of another shape
        return None
    for name, values in arguments.items():
        if all(isinstance(v, np.ndarray) and v.size and v.shape == o.shape[: v.ndim] for v, o in zip(values, off)):
            at = np.concatenate([o.reshape(v.size, -1).any(1) for v, o in zip(values, off)])
            flat = np.concatenate([np.ravel(v) for v in values])
            told = np.unique(flat[at])
            if len(told) == 1 and (flat != told[0]).any() and (flat.dtype == bool or at.sum() >= TELLING):
                return f"every number that is off stands where {name} is {told[0]}; the others are right"
    return None


def array_of(value: Any) -> np.ndarray:
    """The value as an array; a tensor that carries a gradient counts by its numbers."""
    if isinstance(value, list | tuple) and any(isinstance(each, torch.Tensor) for each in value):
        return np.asarray([array_of(each) for each in value])
    array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
    return np.asarray(array.tolist()) if array.dtype == object else array


def as_array(value: Any) -> np.ndarray | None:
    """Numbers and truth values as an array; None for anything else."""
    try:
        array = array_of(value)
    except Exception:
        return None
    return array if array.dtype.kind in "biuf" else None


def form_hint(ours: Any, expected: Any, found: Difference) -> str | None:
    """What is wrong with the form of a result: none at all, another type, another shape, an entry too few."""
    if isinstance(ours, Failure):
        return "read the line above from its end" if "raised" in ours.error else ours.error
    if ours is None or ours is ...:
        return "a branch of your function returns nothing"
    x, y = as_array(ours), as_array(expected)
    if x is not None and y is not None and x.shape != y.shape:
        return f"the shape is {x.shape}, expected {y.shape}"
    if isinstance(found.ours, Failure) or isinstance(found.expected, Failure):
        return f"compare the entries: {', '.join(map(str, found.place))} is in one of the two only"
    if x is None and y is not None and isinstance(ours, list | tuple) and all(as_array(e) is not None for e in ours):
        return f"its parts have the shapes {', '.join(str(np.shape(e)) for e in ours)}, expected {y.shape[1:]} for each"
    if isinstance(found.ours, float | np.floating) and np.isnan(found.ours):
        return NAN
    if (x is None) != (y is None):
        return f"the answer is a {type(ours).__name__}, expected a {type(expected).__name__}"
    return None
