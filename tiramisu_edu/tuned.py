"""Options of samplers and guides as `tiramisu-edu tune` found them, read from their JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from .files import reading

Options = dict[str, Any]


class Tuned(NamedTuple):
    """Keyword arguments as tuned, and part -> SHA-256 of the files they were tuned with."""

    options: Options
    made_from: dict[str, str]


def load_tuned(path: str | Path) -> dict[str, Tuned]:
    """Name of a sampler or guide -> what was tuned; empty where there is no file.

    Raises:
        FileError: the file is not what `tiramisu-edu tune` writes.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    with reading(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: Tuned(_flat(dict(e["options"])), dict(e.get("made_from", {}))) for name, e in found.items()}


def _flat(options: Options) -> Options:
    """Keyword arguments; some files keep a part of them under "settings"."""
    return options | dict(options.pop("settings", {}))
