"""What a user, a disk or a console can do to the command line: one sentence, exit code 2, and nothing begun or lost."""

import argparse
import ast
import importlib.util
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import tiramisu_edu
from tiramisu_edu.lab import cli
from tiramisu_edu.lab.cli import COMMANDS, main
from tiramisu_edu.lab.evaluation import runner, tuning
from tiramisu_edu.lab.evaluation.comparison import Cases
from tiramisu_edu.lab.repair import comparison
from tiramisu_edu.lab.table import Table

PACKAGE = Path(tiramisu_edu.__file__).parent
INPAINT = ["inpaint", "--world", "digits", "--num-inference-steps", "2", "--batch", "2"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def photo(name="photo.png"):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)).save(name)
    return name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("inpant", "did you mean 'inpaint'"),
        ("", "required: COMMAND"),
        ("inpaint --sede 3", "unrecognized arguments: --sede"),
        ("inpaint --world digit", "did you mean 'digits'"),
        ("inpaint --world digits --mask lef", "did you mean 'left'"),
        ("inpaint --world digits --sampler dimm", "did you mean 'ddim'"),
        ("inpaint --world digits --guide diference", "did you mean 'difference'"),
        ("inpaint --eta 2", "--eta must lie in [0, 1]"),
        ("inpaint --eta nan", "--eta takes numbers"),
        ("inpaint --eta 1e999", "--eta must lie in"),
        ("inpaint --guided-fraction inf", "--guided-fraction takes numbers"),
        ("inpaint --seed 9223372036854775808", "--seed must lie in [0, 4,294,967,295]"),
        (f"inpaint --seed {'9' * 5000}", "--seed must lie in [0, 4,294,967,295]"),
        (f"inpaint --eta 0.{'0' * 999}1e{'9' * 999}", "--eta must lie in [0, 1]"),
        ("inpaint --seed 99999999999", "--seed must lie in"),
        ("inpaint --seed -1", "--seed must lie in"),
        ("inpaint --num-inference-steps 1_0", "takes whole numbers"),
        ("inpaint --threads 1000000", "--threads must lie in"),
        ("inpaint --threads -1", "--threads must lie in"),
        ("inpaint --batch 10000000000", "--batch must lie in"),
        ("inpaint --device meta", "device 'meta' is not available"),
        ("inpaint --device cuda:99", "device 'cuda:99' is not available"),
        ("train digits --device nonsense", "device 'nonsense' is not available"),
        ("train digits --part denoisr", "did you mean 'denoiser'"),
        ("train faces --scale tiny", "invalid choice: 'tiny'"),
        ("evaluate --steps ²", "--steps takes whole numbers"),
        ("evaluate --steps 0", "--steps must lie in"),
        ("evaluate --steps 5,,x", "--steps takes whole numbers"),
        ("evaluate --methods ,", "--methods is an empty list"),
        ("evaluate --worlds ''", "--worlds is an empty list"),
        ("evaluate --methods ddim+difference@1.2.3", "cannot read the method"),
        ("evaluate --methods ddim+difference@2", "cannot read the method"),
        ("evaluate --masks lft", "did you mean 'left'"),
        ("evaluate --measure lpip", "did you mean 'lpips'"),
        ("evaluate --images 99999999", "--images must lie in"),
        ("fuse --world digits --coherence nan", "--coherence takes numbers"),
        ("fuse --world digits --regions left-rigth", "did you mean 'left-right'"),
        ("tune digits --samplers '' --guides ''", "both empty"),
        ("tune digits --samplers copain", "did you mean 'copaint'"),
        ("tune digits --images 0", "--images must lie in"),
        ("show sheet --worlds digits --out ''", "--out needs a path"),
        ("bench circuits --out file.txt", "no folder that may be written to"),
        ("evaluate --out file.txt/deep", "no folder that may be written to"),
        ("tune digits --out file.txt", "no folder that may be written to"),
        ("train digits --out file.txt", "no folder that may be written to"),
        ("show sheet --worlds digits --out folder", "must end in"),
        ("fuse --world digits --out folder.png", "is a folder"),
        ("fuse --world digits --out file.txt/a.png", "no file can be made here"),
        ("fuse --world digits --out a.doc", "must end in"),
        ("fuse --world digits --json folder.png", "is a folder"),
        ("fuse --world digits --out a.png --json ./a.png", "is read, or written, by the same command"),
        ("fuse --world digits --reference photo.png other.png --out other.png", "is read"),
        ("inpaint --image photo.png --out ./photo.png", "is read"),
        ("inpaint --image photo.png --out link.png", "is read"),
        ("inpaint --image photo.png --json photo.png", "is read"),
        ("inpaint --world digits --mask other.png --out other.png", "is read"),
        ("inpaint --world digits --image photo.png --mask other.png --out o.png --json o_photo_1.png", "is read"),
        ("inpaint --world digits --image photo.png --mask o_photo_1.png --out o.png", "is read"),
        ("inpaint --world digits --mask left --out o.png --json o_test_44.png", "is read"),
        ("fuse --world digits --out o.png --json o_pair0_0.5_1.png", "is read"),
        ("fuse --world digits --reference photo.png o_pair0_0.5_1.png --out o.png", "is read"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_begins(line, message, capsys):
    photo(), photo("other.png")
    os.link("photo.png", "link.png"), os.link("other.png", "o_photo_1.png"), os.link("other.png", "o_pair0_0.5_1.png")
    Path("file.txt").write_text("kept")
    Path("folder").mkdir(), Path("folder.png").mkdir()
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("tiramisu-edu: ") and said.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    assert not any(Path("folder").iterdir()) and not Path("out").exists()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "doctor"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "a.png"), "a.png: No space left on device"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out of memory"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "cannot be written in this encoding"),
    ],
)
def test_failures_of_the_machine_are_one_line(command, error, message, capsys, monkeypatch):
    def fails(options):
        raise error

    monkeypatch.setattr(COMMANDS[command], "run", fails)
    places = {"bench": ["em"], "show": ["sheet"], "train": ["digits"], "tune": ["digits"]}
    assert main([command, *places.get(command, [])]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli.show, "run", lambda options: {}["missing"])
    with pytest.raises(KeyError):
        main(["show", "sheet"])


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize(("stream", "code"), [(Closed, 0), (Full, 2)])
def test_a_closed_pipe_or_a_full_disk_loses_no_picture(stream, code, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream())
    assert main([*INPAINT, "--json", "numbers.json"]) == code
    assert Path("out/inpaint.png").is_file() and Path("numbers.json").is_file()


def test_a_console_of_256_letters_shows_what_it_can(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="cp1252"))
    monkeypatch.setattr(cli.show, "run", lambda options: print("1 \u2212 2") or 0)
    assert main(["show", "sheet"]) == 0
    assert shown.getvalue().decode("cp1252").strip() == "1 ? 2"


TUNING = ["tune", "digits", "--samplers", "dps,ddnm", "--masks", "left", "--steps", "2", "--images", "3"]
TUNING += ["--measure", "mse", "--out"]
SLOW = """
import sys, time
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.evaluation import tuning
measure = tuning.measure
def slow(*arguments):
    print("candidate", flush=True)
    time.sleep(0.1)
    return measure(*arguments)
tuning.measure = slow
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_tuning_goes_on_where_it_was(monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", SLOW, *TUNING, "killed"], stdout=subprocess.PIPE, text=True)
    for _ in range(11):
        while child.stdout.readline() != "candidate\n":
            assert child.poll() is None
    child.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    child.communicate()
    measured, measure = [], tuning.measure
    monkeypatch.setattr(tuning, "measure", lambda *arguments: measured.append(1) or measure(*arguments))
    assert main([*TUNING, "killed"]) == 0
    assert 4 <= len(measured) <= 7  # of 16
    assert main([*TUNING, "whole"]) == 0
    assert [path.name for path in Path("killed/digits").iterdir()] == ["samplers.json"]
    assert Path("killed/digits/samplers.json").read_text() == Path("whole/digits/samplers.json").read_text()


def test_a_dead_rank_ends_with_a_sentence(monkeypatch, capsys):
    """The other rank of two never writes its cells."""
    monkeypatch.setenv("RANK", "0"), monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(runner, "SILENCE", 1.0)
    started = time.monotonic()
    flags = ["--masks", "left,top", "--methods", "ddim", "--steps", "2", "--images", "2", "--seeds", "1"]
    assert main(["evaluate", *flags, "--measure", "mse"]) == 2
    assert "another rank" in (said := capsys.readouterr().err) and "same command" in said
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("number", [0, 1])
def test_what_applies_to_no_picture_or_one_is_a_dash(number, capsys):
    """And no number of the report is NaN, which is no JSON."""
    applies = torch.where(torch.arange(9) < number, 0.5, torch.nan)
    shape, one = torch.zeros(9, 1, 4, 4), torch.arange(9)
    measured = {name: {"determined": applies, "mse": torch.rand(9)} for name in ("ddim", "ddim + mixture")}
    report = comparison(measured, Cases(shape, one, shape > 0, one))
    said = capsys.readouterr().out
    assert "[–]: fewer than 8" in said and "nan" not in said and said.count("–  ") == (0 if number else 2)
    assert "NaN" not in json.dumps(report) and "low" in report["ddim + mixture"]["mse"]


def test_latex_escapes_everything():
    signs = r"%&_#${}~^\."
    text = Table(signs, pd.DataFrame({signs: [f"**{signs}**"], "b_1": ["x"]})).latex()
    title, body = text.split("\n", 1)
    assert title == f"% {signs}"
    escaped = r"\%\&\_\#\$\{\}\textasciitilde \textasciicircum \textbackslash ."
    assert body.count(escaped) == 2 and rf"\textbf{{{escaped}}}" in body and r"b\_1" in body


def strings():
    """All texts of the package's sources, f-strings with a gap for each value."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "NAME" for part in node.values)
                yield path, "".join(parts)


def test_messages_name_only_commands_and_modules_that_exist():
    known = {}
    for name, module in COMMANDS.items():
        parser = argparse.ArgumentParser()
        cli.add_options(parser, module.Options)
        known[name] = set(parser._option_string_actions)
    for path, text in strings():
        for name, rest in re.findall(r"(?<![\w-])tiramisu-edu ([a-z]+)\b([^`\n:]*)", text):
            assert name in known, f"{path}: tiramisu-edu {name}"
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known[name], f"{path}: {name} {rest}"
        for module in re.findall(r"python -m ([\w.]+)", text):
            module = module.rstrip(".")
            assert importlib.util.find_spec(module) or module in ("NAME",), f"{path}: python -m {module}"
