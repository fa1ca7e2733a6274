"""The command line: `tiramisu-edu inpaint | fuse | evaluate | tune | show | train | bench | doctor`.

Each command's file declares its options in `Options` and imports what it needs when it runs: torch alone takes a
second, and `--help` needs none of it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import TiramisuError
from . import doctor
from .commands import bench, evaluate, fuse, inpaint, show, train, tune
from .commands.options import add_options, read_options

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 0; 1 where `doctor` finds something missing; 2 for anything asked wrongly."""
    parser = argparse.ArgumentParser(
        prog="tiramisu-edu", description="Image inpainting by tractable steering of diffusion models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        style = argparse.ArgumentDefaultsHelpFormatter
        add_options(commands.add_parser(name, help=module.HELP, formatter_class=style), module.Options)
    found = parser.parse_args(arguments)
    command = COMMANDS[found.command]
    try:
        options = read_options(command.Options, found)
        if getattr(options, "threads", 0) > 0:
            importlib.import_module("torch").set_num_threads(options.threads)
        return command.run(options)
    except TiramisuError as error:
        print(f"tiramisu-edu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntiramisu-edu: interrupted; nothing half-written is left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
