"""Options of samplers and guides as `tiramisu-edu tune` found them, read from their JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .diffusion import samplers as s
from .errors import FileError

Options = dict[str, Any]

SETTINGS = {
    "repaint": s.RePaintSettings,
    "ddrm": s.DDRMSettings,
    "dps": s.DPSSettings,
    "resampling": s.ResamplingSettings,
    "copaint": s.CoPaintSettings,
    "copaint-tt": s.CoPaintTTSettings,
}


def as_options(name: str, candidate: Mapping[str, Any]) -> Options:
    """The keyword arguments of a sampler or guide from their JSON form, in which some stand under "settings"."""
    options = dict(candidate)
    settings = options.pop("settings", {})
    return {**options, "settings": SETTINGS[name](**settings)} if name in SETTINGS and settings else options | settings


def load_tuned(path: str | Path) -> dict[str, Options]:
    """Name of a sampler or guide -> keyword arguments, as tuned; empty where there is no file.

    Raises:
        FileError: the file is not what `tiramisu-edu tune` writes.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: as_options(name, entry["options"]) for name, entry in found.items()}
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            f"{path} does not hold tuned options: {error!r}; make it again with tiramisu-edu tune"
        ) from None
