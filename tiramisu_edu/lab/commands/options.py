"""A command's options as the fields of one dataclass: the parser, the help and the values are made from it.

A field without a default is an argument by place. A list is written with commas between its parts. The smallest
number that is allowed is a field's `minimum`.
"""

import argparse
from dataclasses import MISSING, field, fields
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ...errors import TiramisuError

WORDS = {int: "whole numbers", float: "numbers"}


def option(default: Any = MISSING, help: str = "", **more: Any) -> Any:
    """A field of a dataclass of options; `more`: choices, metavar and nargs of argparse, and `minimum`."""
    return field(default=default, metadata={"help": help, **more})


def add_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """Give a parser the options of a dataclass."""
    for f, element, is_list in _typed(kind):
        more = {key: value for key, value in f.metadata.items() if key != "minimum"}
        flag = "--" + f.name.replace("_", "-")
        default = ",".join(map(str, f.default)) if isinstance(f.default, tuple) else f.default
        if f.default is MISSING:
            parser.add_argument(f.name, **more)
        elif element is bool:
            parser.add_argument(flag, action="store_true", **more)
        else:
            parser.add_argument(flag, default=default, type=str if is_list and "nargs" not in more else element, **more)


def read_options(kind: type, found: argparse.Namespace) -> Any:
    """The dataclass with the values that were given.

    Raises:
        TiramisuError: for a list of other parts, or a number that is too small.
    """
    values = {}
    for f, element, is_list in _typed(kind):
        value, flag = getattr(found, f.name), "--" + f.name.replace("_", "-")
        if is_list and isinstance(value, str):
            try:
                value = tuple(dict.fromkeys(element(part.strip()) for part in value.split(",") if part.strip()))
            except ValueError:
                raise TiramisuError(f"{flag} takes {WORDS[element]} with commas between them, not {value!r}") from None
        for number in value if isinstance(value, tuple) else (value,):
            if "minimum" in f.metadata and number < f.metadata["minimum"]:
                raise TiramisuError(f"{flag} must be at least {f.metadata['minimum']}, not {number}")
        values[f.name] = value
    return kind(**values)


def _typed(kind: type) -> list[tuple[Any, Any, bool]]:
    """Each field with its type, for a list the type of its parts, and whether it is a list."""
    typed = []
    for f, hint in zip(fields(kind), get_type_hints(kind).values()):
        element = next((each for each in get_args(hint) if NoneType in get_args(hint) and each is not NoneType), hint)
        is_list = get_origin(element) is tuple
        typed.append((f, get_args(element)[0] if is_list else element, is_list))
    return typed
