"""The tables of an evaluation, made again from its numbers per image; by another measure too, if you like.

The energy scores are in a file whose cells held the completions of two seeds or more; others have none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tiramisu_edu.lab.evaluation.measures import MEASURES
from tiramisu_edu.lab.evaluation.tables import of_numbers


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables as Markdown. What a method costs is not in the file."""
    parser = argparse.ArgumentParser(prog="python -m studies.tables", description=__doc__)
    kept = Path("docs/results/evaluation/table_rooms.csv.gz")
    parser.add_argument("file", nargs="?", type=Path, default=kept, help="per_image.csv of `tiramisu-edu evaluate`")
    parser.add_argument("--measure", choices=list(MEASURES), default="lpips", help="what the tables compare")
    options = parser.parse_args(arguments)
    frame = pd.read_csv(options.file)
    if frame.get(options.measure, pd.Series(dtype=float)).isna().all():
        parser.error(f"{options.file} has no number of {options.measure}")
    for table in of_numbers(frame, options.measure):
        print(table.markdown())


if __name__ == "__main__":
    main()
