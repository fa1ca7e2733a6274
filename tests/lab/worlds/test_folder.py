"""A folder of pictures as a world: every file kind, broken files, deterministic splits, training on it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.lab import zoo
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.recipes import denoiser
from tiramisu_edu.lab.worlds.folder import PictureFolder, photograph


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """60 flat pictures in two classes; picture n has the grey level 4 n."""
    for n in range(60):
        save(tmp_path / "pictures" / f"class{n % 2}" / f"{n}.png", np.full((40, 48, 3), 4 * n))
    return tmp_path / "pictures"


def test_every_picture_is_in_one_split_and_stays_there(folder, tmp_path):
    pictures = PictureFolder(folder, 32)
    splits = pictures.files
    assert sorted(file for files in splits.values() for file in files) == sorted(folder.rglob("*.png"))
    assert len(splits["train"]) > 45 and splits["validation"] and splits["test"]
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    for file in splits["train"][::2]:
        (copy / file.relative_to(folder)).unlink()
    for split, files in PictureFolder(copy, 32).files.items():
        kept = [file for file in splits[split] if (copy / file.relative_to(folder)).exists()]
        assert [file.relative_to(copy) for file in files] == [file.relative_to(folder) for file in kept]


def test_pieces_of_a_photograph_stay_together_and_named_splits_are_taken(tmp_path):
    kinds = ("sea{}_crop{}.png", "hill{}-tile-2-{}.png", "cat{}__{}.png", "walk{}_frame00{}.png", "wood{}_crops/{}.png")
    for kind in kinds:
        for n in range(20):
            for piece in range(3):
                save(tmp_path / "a" / kind.format(n, piece), np.zeros((2, 2)))
    pictures = PictureFolder(tmp_path / "a", 32)
    groups = [{photograph(file.relative_to(tmp_path / "a")) for file in files} for files in pictures.files.values()]
    assert all(groups) and sum(map(len, groups)) == len(set.union(*groups)) == 100
    assert "of 100 photographs" in str(pictures)
    assert photograph(Path("a/cropped_1.png")) == Path("a/cropped_1.png")  # a word for a piece stands alone
    for split, count in (("Train", 5), ("val", 3), ("test", 2)):
        for n in range(count):
            save(tmp_path / "b" / split / f"{n}.png", np.zeros((2, 2)))
    assert [len(files) for files in PictureFolder(tmp_path / "b", 32).files.values()] == [5, 3, 2]


def test_pictures_and_their_order(folder):
    pictures = PictureFolder(folder, 32)
    images, states = pictures.images("train")
    assert images.shape == (len(pictures.files["train"]), 3, 32, 32) and states.shape == (len(images), 0)
    levels = [4 * int(file.stem) for file in pictures.files["train"]]
    assert torch.equal(((images[:] + 1) * 127.5).round().mean((1, 2, 3)), torch.tensor(levels).float())
    assert torch.equal(pictures.images("train", 7)[0][:], images[:7])
    assert {level // 4 % 2 for level in levels[:7]} == {0, 1}  # a first part is no single class


def test_files_of_all_kinds(tmp_path):
    """Grey, transparent, rotated by the camera, wide: each comes out square, upright, in three channels."""
    exif = Image.Exif()
    exif[0x0112] = 6  # show the picture rotated clockwise
    left_half = np.zeros((64, 64), dtype=np.uint8)
    left_half[:, :32] = 255
    kinds = {
        "grey.png": (np.full((50, 50), 255), {}),
        "clear.png": (np.zeros((40, 40, 4)), {}),
        "turned.JPEG": (left_half, {"exif": exif, "quality": 95}),
        "wide.webp": (np.pad(np.full((32, 32, 3), 255), ((0, 0), (32, 32), (0, 0))), {"lossless": True}),
    }
    for name, (values, options) in kinds.items():
        save(tmp_path / name, values, **options)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    pictures = PictureFolder(tmp_path, 32)
    found = {}
    for split, files in pictures.files.items():
        if files:
            found |= dict(zip([file.name for file in files], pictures.images(split)[0]))
    assert set(found) == set(kinds)
    assert all((found[name] == 1).all() for name in ("grey.png", "clear.png", "wide.webp"))
    turned = found["turned.JPEG"].mean((0, 2))  # by row: the left half has become the upper one
    assert (turned[:15] > 0.9).all() and (turned[17:] < -0.9).all()


def test_broken_files_are_counted_and_left_out(folder):
    pictures = PictureFolder(folder, 32)
    broken, cut = pictures.files["train"][1:3]
    broken.write_bytes(b"nothing")
    cut.write_bytes(cut.read_bytes()[:60])
    with pytest.warns(UserWarning, match=rf"2 of {len(pictures.files['train'])} files left out, such as .*png"):
        images, _ = pictures.images("train")
    assert len(images) == len(pictures.files["train"]) - 2 and set(pictures.skipped) == {broken, cut}
    for file in pictures.files["test"]:
        file.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ImageError, match="no readable picture in its test"),
    ):
        pictures.images("test")


def test_linked_folders_are_entered_once(folder, tmp_path):
    """ImageNet's first classes as links, one of them twice, and a link that leads back to its own folder."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a").symlink_to(folder / "class0", target_is_directory=True)
    (tmp_path / "some" / "again").symlink_to(folder / "class0", target_is_directory=True)
    (tmp_path / "some" / "loop").symlink_to(tmp_path / "some", target_is_directory=True)
    assert sum(map(len, PictureFolder(tmp_path / "some", 32).files.values())) == 30


def test_wrong_folders(tmp_path, folder):
    with pytest.raises(ImageError, match="no such folder"):
        PictureFolder(tmp_path / "none", 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no pictures in it or below it"):
        zoo.load(f"folder:{tmp_path / 'empty'}")
    with pytest.raises(TiramisuError, match="unknown split 'valid'"):
        PictureFolder(folder, 32).images("valid")
    with pytest.raises(TiramisuError, match="are for folders, such as"):
        zoo.load("digits", size=64)


def test_a_denoiser_of_ones_own(folder, tmp_path, monkeypatch):
    """Trained from the command line on a folder, found again by `load`, beside the folder or where --out says."""
    monkeypatch.setattr(denoiser, "CALIBRATION", {"points": 3, "repeats": 1})
    name, command = f"folder:{folder}", ["--size", "32", "--part", "denoiser", "--scale", "toy"]
    world = zoo.load(name, size=32)
    with pytest.raises(FileError, match=r"not made yet; .* tiramisu-edu train folder:.* --size 32 --part denoiser"):
        _ = world.denoiser
    assert main(["train", name, *command]) == 0
    assert (tmp_path / "pictures-models-32" / "denoiser.safetensors").is_file()
    assert world.denoiser(world.images("test", 2)[0], 500).x_0.shape == (2, 3, 32, 32)
    assert main(["train", name, *command, "--models", str(tmp_path / "mine")]) == 0
    elsewhere = zoo.load(name, size=32, models=tmp_path / "mine").to("cpu")
    assert torch.equal(elsewhere.schedule.residual_variance, world.schedule.residual_variance)
    assert elsewhere.read_all() == ["denoiser"] and elsewhere.sampler_options == {}
    assert main(["train", name, "--part", "circuit"]) == 2


def test_a_folder_is_trained_and_repaired_like_any_world(folder, tmp_path, capsys):
    world, out = f"folder:{folder}", tmp_path / "repaired.png"
    for part in ("circuit", "circuit_independent", "denoiser"):
        assert main(["train", world, "--size", "32", "--scale", "toy", "--part", part]) == 0
    flags = ["--world", world, "--size", "32", "--batch", "1", "--num-inference-steps", "2", "--out", str(out)]
    with pytest.warns(UserWarning, match="mean colour of the known under 7.* of 7 masks"):  # pictures of one colour
        assert main(["inpaint", *flags, "--guide", "difference"]) == 0
    assert "hidden-pixel MSE" in capsys.readouterr().out and out.exists()
    assert main(["inpaint", *flags, "--world", "faces"]) == 2
    assert "size and models are for folders" in capsys.readouterr().err
