"""Shrinking: a case that shows a wrong answer wrong is made smaller, step by step, while it still does.

Every step takes something away (an entry along an axis, a pixel, a child, a node) or puts a simpler number in place. A
step is kept when the case stays fair, the solution still gives a result, and the wrong answer another one. What is left
is the smallest case on which that mistake shows, to be worked by hand.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum, children_before_parents
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.errors import StructureError

TRIES = 150  # of one case
SIMPLE = {2: (0.5, 0.5), 3: (0.5, 0.25, 0.25), 4: (0.25,) * 4}  # distributions to work with by hand

Rebuilt = Callable[[Node, list[Node]], Node | None]
"""From a node and its new children to the new node; None where nothing is left."""


def shrink(arguments: tuple, fails: Callable[[tuple], bool], size: Callable[[tuple], Any]) -> tuple:
    """The smallest case that greedy steps reach from `arguments`; `fails` says whether it still shows the mistake.

    Args:
        size: how much there is to read in a case; every step makes it less.
    """
    tries = 0
    at = arguments
    while True:
        for smaller in _steps(at):
            if tries >= TRIES:
                return at
            if size(smaller) < size(at):
                tries += 1
                if fails(smaller):
                    at = smaller
                    break
        else:
            return at


def _steps(arguments: tuple) -> Iterator[tuple]:
    """Cases that are one step simpler, the longest steps first; not all of them are fair."""
    circuit = next((a for a in arguments if isinstance(a, ReferenceCircuit | Node)), None)
    if circuit is None:
        for length in sorted({n for a in arguments for n in _shape(a)}, reverse=True):
            for k in range(length if length > 1 else 0):
                yield tuple(_without(a, length, k) for a in arguments)
    else:
        yield from _smaller_circuits(arguments, circuit)
    for place, argument in enumerate(arguments):
        for simpler in _simpler(argument):
            yield (*arguments[:place], simpler, *arguments[place + 1 :])


def _shape(value: Any) -> tuple[int, ...]:
    """Lengths of an array, of a list along its first axes, or of what a mapping holds."""
    if isinstance(value, dict):
        return tuple(n for each in value.values() for n in _shape(each))
    if isinstance(value, np.ndarray):
        return value.shape
    if isinstance(value, list | tuple) and value:
        return (len(value), *(_shape(value[0]) if len({_shape(each) for each in value}) == 1 else ()))
    return ()


def _without(value: Any, length: int, k: int) -> Any:
    """The value without entry k along every axis of that length; distributions are distributions again."""
    if isinstance(value, np.ndarray):
        for axis in reversed([axis for axis, n in enumerate(value.shape) if n == length]):
            less = np.delete(value, k, axis)
            over = [axis for axis in (None, -1) if _is_distribution(value, axis) and (less.sum(axis) > 0).all()]
            value = less / less.sum(over[0], keepdims=True) if over else less
        return value
    if isinstance(value, dict):
        return {name: _without(each, length, k) for name, each in value.items()}
    if isinstance(value, list | tuple):
        kept = [each for j, each in enumerate(value) if len(value) != length or j != k]
        return type(value)(_without(each, length, k) for each in kept)
    return value


def _is_distribution(value: np.ndarray, over: int | None = -1) -> bool:
    """Whether the numbers, of all or along an axis, are probabilities that add up to one."""
    positive = value.ndim > 0 and value.dtype.kind == "f" and bool((value >= 0).all())
    return positive and bool((abs(value.sum(over) - 1) < 1e-6).all())


def _smaller_circuits(arguments: tuple, circuit: ReferenceCircuit | Node) -> Iterator[tuple]:
    """Without a pixel; without a child; simpler tables and weights. Rows that belong to a lost pixel go with it."""
    root = circuit.root if isinstance(circuit, ReferenceCircuit) else circuit
    nodes = children_before_parents(root)
    D = 1 + max(n.variable for n in nodes if isinstance(n, Input))

    def put(new: Node | None, others: Callable[[Any], Any] = lambda a: a) -> Iterator[tuple]:
        with contextlib.suppress(StructureError):
            if new is not None:
                made = ReferenceCircuit(new) if isinstance(circuit, ReferenceCircuit) else new
                yield tuple(made if a is circuit else others(a) for a in arguments)

    for i in range(D if D > 1 else 0):
        yield from put(_rebuilt(root, _pixel_dropped(i)), partial(_other_without, D=D, i=i))
    for n in nodes:
        for k in range(len(n.children) if isinstance(n, Sum) and len(n.children) > 1 else 0):
            yield from put(_rebuilt(root, _child_dropped(n, k)))
    for n in nodes:
        if not isinstance(n, Product):
            for row in _simpler(np.asarray(n.probabilities if isinstance(n, Input) else n.weights)):
                yield from put(_rebuilt(root, _row_replaced(n, row)))


def _rebuilt(root: Node, change: Rebuilt) -> Node | None:
    new: dict[Node, Node | None] = {}
    for n in children_before_parents(root):
        below = [] if isinstance(n, Input) else [new[c] for c in n.children if new[c] is not None]
        if isinstance(n, Input) or below:
            new[n] = change(n, below)  # type: ignore[arg-type]
        else:
            new[n] = None
    return new[root]


def _same(n: Node, below: list[Node]) -> Node:
    """The node over its new children; a product of one child is that child, and so is a sum."""
    if isinstance(n, Input):
        return n
    if len(below) == 1:
        return below[0]
    return Product(below) if isinstance(n, Product) else Sum(below, n.weights)


def _pixel_dropped(i: int) -> Rebuilt:
    def change(n: Node, below: list[Node]) -> Node | None:
        if isinstance(n, Input):
            return None if n.variable == i else Input(n.variable - (n.variable > i), n.probabilities)
        return _same(n, below)

    return change


def _child_dropped(at: Node, k: int) -> Rebuilt:
    def change(n: Node, below: list[Node]) -> Node:
        if n is not at or not isinstance(n, Sum):
            return _same(n, below)
        kept = [c for j, c in enumerate(below) if j != k]
        weights = np.delete(np.asarray(n.weights), k)
        even = np.full(len(kept), 1 / len(kept))
        return kept[0] if len(kept) == 1 else Sum(kept, weights / weights.sum() if weights.sum() > 0 else even)

    return change


def _row_replaced(at: Node, row: np.ndarray) -> Rebuilt:
    def change(n: Node, below: list[Node]) -> Node:
        if n is not at:
            return _same(n, below)
        return Input(n.variable, row) if isinstance(n, Input) else Sum(below, row)

    return change


def _other_without(value: Any, D: int, i: int) -> Any:
    """What stands beside a circuit without its pixel i: a row of a list or array less, an index moved."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value - 1 if i < value < D else value
    if isinstance(value, list) and value and isinstance(value[0], list) and len(value[0]) == D:
        return [_other_without(row, D, i) for row in value]
    if isinstance(value, list | np.ndarray) and len(value) == D:
        return [*value[:i], *value[i + 1 :]] if isinstance(value, list) else np.delete(value, i, 0)
    return value


def _simpler(value: Any) -> Iterator[Any]:
    """The value with simpler numbers: distributions row by row, everything else number by number."""
    if isinstance(value, np.ndarray) and _is_distribution(value):
        simple = set(itertools.permutations(SIMPLE[value.shape[-1]])) if value.shape[-1] in SIMPLE else ()
        for place, row in itertools.product(np.ndindex(value.shape[:-1]), sorted(simple)):
            less = value.copy()
            less[place] = row
            yield less
    elif isinstance(value, np.ndarray) and value.dtype.kind in "if":
        yield value.round(1) + 0.0 if value.dtype.kind == "f" else np.minimum(value, 1)
        for place in itertools.islice(np.ndindex(value.shape), 40):
            for number in _simpler_numbers(value[place].item()):
                less = value.copy()
                less[place] = number
                yield less
    elif isinstance(value, dict):
        for name, each in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: less} for less in _simpler(each))
    elif isinstance(value, list | tuple):
        if isinstance(value[0] if value else None, list | tuple):  # rows that may be fewer
            yield from (type(value)([*value[:k], *value[k + 1 :]]) for k in range(len(value)))
        for k, each in enumerate(value):
            yield from (type(value)([*value[:k], less, *value[k + 1 :]]) for less in _simpler(each))
    elif isinstance(value, int | float):
        yield from _simpler_numbers(value)


def _simpler_numbers(number: int | float) -> Sequence[int | float]:
    if isinstance(number, bool) or not np.isfinite(number) or number in (0, 1):
        return ()
    return (0, 1, number - 1) if isinstance(number, int) else (0.0, 1.0, -1.0, 0.5, round(number, 1) + 0.0)
