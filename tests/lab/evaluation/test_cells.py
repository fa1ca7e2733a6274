"""Cells of an evaluation: run once, kept, and taken up where a stopped run left them."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
import torch

from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.datafiles import data_root
from tiramisu_edu.lab.evaluation import origin, runner
from tiramisu_edu.lab.evaluation.cells import Cell, Method, load_cell, origin_of, run_cell, save_cell
from tiramisu_edu.lab.evaluation.runner import run_cells
from tiramisu_edu.lab.pictures import save_image
from tiramisu_edu.lab.zoo import load

CELLS = [
    Cell("digits", mask, Method.parse(method), steps=3, seed=0, images=3)
    for mask in ("left", "wide")
    for method in ("ddim", "replacement+difference@0.5")
]


def test_methods_are_read_as_they_are_written():
    for text in ("ddim", "copaint+difference", "replacement+mixture@0.2"):
        assert str(Method.parse(text)) == text
    assert Method.parse("ddim+difference@0.5").base == Method("ddim")
    for text, message in [
        ("", "cannot read"),
        ("ddim+", "cannot read"),
        ("magic", "unknown sampler"),
        ("ddim+magic", "guide"),
    ]:
        with pytest.raises(TiramisuError, match=message):
            Method.parse(text)


def test_a_cell_is_kept_whole(tmp_path):
    done = run_cell(load("digits"), CELLS[1], torch.device("cpu"))
    save_cell(tmp_path, done)
    back = load_cell(tmp_path, CELLS[1])
    assert back is not None and back.cell == done.cell
    assert torch.equal(back.completions, done.completions)
    assert all(torch.equal(back.metrics[name], values) for name, values in done.metrics.items())
    assert (back.forward, back.seconds) == (done.forward, done.seconds) and done.forward == 3
    assert load_cell(tmp_path, CELLS[0]) is None


def test_a_damaged_file_is_run_again(tmp_path):
    path = save_cell(tmp_path, run_cell(load("digits"), CELLS[0], torch.device("cpu")))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert load_cell(tmp_path, CELLS[0]) is None
    (again,) = run_cells(CELLS[:1], tmp_path, progress=False)
    assert torch.equal(again.completions, run_cell(load("digits"), CELLS[0], torch.device("cpu")).completions)


@pytest.fixture
def kept(tmp_path):
    """The folder of a finished cell, `CELLS[1]`."""
    save_cell(tmp_path, run_cell(load("digits"), CELLS[1], torch.device("cpu")))
    return tmp_path


def test_exchanged_files_are_run_again(kept):
    other = dataclasses.replace(CELLS[1], seed=1)
    save_cell(kept, run_cell(load("digits"), other, torch.device("cpu")))
    one, two = kept / CELLS[1].name, kept / other.name
    content = one.read_bytes(), two.read_bytes()
    two.write_bytes(content[0])
    one.write_bytes(content[1])
    assert load_cell(kept, CELLS[1]) is None and load_cell(kept, other) is None


def test_a_cell_without_its_origin_is_run_again(kept):
    result = load_cell(kept, CELLS[1])
    save_cell(kept, dataclasses.replace(result, origin={}))
    assert load_cell(kept, CELLS[1]) is None


@pytest.mark.parametrize(
    ("module", "old", "new", "again"),
    [
        ("diffusion/samplers.py", "x_0", "x_start", True),
        ("lab/worlds/judge.py", "0.3", "0.25", True),
        ("steering/beyond/difference.py", '"""', '"""Other words. ', False),
        ("lab/evaluation/tables.py", "round(3)", "round(2)", False),  # makes tables of cells
    ],
)
def test_edited_code_runs_a_cell_again_and_edited_prose_does_not(kept, monkeypatch, module, old, new, again):
    path, read = origin.PACKAGE / module, Path.read_bytes
    assert old.encode() in path.read_bytes()

    def edited(self):
        return read(self).replace(old.encode(), new.encode(), 1 if old == '"""' else -1) if self == path else read(self)

    monkeypatch.setattr(Path, "read_bytes", edited)
    origin.sources_digest.cache_clear()
    try:
        assert (load_cell(kept, CELLS[1]) is None) is again
    finally:
        origin.sources_digest.cache_clear()


@pytest.mark.filterwarnings("ignore:.*tuned for another denoiser")
@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("denoiser.safetensors", True),
        ("images.safetensors", True),
        ("guide_weights_difference.safetensors", False),  # of the calibrated difference alone
    ],
)
def test_other_files_under_an_unchanged_name_run_a_cell_again(kept, tmp_path, monkeypatch, name, again):
    shutil.copytree(data_root(), tmp_path / "data", copy_function=os.link)
    monkeypatch.setenv("TIRAMISU_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "digits" / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert (load_cell(kept, CELLS[1]) is None) is again


def test_a_folders_pictures_and_models_are_part_of_its_cells(tmp_path):
    pictures, models = tmp_path / "mine", tmp_path / "mine-models-64"
    models.mkdir()
    (models / "denoiser.safetensors").write_bytes(b"1")
    for number in range(60):
        save_image(torch.full((3, 4, 4), -1.0), pictures / f"{number}.png")
    cell = Cell(f"folder:{pictures}", "left", Method("ddim"), steps=2, seed=0, images=2)

    found = [origin_of(load(cell.world), cell)]
    (models / "denoiser.safetensors").write_bytes(b"23")
    found.append(origin_of(load(cell.world), cell))
    for number in range(60):
        save_image(torch.ones(3, 5, 5), pictures / f"{number}.png")
    found.append(origin_of(load(cell.world), cell))
    assert found[0] != found[1] != found[2] and len({one["sources"] for one in found}) == 1


def test_stale_cells_of_another_rank_are_waited_for(kept, monkeypatch):
    """A file that is there but old is no result: the rank that has to make it again may still be at work."""
    result = load_cell(kept, CELLS[1])
    save_cell(kept, dataclasses.replace(result, origin={}))
    monkeypatch.setattr(runner.time, "sleep", lambda _: save_cell(kept, result))  # now the other rank is done
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert run_cells(CELLS[1:2], kept, progress=False)[0].origin == result.origin


def cell_names(monkeypatch, root, file, guides=("none",)):
    """Names of cells where the data folder is a copy at `root` with other bytes in a file."""
    shutil.copytree(data_root(), root, copy_function=os.link)
    content = (root / file).read_bytes()
    (root / file).unlink()
    (root / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setenv("TIRAMISU_DATA", str(root))
    names = [dataclasses.replace(CELLS[0], method=Method("ddim", guide)).name for guide in guides]
    monkeypatch.delenv("TIRAMISU_DATA")
    return names


@pytest.mark.filterwarnings("ignore:.*tuned for another denoiser")
def test_other_models_are_other_cells(tmp_path, monkeypatch):
    (changed,) = cell_names(monkeypatch, tmp_path / "data", "digits/denoiser.safetensors")
    assert changed != CELLS[0].name == dataclasses.replace(CELLS[0]).name


def test_weights_fitted_for_one_guide_make_other_cells_of_that_guide_alone(tmp_path, monkeypatch):
    guides = ("none", "difference", "learned", "difference-calibrated")
    names = [dataclasses.replace(CELLS[0], method=Method("ddim", guide)).name for guide in guides]
    changed = cell_names(monkeypatch, tmp_path / "data", "digits/guide_weights_difference.safetensors", guides)
    assert [a == b for a, b in zip(names, changed)] == [True, True, True, False]


def test_a_network_in_sixteen_bits(tmp_path):
    half = [dataclasses.replace(cell, dtype="bfloat16") for cell in CELLS[:2]]
    assert not {cell.name for cell in half} & {cell.name for cell in CELLS}
    results = run_cells([*CELLS[:2], *half], tmp_path, progress=False)
    for whole, rounded in zip(results[:2], results[2:]):
        gap = (whole.completions.int() - rounded.completions.int()).abs()
        assert gap.max() > 0 and gap.float().mean() < 4  # of 255: the same picture, but not the same numbers


def test_a_killed_run_loses_one_cell_and_ends_with_the_same_table(tmp_path, monkeypatch):
    whole = run_cells(CELLS, tmp_path / "whole", progress=False)
    calls = 0

    def killed(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return run_cell(*arguments)

    monkeypatch.setattr(runner, "run_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, tmp_path / "killed", progress=False)
    assert sum(load_cell(tmp_path / "killed", cell) is not None for cell in CELLS) == 2
    resumed = run_cells(CELLS, tmp_path / "killed", progress=False)
    assert calls == 5  # two kept, one lost, two new: none run twice
    for a, b in zip(whole, resumed):
        assert torch.equal(a.completions, b.completions)
        assert all(torch.equal(a.metrics[name], b.metrics[name]) for name in a.metrics)


def test_ranks_share_the_cells(tmp_path, monkeypatch):
    shares = [runner._share(CELLS, rank, 2) for rank in range(2)]
    assert sorted(cell.name for share in shares for cell in share) == sorted(cell.name for cell in CELLS)
    for cell in shares[1]:
        save_cell(tmp_path, run_cell(load("digits"), cell, torch.device("cpu")))  # the other rank has finished
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert len(run_cells(CELLS, tmp_path, progress=False)) == len(CELLS)


def test_two_workers_give_what_one_gives(tmp_path):
    one = run_cells(CELLS, tmp_path / "one", progress=False)
    two = run_cells(CELLS, tmp_path / "two", workers=2, progress=False)
    assert all(torch.equal(a.completions, b.completions) for a, b in zip(one, two))
    with pytest.raises(TiramisuError, match="at least 1"):
        run_cells(CELLS, tmp_path, workers=0)


def test_the_command_writes_everything(tmp_path, capsys):
    out = tmp_path / "out"
    flags = [
        "--masks",
        "left,top",
        "--methods",
        "ddim,ddim+difference",
        "--steps",
        "2,3",
        "--images",
        "3",
        "--seeds",
        "2",
    ]
    assert main(["evaluate", *flags, "--measure", "mse", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "32 cells of 3 images" in printed  # and the rows of known quality
    for table in ("energy score, pixels", "What may decide", "Steered against its base", "Best of all"):
        assert table in printed
    assert {
        "cells",
        "table.md",
        "table.tex",
        "per_image.csv",
        "index.html",
        *(f"frontier_{measure}.png" for measure in ("mse", "energy", "energy_layers")),
    } == {p.name for p in out.iterdir()}
    page = (out / "index.html").read_text()
    assert page.count("<details>") == 2 and page.count("data:image/png") == 2 * (2 + 4 + 4)
    assert len((out / "per_image.csv").read_text().splitlines()) == 1 + 32 * 3
    before = {p.name: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}
    assert main(["evaluate", *flags, "--measure", "mse", "--out", str(out)]) == 0
    assert before == {p.name: p.stat().st_mtime_ns for p in (out / "cells").iterdir()}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--worlds", "mars"], "unknown world 'mars'"),
        (["--masks", "magic"], "unknown mask 'magic'"),
        (["--methods", "magic"], "unknown sampler 'magic'"),
        (["--steps", "0"], "--steps must lie in [1, 1,000], not 0"),
        (["--seeds", "0"], "--seeds must lie in [1, 1,000], not 0"),
        (["--images", "9999"], "ask for 2 to 300"),
        (["--images", "1"], "ask for 2 to 300"),
        (["--measure", "magic"], "unknown measure 'magic'"),
        (["--measure", "energy", "--seeds", "1"], "ask for 2 --seeds or more"),
        (["--workers", "0"], "--workers must lie in [1, 1,024], not 0"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, flags, message):
    assert main(["evaluate", "--images", "2", "--measure", "mse", "--out", str(tmp_path / "out"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
