"""The exercises of the notebooks, one module each: nb02 belongs to notebook 2, and so on.

The exercises of a notebook are recorded in a JSON file, which `python -m teaching.solutions` makes. Its module names
them, and adds what JSON cannot hold: views.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...circuits.nodes import Input, Node, Product, Sum
from ...circuits.reference import ReferenceCircuit
from ...errors import FileError
from ..checks import Exercise
from ..compare import Failure


def graph(rows: list[list]) -> Node:
    """The root of a circuit that is written as one row per node, children first.

    Args:
        rows: [variable, table] of an input, ["product", places of the children], ["sum", places, weights]. The nodes
            are named after their places.
    """
    nodes: list[Node] = []
    for place, (kind, *more) in enumerate(rows):
        if kind == "product":
            nodes.append(Product([nodes[k] for k in more[0]], name=f"n{place}"))
        elif kind == "sum":
            nodes.append(Sum([nodes[k] for k in more[0]], more[1], name=f"n{place}"))
        else:
            nodes.append(Input(kind, more[0], name=f"n{place}"))
    return nodes[-1]


RESTORED: dict[str, Callable] = {
    "array": np.array,
    "tuple": tuple,
    "failure": Failure,
    "map": dict,
    "rng": np.random.default_rng,
    "root": graph,
    "circuit": lambda rows: ReferenceCircuit(graph(rows)),
}


def record_path(number: int) -> Path:
    """The recorded exercises of notebook `number`."""
    return Path(__file__).with_name(f"nb{number:02d}.json")


def of_notebook(number: int) -> Callable[..., Exercise]:
    """From the name of an exercise of notebook `number`, and what JSON cannot hold of it, to the exercise."""
    path = record_path(number)
    found = json.loads(path.read_text(encoding="utf-8"), object_hook=restored) if path.exists() else {}
    unknown = {"task": "", "expected": {}, "mistakes": {}}
    return lambda name, **more: Exercise(**{"name": name, **found.get(name, unknown), **more})


def restored(found: dict[str, Any]) -> Any:
    """What JSON lacks stands there as {kind: content}; keys are text there."""
    if len(found) == 1 and (kind := next(iter(found))) in RESTORED:
        return RESTORED[kind](found[kind])
    return found


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by "module.name", for the tests and for the instructor's page."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        contents = vars(importlib.import_module(f"{__name__}.{module.name}"))
        found.update({f"{module.name}.{k}": v for k, v in contents.items() if isinstance(v, Exercise)})
    return found


def exercises_of(number: int) -> dict[str, Exercise]:
    """The exercises of notebook `number`, by the name of their check: `check_forward` and so on."""
    module = f"nb{number:02d}."
    return {name.removeprefix(module): e for name, e in all_exercises().items() if name.startswith(module)}


def progress(number: int) -> None:
    """Print which exercises of notebook `number` are solved, and what is missing of the others.

    Raises:
        FileError: no notebook of that number has exercises.
    """
    exercises = exercises_of(number)
    if not exercises:
        raise FileError(f"notebook {number} has no exercises; write progress(2), for example, for those of notebook 2")
    lines = []
    for exercise in exercises.values():
        solved = any(report.passed for report in exercise.reports[-1:])
        said = exercise.reports[-1].message.split("\n")[0] if exercise.reports else f"{exercise.name}: not tried yet"
        lines.append(f"[{'x' if solved else ' '}] {said}")
    print(f"{sum(line.startswith('[x]') for line in lines)} of {len(lines)} exercises solved", *lines, sep="\n")
