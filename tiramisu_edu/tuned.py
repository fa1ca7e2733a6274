"""Options of samplers and guides as `tiramisu-edu tune` found them, read from their JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .files import reading

Options = dict[str, Any]


def load_tuned(path: str | Path) -> dict[str, Options]:
    """Name of a sampler or guide -> keyword arguments, as tuned; empty where there is no file.

    Raises:
        FileError: the file is not what `tiramisu-edu tune` writes.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    with reading(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: _flat(dict(entry["options"])) for name, entry in found.items()}


def _flat(options: Options) -> Options:
    """Keyword arguments; some files keep a part of them under "settings"."""
    return options | dict(options.pop("settings", {}))
