"""Two results compared: where they first differ, how to show a value, and what simple rule leads from one to the other.

What counts as equal is generous in form and strict in number: lists, tuples, arrays and tensors with the same entries
are equal, entries of a mapping that are zero may be left out, and float32 is compared as far as its digits go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ..circuits.nodes import Input, Node, NodeGraph, Product

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
    x, y = _array(a), _array(b).astype(float)
    if x.dtype.kind not in "biuf" or x.shape != y.shape:
        return Difference(place, a, b)
    if x.dtype in (np.float32, np.float16):
        tolerance = max(tolerance, FLOAT32)
        slack = max(slack, FLOAT32 * float(np.max(np.abs(y[np.isfinite(y)]), initial=0)))
    off = ~np.isclose(x.astype(float), y, rtol=tolerance, atol=slack, equal_nan=True)
    if not off.any():
        return None
    where = tuple(int(k) for k in np.argwhere(off)[0])
    return Difference((*place, *where), x[where], y[where])


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


def rule_between(ours: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """The sentence on how wrong results follow from the expected ones, over all cases; None where no rule fits."""
    try:
        pairs = [(_array(x).astype(float), _array(y).astype(float)) for x, y in zip(ours, expected)]
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


def _array(value: Any) -> np.ndarray:
    """The value as an array; a tensor that carries a gradient counts by its numbers."""
    if isinstance(value, list | tuple) and any(isinstance(each, torch.Tensor) for each in value):
        return np.asarray([_array(each) for each in value])
    return np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)


def as_array(value: Any) -> np.ndarray | None:
    """Numbers and truth values as an array; None for anything else."""
    try:
        array = _array(value)
    except Exception:
        return None
    return array if array.dtype.kind in "biuf" else None
