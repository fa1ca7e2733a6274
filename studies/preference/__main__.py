"""`python -m studies.preference page A B | report KEY VOTES…`: the study without a notebook."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from tiramisu_edu.errors import FileError, TiramisuError

from .results import report
from .study import QUESTION, Key, study_of_files, write_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two commands; 2 for anything asked wrongly."""
    parser = argparse.ArgumentParser(prog="python -m studies.preference")
    commands = parser.add_subparsers(dest="command", required=True)
    page = commands.add_parser("page", help="write the page for the voters, and the key for yourself")
    page.add_argument("a", type=Path, help="a folder of pictures, or a cell of `tiramisu-edu evaluate`")
    page.add_argument("b", type=Path, help="the other method's, with equal file names")
    page.add_argument("--names", nargs=2, metavar=("A", "B"), help="of the methods; default: those of the folders")
    page.add_argument("--question", default=QUESTION, help="put to every voter")
    page.add_argument("--pairs", type=int, metavar="N", help="how many, drawn at random; default: all")
    page.add_argument("--seed", type=int, help="of order, sides and choice; default: drawn, and kept in the key")
    page.add_argument("--out", type=Path, default=Path("study.html"), help="the page; the key goes beside it")
    count = commands.add_parser("report", help="decode and count the voters' files")
    count.add_argument("key", type=Path, help="the file that `page` wrote beside the page")
    count.add_argument("votes", type=Path, nargs="+", help="CSV files, one per voter")
    options = parser.parse_args(arguments)
    try:
        if options.command == "report":
            print(report(Key.load(options.key), options.votes))
            return 0
        names = tuple(options.names) if options.names else None
        seed = secrets.randbits(32) if options.seed is None else options.seed
        study = study_of_files(
            options.a, options.b, names, question=options.question, seed=seed, num_pairs=options.pairs
        )
        key = options.out.with_suffix(".key.json")
        if key.exists():  # a new key could not decode the votes on the old page
            raise FileError(f"{key} is the key of a study: choose another --out, or remove it with its page and votes")
        study.key.save(key)
        print(f"{len(study.key.pairs)} pairs\nfor the voters: {write_page(study, options.out)}\nfor you alone: {key}")
    except TiramisuError as error:
        print(f"preference: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
