"""The command line: `tiramisu-edu inpaint | fuse | evaluate | tune | show | train | bench | doctor`.

Each command's file declares its options in `Options` and imports what it needs when it runs: torch alone takes a
second, and `--help` needs none of it.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import TiramisuError, unknown_name
from . import doctor
from .commands import bench, evaluate, fuse, inpaint, show, train, tune
from .commands.options import Parser, add_options, read_options

COMMANDS: dict[str, Any] = {
    "inpaint": inpaint,
    "fuse": fuse,
    "evaluate": evaluate,
    "tune": tune,
    "show": show,
    "train": train,
    "bench": bench,
    "doctor": doctor,
}


class Console:
    """A text stream that never stops the work: what nobody can read any more, or show, is left out.

    Attributes:
        failure: why nothing more can be written; None while all is well.
    """

    def __init__(self, stream: Any):
        self.stream = stream
        self.failure: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console of 256 letters has no minus sign

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, call: Any, *arguments: str) -> None:
        try:
            if self.failure is None:
                call(*arguments)
        except OSError as error:
            self.failure = error
            with contextlib.suppress(OSError, ValueError):  # what is left in the buffer is written at the exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 0; 1 where `doctor` finds something missing; 2 for anything that cannot be done."""
    # The process is its own: else a third of a short command goes into the search for cycles among torch's objects.
    if arguments is None:
        gc.set_threshold(10_000)
        atexit.register(gc.freeze)
    out, err = Console(sys.stdout), Console(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _short_warnings():
        try:
            code = _run(sys.argv[1:] if arguments is None else arguments)
            out.flush()
            if out.failure and not isinstance(out.failure, BrokenPipeError):
                raise out.failure
        except KeyboardInterrupt:
            print("\ntiramisu-edu: interrupted; nothing half-written is left behind", file=sys.stderr)
            return 130
        except Exception as error:
            if (explained := _explanation(error)) is None:
                raise
            print(f"tiramisu-edu: {explained}", file=sys.stderr)
            return 2
    return code


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Inside, a warning to users is one line, without the place in the code that gave it; any other has it."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda w, kind, *at: f"warning: {w}\n" if kind is UserWarning else before(w, kind, *at)
    try:
        yield
    finally:
        warnings.formatwarning = before


def _run(arguments: Sequence[str]) -> int:
    parser = Parser(prog="tiramisu-edu", description="Image inpainting by tractable steering of diffusion models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        style = argparse.ArgumentDefaultsHelpFormatter
        add_options(commands.add_parser(name, help=module.HELP, formatter_class=style), module.Options)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown_name("command", arguments[0], COMMANDS)
    found = parser.parse_args(arguments)
    command = COMMANDS[found.command]
    options = read_options(command.Options, found)
    if command is not doctor:
        importlib.import_module("tiramisu_edu.lab.common").check_outputs(options)
    if getattr(options, "threads", 0) > 0:
        importlib.import_module("torch").set_num_threads(options.threads)
    return command.run(options)


def _explanation(error: Exception) -> str | None:
    """One line for what the package or the machine refuses; None for what is a fault of the program."""
    text = " ".join(str(error).split())
    if isinstance(error, TiramisuError):
        return text
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "t allocate memory" in text:
        return "out of memory: ask for fewer images or a smaller scale, or take a machine with more"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file or the output'}: {error.strerror or text}"
    return f"a name or text cannot be written in this encoding: {text}" if isinstance(error, UnicodeError) else None


if __name__ == "__main__":
    sys.exit(main())
