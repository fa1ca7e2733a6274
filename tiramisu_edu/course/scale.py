"""One switch for every notebook: `TIRAMISU_SCALE` = toy | laptop | gpu | paper, toy when unset.

The cells and the assertions stay the same at every scale; sizes and tolerances come from the settings.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from ..errors import TiramisuError

SCALES = ("toy", "laptop", "gpu", "paper")


def scale(**settings: dict[str, Any]) -> SimpleNamespace:
    """The settings of the scale chosen by the environment, with its name as `.scale`.

    Args:
        settings: `toy` = {…} and, where they differ, `laptop`, `gpu` and `paper`. A scale that is
            not given, and a key that it does not give, is taken from the next smaller scale.

    >>> scale(toy={"draws": 100}, gpu={"draws": 10_000}).draws in (100, 10_000)
    True
    """
    chosen = os.environ.get("TIRAMISU_SCALE", "toy")
    unknown = {chosen, *settings} - set(SCALES)
    if unknown:
        raise TiramisuError(f"TIRAMISU_SCALE is one of {', '.join(SCALES)}, not {', '.join(sorted(unknown))}")
    merged: dict[str, Any] = {}
    for name in SCALES[: SCALES.index(chosen) + 1]:
        merged.update(settings.get(name, {}))
    return SimpleNamespace(scale=chosen, **merged)
