"""A command's options as the fields of one dataclass: the parser, the help and the values are made from it.

A field without a default is an argument by place. A list is written with commas between its parts. Every number has
bounds, by the name of its option.
"""

import argparse
import re
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from ...errors import TiramisuError

WORDS = {int: "whole numbers", float: "numbers"}
NUMBER = {int: r"[+-]?\d+", float: r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?"}
BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),  # seeds of single images are multiples of it, and must stay below 2^63
    "seeds": (1, 1000),
    "threads": (0, 1024),
    "workers": (1, 1024),
    "steps": (1, 1000),
    "num_inference_steps": (1, 1000),
    "images": (1, 10_000),
    "minutes": (0, 100_000),
    "num_latents": (1, 65_536),
    "patch": (1, 256),
    "batch": (1, 10_000),
    "pairs": (1, 1000),
    "size": (8, 1024),
    "eta": (0, 1),
    "guided_fraction": (0, 1),
    "coherence": (0, 1),
    "temperature": (0.001, 1000),
}
OWN = ("writes", "may_be_empty", "at_most")  # keys of a field's metadata that are not argparse's


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `TiramisuError`s, printed like all others."""

    def error(self, message: str) -> NoReturn:
        raise TiramisuError(f"{message} ({self.prog} --help lists all options)")


def option(default: Any = MISSING, help: str = "", **more: Any) -> Any:
    """A field of a dataclass of options.

    Args:
        default: its value where it is not given.
        help: for the parser.
        more: choices, metavar and nargs of argparse; writes = "picture", "file" or "folder", for a path of the
            results; may_be_empty, for a list; at_most, for a number that may be larger than elsewhere.
    """
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """What every command about worlds takes; `zoo.worlds_of` reads it."""

    size: int | None = option(None, "of a folder's pictures: 32, 64, 128, ...; None: 64")
    models: Path | None = option(None, "folder of a folder's models; None: PATH-models-SIZE beside it", metavar="DIR")
    device: str = option("cpu", "cpu, cuda, cuda:1, mps")
    threads: int = option(1, "of the processor; 0: as PyTorch chooses")


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Give a parser the options of a dataclass; their texts are read by `read_options`."""
    for f, element, _ in _typed(kind):
        more = {key: value for key, value in f.metadata.items() if key not in OWN}
        default = ",".join(map(str, f.default)) if isinstance(f.default, tuple) else f.default
        if f.default is MISSING:
            parser.add_argument(f.name, **more)
        elif element is bool:
            parser.add_argument(_flag(f), action="store_true", **more)
        else:
            parser.add_argument(_flag(f), default=default, **more)


def read_options(kind: type, found: argparse.Namespace) -> Any:
    """The dataclass with the values that were given.

    Raises:
        TiramisuError: for an empty list, no number where one is due, or a number that is out of bounds.
    """
    values = {}
    for f, element, is_list in _typed(kind):
        value = getattr(found, f.name)
        if is_list and value is not None:
            parts = value if isinstance(value, list) else [part.strip() for part in value.split(",") if part.strip()]
            value = tuple(dict.fromkeys(_parsed(f, element, part) for part in parts))
            if not value and not f.metadata.get("may_be_empty"):
                raise TiramisuError(f"{_flag(f)} is an empty list: give at least one")
        elif isinstance(value, str):
            value = _parsed(f, element, value)
        values[f.name] = value
    return kind(**values)


def _parsed(f: Any, element: type, text: str) -> Any:
    """One value of a field from its text."""
    if element not in WORDS:
        if element is Path and not text:
            raise TiramisuError(f"{_flag(f)} needs a path, not an empty text")
        return element(text)
    if not re.fullmatch(NUMBER[element], text.strip(), re.ASCII | re.IGNORECASE):
        raise TiramisuError(f"{_flag(f)} takes {WORDS[element]}, not {text[:40]!r}")
    low, high = BOUNDS[f.name]
    high = f.metadata.get("at_most", high)
    if not low <= float(text) <= high:  # of any length, which int would refuse
        raise TiramisuError(f"{_flag(f)} must lie in [{low:,}, {high:,}], not {text[:40]}")
    return element(text)


def _flag(f: Any) -> str:
    return "--" + f.name.replace("_", "-")


def _typed(kind: type) -> list[tuple[Any, Any, bool]]:
    """Each field with its type, for a list the type of its parts, and whether it is a list."""
    typed = []
    for f, hint in zip(fields(kind), get_type_hints(kind).values()):
        element = next((each for each in get_args(hint) if NoneType in get_args(hint) and each is not NoneType), hint)
        is_list = get_origin(element) is tuple
        typed.append((f, get_args(element)[0] if is_list else element, is_list))
    return typed
