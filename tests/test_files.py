import json
import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from tiramisu_edu.errors import FileError
from tiramisu_edu.files import atomic_path, load_safetensors, save_safetensors, sha256


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
