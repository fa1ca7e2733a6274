"""The exercises of the notebooks, one module each: nb02 belongs to notebook 2, and so on.

Beside each stands a file of what the solutions and the wrong answers give; `python -m solutions` makes it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..checks import Exercise, Failure, Outcomes


def outcomes_path(number: int) -> Path:
    """The file of outcomes of notebook `number`."""
    return Path(__file__).with_name(f"nb{number:02d}.json")


def of_notebook(number: int) -> Callable[..., Exercise]:
    """`Exercise` for notebook `number`: it finds the outcomes by the exercise's name."""
    path = outcomes_path(number)
    found = json.loads(path.read_text(encoding="utf-8"), object_hook=_restored) if path.exists() else {}
    return lambda name, task, **more: Exercise(name, task, Outcomes(**found.get(name, {})), **more)


def _restored(found: dict[str, Any]) -> Any:
    """JSON has no exceptions, and no numbers as keys."""
    if found.keys() == {"failure"}:
        return Failure(found["failure"])
    return {int(key) if key.isdigit() else key: value for key, value in found.items()}


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by "module.name", for the tests and for the instructor's page."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        contents = vars(importlib.import_module(f"{__name__}.{module.name}"))
        found.update({f"{module.name}.{k}": v for k, v in contents.items() if isinstance(v, Exercise)})
    return found
