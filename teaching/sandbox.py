"""The process in which students' code runs: `python teaching/sandbox.py request.json`, started by `teaching.grading`.

It runs the course's own notebook once. At each exercise it forks a process for every submission, which goes on from
there: so a class of thirty costs one run of the notebook, and what one student's code breaks, it breaks in a process of
its own. Standard output has a line of JSON for each submission and exercise.

Solutions are out of reach. `teaching` cannot be imported here, what the package has recorded of the answers is not
loaded, and a fence stops and reports code that opens either. The cases of a grader come in the request, without what is
right on them. The fence keeps out students, not burglars: it sees what Python opens, not what C code does.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import IO, Any, NamedTuple

if sys.platform != "win32":  # a fork is needed; `grading` says so
    import resource

import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tiramisu_edu.course import checks, exercises
from tiramisu_edu.course.checks import Exercise
from tiramisu_edu.course.compare import Failure, as_array
from tiramisu_edu.errors import FileError

WALL = 10  # an answer may take so many times its seconds of CPU time, since others keep the cores busy
RECORDS = Path(exercises.__file__).parent
TEACHING = Path(__file__).resolve().parent
OUT = 3  # the file that a forked process writes to
STOPPED = {"os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn", "os.system"}
STOPPED |= {"os.truncate", "pty.spawn", "resource.prlimit", "resource.setrlimit", "socket.bind", "socket.connect"}
STOPPED |= {"sqlite3.connect", "subprocess.Popen"}
WRITES = {"os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.utime"}
GROUPS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Job(NamedTuple):
    """A submission at an exercise: the numbers of its cells that are run before, their code, and what is the answer."""

    who: int
    cells: list[int]
    sources: list[str]
    answer: str


class Started(NamedTuple):
    """A process at work on a job: the file that it writes to, the folder that it may write to, and its deadline."""

    job: Job
    file: IO[bytes]
    folder: Path
    deadline: float


class Ended(NamedTuple):
    """How a job's process ended: what it wrote, why it ended early if it did, and its CPU time in seconds."""

    lines: list[str]
    why: str
    seconds: float


def run(request: Path, out: IO[str]) -> None:
    """Run the course's notebook, and the submissions at its exercises; the request is made by `grading`."""
    asked = json.loads(request.read_text(encoding="utf-8"), object_hook=exercises.restored)
    known = exercises.exercises_of(asked["number"])
    shell: Any = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None  # nobody reads them, and they take a second
    lost: set[tuple[int, int]] = set()  # (who, cell) that ended a process: not run again at later exercises
    for source, check in asked["cells"]:
        if check:
            exercise = replace(known[check], **asked["exercises"][check])
            again = set(range(len(asked["submissions"])))
            while jobs := [job for job in _jobs(asked["submissions"], check, lost) if job.who in again]:
                again.clear()
                for job, ended in in_processes(jobs, partial(_answer, shell, exercise), asked):
                    broken = [k for k in _unfinished(ended) if k in job.cells]
                    lost |= {(job.who, k) for k in broken}
                    if broken and broken != job.cells[-1:]:  # a cell before the answer's own: try without it
                        again.add(job.who)
                    else:
                        print(json.dumps([job.who, check, *ended]), file=out, flush=True)
        elif error := _error(shell.run_cell(source)):
            raise FileError(f"the course's own notebook stops with {error} at: {source.strip()[:80]}")


def _jobs(submissions: Sequence[Mapping[str, Any]], check: str, lost: set[tuple[int, int]]) -> list[Job]:
    jobs = []
    for who, given in enumerate(submissions):
        if check in given["answers"]:
            through, answer = given["answers"][check]
            cells = [k for k in range(through) if (who, k) not in lost]
            jobs.append(Job(who, cells, [given["cells"][k] for k in cells], answer))
    return jobs


def in_processes(jobs: list[Job], work: Callable[[Job], None], asked: Mapping[str, Any]) -> Iterator[tuple[Job, Ended]]:
    """Each job's end, as many at a time as there are workers."""
    running: dict[int, Started] = {}
    while jobs or running:
        while jobs and len(running) < asked["workers"]:
            running.update([_start(jobs.pop(0), work, asked)])
        time.sleep(0.01)
        for pid, started in list(running.items()):
            if late := time.monotonic() > started.deadline:
                os.kill(pid, signal.SIGKILL)
            done, status, usage = os.wait4(pid, 0 if late else os.WNOHANG)
            if done:
                yield started.job, _ended(running.pop(pid), status, usage, late)


def _start(job: Job, work: Callable[[Job], None], asked: Mapping[str, Any]) -> tuple[int, Started]:
    """Work on a job in a process of its own, which holds one file open for what it finds."""
    file = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115 - closed in `_ended`
    folder = Path(tempfile.mkdtemp()).resolve()
    pid = os.fork()
    if pid:
        return pid, Started(job, file, folder, time.monotonic() + WALL * asked["seconds"])
    try:
        os.dup2(file.fileno(), OUT)
        os.closerange(OUT + 1, 1024)
        os.chdir(folder)
        tempfile.tempdir = str(folder)
        _limit(asked["seconds"], asked["memory"])
        _fence(folder)
        work(job)
        _say("end")
    except Exception as error:  # of a limit that this system refuses, or of a result that cannot be written
        _say("error", -1, repr(error)[:200])
    finally:
        os._exit(0)  # whatever was raised: nothing of the parent's is run, and no last line says that the work is done


def _ended(started: Started, status: int, usage: Any, late: bool) -> Ended:
    """What the process has left; its file and folder are gone."""
    with started.file as file:
        file.seek(0)
        lines = file.read().decode("utf-8", "replace").splitlines()
    shutil.rmtree(started.folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    why = "" if lines and lines[-1] == '["end"]' else "its process ended before it was done"
    if code < 0:
        why = "stopped: does a loop never end?" if late or -code == signal.SIGXCPU else f"ended by signal {-code}"
    return Ended(lines, why, round(usage.ru_utime + usage.ru_stime, 3))


def _unfinished(ended: Ended) -> list[int]:
    """The cell that a process was in when it ended early, -1 after the last; empty before the first."""
    begun = [int(cell[1]) for line in ended.lines if (cell := re.fullmatch(r'\["cell", (-?\d+)\]', line))]
    return begun[-1:] if ended.why else []


def _limit(seconds: float, memory: float) -> None:
    """CPU time in seconds, and GiB of memory beyond what the notebook has taken; first to go where memory runs out."""
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20,) * 2)  # bytes of a file
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(memory * 2**30),) * 2)
        Path("/proc/self/oom_score_adj").write_text("1000")


def _fence(folder: Path) -> None:
    """Stop what no answer needs: solutions, processes, the network, files outside the folder. Cannot be undone."""

    def inside(*named: Any) -> bool:
        paths = [os.fsdecode(each) for each in named if isinstance(each, (str, bytes, os.PathLike))]
        return bool(paths) and all(folder in Path(os.path.realpath(path)).parents for path in paths)

    def watch(event: str, arguments: tuple) -> None:
        if event == "import" and arguments[0].partition(".")[0] == TEACHING.name:
            _refuse("imports the solutions")
        elif event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            if _is_secret(path := Path(os.path.realpath(os.fsdecode(arguments[0])))):
                _refuse(f"opens {path.parent.name}/{path.name}")
            changes = arguments[2] & CHANGES or path.is_dir()  # an open folder leads to what is in it
            if changes and not inside(path) and str(path) != os.devnull:
                raise PermissionError(f"answers do not write to {path}")
        elif event in STOPPED or (event in WRITES and not inside(*arguments)):
            raise PermissionError(f"answers do not use {event}")

    sys.addaudithook(watch)


def _is_secret(path: Path) -> bool:
    """Other notebooks, solutions, and what is recorded of them."""
    is_recorded = path.parent == RECORDS and path.suffix == ".json"
    return path.suffix == ".ipynb" or is_recorded or (TEACHING in path.parents and path != Path(__file__).resolve())


def _refuse(what: str) -> None:
    _say("flag", what)
    raise PermissionError(f"an answer {what}")


def _say(*line: Any) -> None:
    os.write(OUT, json.dumps(line).encode() + b"\n")


def _answer(shell: InteractiveShell, exercise: Exercise, job: Job) -> None:
    """Run the student's cells, then the answer on every case; each step is written when it is known."""
    before = functions()
    for k, source in zip(job.cells, job.sources):
        _say("cell", k)
        if error := _error(shell.run_cell(source)):
            _say("error", k, error)
    _say("cell", -1)
    try:
        answer = eval(job.answer, shell.user_ns)
    except Exception as error:
        _say("error", -1, repr(error)[:200])
        answer = ...
    _say("values", encoded(exercise.results(answer)))
    for name in sorted(name for name, what in functions().items() if before.get(name, what) != what):
        _say("patched", name)


def _error(done: Any) -> str:
    """The error of a cell that was run, empty where there is none."""
    error = done.error_before_exec or done.error_in_exec
    return repr(error)[:200] if error else ""


def functions() -> dict[str, tuple[int, Any]]:
    """Every function and method of the package that is loaded: name -> what tells whether it is still the same."""
    found = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "tiramisu_edu":
            for name, thing in list(vars(module).items()):
                if isinstance(thing, FunctionType):
                    found[f"{module_name}.{name}"] = id(thing), thing.__code__
                elif isinstance(thing, type) and thing.__module__ == module_name:
                    methods = ((k, v) for k, v in vars(thing).items() if isinstance(v, FunctionType))
                    found |= {f"{module_name}.{name}.{k}": (id(v), v.__code__) for k, v in methods}
    return found


def encoded(value: Any, is_key: bool = False) -> Any:
    """A result as JSON: plain values as they are, all else as [kind, content]. No key is an array."""
    if isinstance(value, Failure):
        return ["failure", value.error]
    if value is ...:
        return ["ellipsis", None]
    if isinstance(value, Mapping):
        return ["map", [[encoded(key, is_key=True), encoded(each)] for key, each in value.items()]]
    value = value.item() if isinstance(value, np.bool_) or (is_key and isinstance(value, np.generic)) else value
    if value is None or type(value) in (bool, int, float, str):
        return value
    array = None if is_key or (isinstance(value, (list, tuple)) and not len(value)) else as_array(value)
    if array is not None:
        return ["array", [str(array.dtype), list(array.shape), array.ravel().tolist()]]
    for name, kind in GROUPS.items():
        if isinstance(value, kind):
            return [name, [encoded(each, is_key or "set" in name) for each in value]]
    return ["failure", f"a value of the type {type(value).__name__}"]


def decoded(value: Any) -> Any:
    """The inverse of `encoded`."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "map":
        return {decoded(key): decoded(each) for key, each in content}
    if kind == "array":
        return np.array(content[2], dtype=content[0]).reshape(content[1])
    if kind in GROUPS:
        return GROUPS[kind](map(decoded, content))
    return ... if kind == "ellipsis" else Failure(str(content))


def main(request: Path) -> None:
    """Run a request with solutions out of reach, and with one thread, since threads do not live through a fork."""
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in (TEACHING, TEACHING.parent)]
    exercises.record_path = lambda number: RECORDS / "no record"
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    checks.CHECK_SECONDS = 10**6  # the limit is that of the process
    run(request, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
