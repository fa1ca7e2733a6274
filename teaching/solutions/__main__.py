"""Record the exercises for the package: `python -m teaching.solutions`, or `python -m teaching.solutions 3 5`."""

import argparse

from tiramisu_edu.course.exercises import record_path

from . import numbers, recorded

parser = argparse.ArgumentParser(prog="python -m teaching.solutions", description=__doc__)
parser.add_argument("notebooks", type=int, nargs="*", choices=numbers(), help="all of them when none is named")
for number in parser.parse_args().notebooks or numbers():
    record_path(number).write_text(recorded(number), encoding="utf-8")
    print(record_path(number))
