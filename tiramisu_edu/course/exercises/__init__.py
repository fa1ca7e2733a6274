"""The exercises of the notebooks, one module each: nb02 belongs to notebook 2, and so on."""

from __future__ import annotations

import importlib
import pkgutil

from ..checks import Exercise


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by "module.name", for the tests and for the instructor's page."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        contents = vars(importlib.import_module(f"{__name__}.{module.name}"))
        found.update({f"{module.name}.{k}": v for k, v in contents.items() if isinstance(v, Exercise)})
    return found
