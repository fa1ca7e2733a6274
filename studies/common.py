"""What the studies share: their options, and how they write a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import write_text
from tiramisu_edu.lab.commands import evaluate
from tiramisu_edu.lab.commands.options import add_options, read_options
from tiramisu_edu.lab.evaluation.cells import CellResult
from tiramisu_edu.lab.evaluation.report import planned_cells
from tiramisu_edu.lab.evaluation.runner import run_cells
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import worlds_of
from tiramisu_edu.world import World


def parser(name: str, about: str | None, out: str, worlds: str = "faces, rooms") -> argparse.ArgumentParser:
    """The options of every study.

    Args:
        name: of the module in studies/.
        about: its docstring, whose first line the help shows.
        out: the file or folder it writes.
        worlds: those that it can do; "" for a study of one.
    """
    found = _described(name, about)
    if worlds:
        found.add_argument("--worlds", default="faces", metavar="A,B", help=f"of {worlds}")
    found.add_argument("--seed", type=int, default=0, help="of samples, noise and training")
    found.add_argument("--threads", type=int, default=1, help="of the processor")
    found.add_argument("--out", type=Path, default=Path(out), help="what is written")
    return found


def _described(name: str, about: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"python -m studies.{name}",
        description=(about or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def below_the_command(about: str | None) -> str:
    """A study's docstring without its first line and the command that follows."""
    return (about or "").split("\n\n", 2)[-1].strip() + "\n\n"


def write_page(path: Path, tables: Sequence[Table], heading: str = "") -> None:
    """Print the tables and write them as Markdown, below a heading."""
    text = heading + "\n".join(table.markdown() for table in tables)
    print(text)
    write_text(path, text)


def run(
    study: Callable[[Any], None], options: argparse.Namespace, read: Callable[[argparse.Namespace], Any] = lambda x: x
) -> None:
    """Run a study of what is read from its options; a wrong one ends it with one line and exit code 1."""
    try:
        asked = read(options)
        torch.set_num_threads(asked.threads or torch.get_num_threads())
        study(asked)
    except TiramisuError as error:
        sys.exit(str(error))


def with_options(kind: type, study: Callable[[Any], None], name: str, about: str | None, arguments: Any) -> None:
    """Run a study whose options are those of a command, a dataclass; else as `run`."""
    found = _described(name, about)
    add_options(found, kind)
    run(study, found.parse_args(arguments), partial(read_options, kind))


def of_cells(
    study: Callable[[evaluate.Options, list[CellResult], Mapping[str, World]], None],
    name: str,
    about: str | None,
    arguments: Sequence[str] | None,
) -> None:
    """Run a study of an evaluation's cells, with the options of `tiramisu-edu evaluate`; missing cells are run.

    Args:
        study: takes the options, the cells and their worlds.
        name, about: as in `parser`.
        arguments: of the command line.
    """

    def read_and_study(options: evaluate.Options) -> None:
        shared = {"device": options.device, "workers": options.workers}
        done = run_cells(planned_cells(options), options.out / "cells", **shared)  # type: ignore[arg-type]
        study(options, done, worlds_of(options, options.worlds))

    with_options(evaluate.Options, read_and_study, name, about, arguments)
