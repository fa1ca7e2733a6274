"""The zoo refuses files that are not as published, and says how to mend them."""

import shutil
import subprocess

import pytest

from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.lab import datafiles, zoo
from tiramisu_edu.lab.datafiles import sha256
from tiramisu_edu.lab.worlds import digits


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with one listed file, a copy of the shipped one."""
    file = tmp_path / digits.FILE
    file.parent.mkdir()
    shutil.copy(datafiles.data_path(digits.FILE), file)
    monkeypatch.setenv("TIRAMISU_DATA", str(tmp_path))
    datafiles.write_checksums()
    return file


def test_tuned_options_are_checked_against_the_list(monkeypatch, tmp_path):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "samplers.json").write_text('{"ddim": {"options": {"eta": 0.5}}}')
    monkeypatch.setenv("TIRAMISU_DATA", str(tmp_path))
    datafiles.write_checksums()
    assert zoo.load("digits").sampler_options == {"ddim": {"eta": 0.5}} and zoo.load("digits").guide_options == {}
    (tmp_path / "digits" / "samplers.json").write_text('{"ddim": {"options": {"eta": 0.6}}}')
    with pytest.raises(FileError, match="not the published file"):
        zoo.load("digits").sampler_options  # noqa: B018
    (tmp_path / "digits" / "samplers.json").unlink()
    with pytest.raises(FileError, match="is missing"):
        zoo.load("digits").sampler_options  # noqa: B018


def test_checksums_are_in_the_format_of_sha256sum_and_complete():
    root = datafiles.data_root()
    listed = datafiles.checksums()
    assert set(listed) == {
        file.relative_to(root).as_posix() for kind in datafiles.KINDS for file in root.rglob(f"*{kind}")
    }
    for name in listed:
        assert datafiles.verified(datafiles.data_path(name)) == datafiles.data_path(name)
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum on this system")
    checked = subprocess.run(["sha256sum", "--check", "--quiet", datafiles.CHECKSUMS], cwd=root, capture_output=True)
    assert checked.returncode == 0, checked


def test_the_environment_variable_moves_the_data(data):
    assert datafiles.data_path("digits/images.safetensors") == data
    assert datafiles.verified(data) == data
    assert len(digits.images("test")[0]) == 300


def test_a_changed_file_is_named_with_both_digests(data):
    expected = sha256(data)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    with pytest.raises(FileError) as caught:
        digits.images("test")
    message = str(caught.value)
    assert str(data) in message
    assert f"expected {expected}, found {sha256(data)}" in message
    assert "TIRAMISU_DATA" in message


def test_missing_and_unlisted_files_are_told_apart(data):
    stranger = data.with_name("stranger.safetensors")
    stranger.write_bytes(b"?")
    with pytest.raises(FileError, match=r"not listed in .*tiramisu_edu\.lab\.datafiles"):
        datafiles.verified(stranger)
    expected = sha256(data)
    data.unlink()
    with pytest.raises(FileError, match=f"missing, expected SHA-256 {expected}"):
        datafiles.verified(data)
    with pytest.raises(FileError, match="outside the data folder"):
        datafiles.verified("/elsewhere/images.safetensors")


def test_a_damaged_list_is_explained(data):
    datafiles.data_path(datafiles.CHECKSUMS).write_text("not a digest  digits/images.safetensors\n")
    with pytest.raises(FileError, match=r"checksums.txt, line 1: expected 'SHA-256  file'"):
        datafiles.verified(data)
    datafiles.data_path(datafiles.CHECKSUMS).unlink()
    with pytest.raises(FileError, match=r"checksums.txt is missing"):
        datafiles.verified(data)


def test_the_checkout_is_repaired_with_git(monkeypatch):
    monkeypatch.delenv("TIRAMISU_DATA", raising=False)
    with pytest.raises(FileError, match=r"git checkout -- data/digits/no\.safetensors"):
        datafiles.verified(datafiles.data_path("digits/no.safetensors"))


def test_unknown_worlds_are_refused_with_the_list():
    with pytest.raises(
        TiramisuError, match=r"unknown world .cats.: choose one of digits, clothes, faces, rooms, .*, folder:PATH"
    ):
        zoo.load("cats")
    with pytest.raises(TiramisuError, match="unknown world 'digits-weak'"):
        zoo.load("digits-weak")


def test_the_digits_world_has_parts_that_fit_each_other():
    world = zoo.load("digits")
    images, labels = world.images("validation")
    assert world.name == "digits"
    assert world.schedule is world.denoiser.schedule
    assert world.circuit.log_likelihood(digits.categories("validation")[:3]).isfinite().all()
    assert world.denoiser(images[:2], 0).x_0.shape == images[:2].shape
    assert (world.judge.read(images)[:, 0] == labels.flatten()).double().mean() >= 0.95


@pytest.mark.parametrize("name", ["circuit", "denoiser", "judge"])
def test_no_changed_model_is_loaded(monkeypatch, tmp_path, name):
    root = tmp_path / "data"
    shutil.copytree(datafiles.data_root(), root)
    monkeypatch.setenv("TIRAMISU_DATA", str(root))
    file = root / "digits" / f"{name}.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)
    world = zoo.load("digits")
    for read in (lambda: getattr(world, name), world.read_all):
        with pytest.raises(
            FileError, match=rf"{name}\.safetensors is not the published file: SHA-256 expected \w+, found"
        ):
            read()


def test_nothing_is_read_before_it_is_asked_for(data):
    """Only the images are in this folder: the world can be named, its other parts say what is missing."""
    world = zoo.load("digits")
    assert world.images("test", 5)[0].shape == (5, 1, 8, 8)
    assert world.scene is None and world.tokenizer is None and world.code_circuits == {}
    assert world.read_all() == ["images"]
    with pytest.raises(
        FileError, match=r"circuit.safetensors is not made yet; .*tiramisu-edu train digits --part circuit"
    ):
        _ = world.circuit
    with pytest.raises(TiramisuError, match="'digits' has no denoiser_weak; it has images, circuit, denoiser, judge"):
        _ = world.weak_denoiser


def test_a_model_is_read_once_and_can_be_moved():
    world = zoo.load("digits")
    assert world.circuit is world.circuit and world.to("cpu") is world
    moved = world.to("meta")
    assert moved.name == "digits" and next(moved.denoiser.parameters()).device.type == "meta"
    assert next(world.denoiser.parameters()).device.type == "cpu"


@pytest.mark.parametrize("name", ["faces", "rooms"])
def test_procedural_worlds(data, name):
    """No file of theirs is in this folder; pictures need none."""
    world = zoo.load(name)
    images, states = world.images("validation", 3)
    assert images.shape == (3, 3, 32, 32) and states.shape == (3, len(world.scene.model))
    with pytest.raises(FileError, match=f"train {name} --part codes_hclt"):
        _ = world.code_circuits
    weak = zoo.load(f"{name}-weak")
    assert weak.name == f"{name}-weak" and weak.scene is world.scene
    with pytest.raises(FileError, match=f"train {name} --part denoiser_weak"):
        _ = weak.denoiser
