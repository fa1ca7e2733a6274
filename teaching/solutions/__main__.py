"""`python -m teaching.solutions` records the exercises of every notebook for the package."""

import argparse

from tiramisu_edu.course.exercises import record_path

from . import numbers, recorded

argparse.ArgumentParser(prog="python -m teaching.solutions", description=__doc__).parse_args()
for number in numbers():
    record_path(number).write_text(recorded(number), encoding="utf-8")
    print(record_path(number))
