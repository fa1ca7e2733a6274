"""`tiramisu-edu evaluate` on the ranks of a real torchrun: the same table, and no cell made twice."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from tiramisu_edu.lab.cli import main

FLAGS = ["evaluate", "--masks", "left,top", "--methods", "ddim,ddim+difference", "--steps", "2", "--images", "2"]
FLAGS += ["--seeds", "1", "--measure", "mse"]

# What each rank runs: the command itself, with a note in a file of the rank's own of every cell that it makes.
NOTING = """
import os, sys
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.evaluation import runner

run_cell = runner.run_cell

def noted(world, cell, *rest):
    with open(f"{sys.argv[1]}.{os.environ['RANK']}", "a") as file:
        print(cell.name, file=file)
    return run_cell(world, cell, *rest)

runner.run_cell = noted
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's store needs libuv, which PyTorch on Windows lacks")
def test_two_ranks_make_the_table_of_one_process(tmp_path):
    script, made = tmp_path / "noting.py", tmp_path / "made"
    script.write_text(NOTING)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(script), str(made), *FLAGS, "--out", str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr

    assert main([*FLAGS, "--out", str(tmp_path / "one")]) == 0
    csv = [(tmp_path / run / "per_image.csv").read_text() for run in ("one", "two")]
    assert csv[0] == csv[1] and len(csv[0].splitlines()) == 1 + 8 * 2  # two methods and two sanity rows
    tables = [_without_times((tmp_path / run / "table.md").read_text()) for run in ("one", "two")]
    assert tables[0] == tables[1]

    shares = [(tmp_path / f"made.{rank}").read_text().split() for rank in range(2)]
    assert [len(share) for share in shares] == [4, 4]
    kept = {path.name for path in (tmp_path / "one" / "cells").iterdir()}
    assert Counter(shares[0] + shares[1]) == Counter(kept)
    assert kept == {path.name for path in (tmp_path / "two" / "cells").iterdir()}
    assert done.stdout.count("Steered against its base") == 1  # the first rank alone reports


def _without_times(table):
    """The tables below the facts about the run, less the columns of seconds and the table of budgets in time."""
    in_time = r"\*\*Best of all within a budget of time[^*]*\*\*\n\n(\|.*\n)*"
    tables = re.sub(in_time, "", table.split("```")[2])
    return [re.sub(r"[\d.]+ \| ([\d.]+%|–) \|$", "", line) for line in tables.splitlines()]
