"""What the studies share: their options, and how they write a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.table import Table


def parser(name: str, about: str | None, out: str, worlds: str = "faces, rooms") -> argparse.ArgumentParser:
    """The options of every study.

    Args:
        name: of the module in studies/.
        about: its docstring, whose first line the help shows.
        out: the file or folder it writes.
        worlds: those that it can do; "" for a study of one.
    """
    found = argparse.ArgumentParser(
        prog=f"python -m studies.{name}",
        description=(about or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    if worlds:
        found.add_argument("--worlds", default="faces", metavar="A,B", help=f"of {worlds}")
    found.add_argument("--seed", type=int, default=0, help="of samples, noise and training")
    found.add_argument("--threads", type=int, default=1, help="of the processor")
    found.add_argument("--out", type=Path, default=Path(out), help="what is written")
    return found


def below_the_command(about: str | None) -> str:
    """A study's docstring without its first line and the command that follows."""
    return (about or "").split("\n\n", 2)[-1].strip() + "\n\n"


def write_page(path: Path, tables: Sequence[Table], heading: str = "") -> None:
    """Print the tables and write them as Markdown, below a heading."""
    text = heading + "\n".join(table.markdown() for table in tables)
    print(text)
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def run(study: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Run a study; a wrong option ends it with one line and exit code 1."""
    torch.set_num_threads(options.threads)
    try:
        study(options)
    except TiramisuError as error:
        sys.exit(str(error))
