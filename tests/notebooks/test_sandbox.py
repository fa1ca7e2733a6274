"""The process that runs students' code: what it may do, how it ends, and what comes back of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from teaching import sandbox
from teaching.sandbox import decoded, encoded
from teaching.verdict import found
from tiramisu_edu.course.compare import Failure
from tiramisu_edu.errors import FileError


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks
def test_an_answer_that_only_waits_is_stopped_too(monkeypatch):
    monkeypatch.setattr(sandbox, "WALL", 0.2)
    limits = {"workers": 2, "seconds": 1, "memory": 4}
    jobs = [sandbox.Job(who, [0], ["sleep"], "...") for who in range(3)]
    ends = list(sandbox.in_processes(jobs, lambda job: time.sleep(60 * job.who), limits))
    assert [(job.who, ended.why) for job, ended in ends] == [
        (0, ""),
        *((k, "stopped: does a loop never end?") for k in (1, 2)),
    ]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks
def test_what_the_process_itself_raises_is_said(monkeypatch):
    monkeypatch.setattr(sandbox, "_limit", lambda seconds, memory: 1 / 0)
    limits = {"workers": 1, "seconds": 1, "memory": 4}
    ((_, ended),) = sandbox.in_processes([sandbox.Job(0, [], [], "...")], lambda job: None, limits)
    assert "ZeroDivisionError" in ended.lines[0] and ended.why == "its process ended before it was done"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks
def test_files_outside_the_folder_of_an_answer_stay_as_they_are(tmp_path):
    """Whatever way leads to them; in its own folder an answer may do as it likes."""
    kept, here = tmp_path / "grades.csv", Path("own.txt")
    kept.write_text("14")
    tries = [
        lambda: kept.write_text("20"),
        lambda: os.open(kept, os.O_RDONLY | os.O_TRUNC),
        lambda: os.unlink(kept.name, dir_fd=os.open(tmp_path, os.O_RDONLY)),
        lambda: shutil.rmtree(tmp_path),
        lambda: here.rename(kept),
        lambda: (tmp_path / "link").symlink_to(here.resolve()),
        lambda: os.utime(kept),
        lambda: sqlite3.connect(tmp_path / "new"),
        lambda: sandbox.resource.setrlimit(sandbox.resource.RLIMIT_CPU, (99, 99)),
    ]

    def work(job):
        here.write_text("mine")
        with tempfile.TemporaryDirectory() as folder:
            here.rename(Path(folder) / "moved")
            Path(folder, "moved").replace(here)
        with pytest.raises(PermissionError, match="answers do not"):
            tries[job.who]()

    jobs = [sandbox.Job(who, [], [], "...") for who in range(len(tries))]
    ends = list(sandbox.in_processes(jobs, work, {"workers": 2, "seconds": 9, "memory": 4}))
    assert [(job.who, ended.why, ended.lines) for job, ended in ends if ended.why] == []
    assert [path.name for path in tmp_path.iterdir()] == ["grades.csv"] and kept.read_text() == "14"


def test_values_come_back_as_they_are():
    given = [1, 0.5, float("inf"), "a", None, True, ..., Failure("none"), [], ("a", (1, "b"))]
    given += [{(1, (2, 3)): "a", np.int64(2): {3, (1, 2)}, frozenset({(1,)}): {"b": frozenset({(0, 1)})}}]
    assert decoded(json.loads(json.dumps(encoded(given)))) == given
    array = decoded(encoded({"x": np.eye(2, dtype=np.float32)}))["x"]
    assert array.dtype == np.float32 and (array == np.eye(2)).all()
    assert decoded(encoded(object())) == Failure("a value of the type object")


@pytest.mark.parametrize("line", ['["flag", 5]', '["error"]', '["cell", "x"]', '["values"]', "[[]]", "x", '["other"]'])
def test_lines_that_a_process_made_up_are_no_answer(line):
    assert found([line], "", 1.0).why == "its process returned what is no value"
    assert sandbox._unfinished(sandbox.Ended([line, '["cell", '], "ended", 1.0)) == []


def test_the_course_own_error_ends_the_run(tmp_path, monkeypatch):
    request = tmp_path / "request.json"
    asked = {"number": 2, "cells": [["", ""], ["1 / 0", ""]], "exercises": {}, "submissions": []}
    request.write_text(json.dumps(asked))
    with pytest.raises(FileError, match=r"the course's own notebook stops with ZeroDivisionError.* at: 1 / 0"):
        sandbox.run(request, io.StringIO())
    InteractiveShell.clear_instance()
