"""Options of samplers and guides as `tiramisu-edu tune` found them, read from their JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import FileError

Options = dict[str, Any]


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
        options = {name: dict(entry["options"]) for name, entry in found.items()}
        return {
            name: chosen | chosen.pop("settings", {}) for name, chosen in options.items()
        }  # "settings": older files
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            f"{path} does not hold tuned options: {error!r}; make it again with tiramisu-edu tune"
        ) from None


def _flat(options: Options) -> Options:
    """Keyword arguments; some files keep a part of them under "settings"."""
    return {key: value for key, value in options.items() if key != "settings"} | options.get("settings", {})
