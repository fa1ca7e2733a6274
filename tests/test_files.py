import json
import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from tiramisu_edu.errors import FileError
from tiramisu_edu.files import atomic_path, load_safetensors, save_safetensors
from tiramisu_edu.lab.datafiles import sha256


def write(path, **changes):
    arguments = {"kind": "thing", "version": 2, "metadata": {"seed": 7, "shape": [2, 3]}} | changes
    save_safetensors(path, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}, **arguments)
    return path


def test_round_trip(tmp_path):
    tensors, metadata = load_safetensors(write(tmp_path / "new" / "x.safetensors"), kind="thing", version=2)
    assert torch.equal(tensors["a"], torch.arange(6.0).reshape(2, 3)) and tensors["b"].shape == ()
    assert metadata == {"seed": 7, "shape": [2, 3], "version": 2}
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["x.safetensors"]


def test_equal_contents_are_equal_files(tmp_path):
    tensors = {"a": torch.arange(5), "b": torch.ones(2, 3)}
    for n in range(8):
        save_safetensors(tmp_path / str(n), tensors, kind="test", version=1, metadata={"x": 1, "y": [2]})
    assert len({sha256(tmp_path / str(n)) for n in range(8)}) == 1


def test_views_that_share_memory_can_be_saved(tmp_path):
    base = torch.arange(8, dtype=torch.bfloat16)
    save_safetensors(tmp_path / "x", {"a": base[::2], "b": base}, kind="thing", version=1, metadata={})
    tensors, _ = load_safetensors(tmp_path / "x", kind="thing", version=1)
    assert torch.equal(tensors["a"], base[::2])


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x.txt"]


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write(tmp_path / "x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "x")}
    assert len(modes) == 1


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_truncated_file(tmp_path, keep):
    path = write(tmp_path / "x")
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(FileError, match="truncated or damaged"):
        load_safetensors(path, kind="thing", version=2)


def test_flipped_bit(tmp_path):
    path = write(tmp_path / "x")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="differ from those that were saved"):
        load_safetensors(path, kind="thing", version=2)


def test_missing_foreign_wrong_kind_newer(tmp_path):
    with pytest.raises(FileError, match="no file"):
        load_safetensors(tmp_path / "none", kind="thing", version=2)
    with pytest.raises(FileError, match="holds a thing, expected a circuit"):
        load_safetensors(write(tmp_path / "x"), kind="circuit", version=2)
    with pytest.raises(FileError, match="version 3, expected 1 to 2"):
        load_safetensors(write(tmp_path / "x", version=3), kind="thing", version=2)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign", metadata={"metadata": json.dumps({})})
    with pytest.raises(FileError, match="not written by"):
        load_safetensors(tmp_path / "foreign", kind="thing", version=2)


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")
    with pytest.raises(FileError, match="cannot read"):
        sha256(tmp_path / "none")


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_path(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 255, "\u00e9" * 127, "\u4e2d" * 85])
def test_the_longest_names_can_be_written(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "whole"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("", "is a folder"), ("pipe", "is a device")):
        with pytest.raises(FileError, match=message), atomic_path(tmp_path / name):
            pass


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path):
    old, young = tmp_path / ".x.1.partial", tmp_path / ".x.2.partial"
    for file in (old, young):
        file.touch()
    os.utime(old, (0, 0))
    write(tmp_path / "x")
    assert not old.exists() and young.exists()


def test_every_flip_in_the_header_and_every_odd_header_is_a_file_error(tmp_path):
    path = write(tmp_path / "x", metadata={"seed": 7})
    content = path.read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    good = load_safetensors(path, kind="thing", version=2)
    for position in range(length):
        flipped = bytearray(content)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        try:
            tensors, metadata = load_safetensors(path, kind="thing", version=2)
        except FileError:
            continue
        assert metadata == good[1] and all(torch.equal(tensors[n], good[0][n]) for n in good[0])  # padding only
    for odd in ("[]", "null", "3", "[" * 100_000):
        for version in ("1", "²", "-1", ""):
            header = {"package": "tiramisu_edu", "kind": "thing", "version": version, "digest": "", "metadata": odd}
            save_file({"a": torch.zeros(1)}, path, metadata=header)
            with pytest.raises(FileError):
                load_safetensors(path, kind="thing", version=2)


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="File too large") as error, atomic_path(tmp_path / "a") as path:
        path.write_text("half")
        raise OSError(27, "File too large")
    assert error.value.filename == str(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"
