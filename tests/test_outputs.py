"""Where the results of a command go: a file for each completed picture, and none over or among what is read."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from tiramisu_edu import load
from tiramisu_edu.lab import contact
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.pictures import load_image

from .test_faults import INPAINT, photo


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_each_completion_is_a_file_and_the_format_follows_the_suffix(capsys):
    """Beside the sheet, named after it and the photo, in the photo's size; a dollar sign is no formula."""
    assert main([*INPAINT, "--image", photo("cat$x$_^.png"), "--out", "o$a$/sheet.jpg"]) == 0
    assert names_in("o$a$") == ["sheet.jpg", "sheet_cat$x$_^_1.png", "sheet_cat$x$_^_2.png"]
    for name in names_in("o$a$"):
        with Image.open(Path("o$a$", name)) as found:
            assert found.format == ("JPEG" if name == "sheet.jpg" else "PNG")
    assert "completed: o$a$/sheet_cat$x$_^_1.png, o$a$/sheet_cat$x$_^_2.png" in capsys.readouterr().out


def test_held_out_pictures_and_fusions_are_files_too():
    """With a name that says which they are; and the steered ones, as the library makes them."""
    assert main([*INPAINT, "--out", "a.png"]) == 0
    numbers = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:2].tolist()
    assert names_in(".") == sorted(["a.png", *(f"a_test_{n}.png" for n in numbers)])
    world = load("digits")
    shown = load_image(f"a_test_{numbers[0]}.png", (8, 8), 1).image
    assert (shown - world.images("test")[0][numbers[0]])[..., :4].abs().max() < 0.01  # the known half
    fuse = ["fuse", "--world", "digits", "--num-inference-steps", "2", "--coherence", "0.5,1e-3", "--images", "2"]
    assert main([*fuse, "--reference", photo("b.png"), photo("c.png"), "--out", "f/sheet.webp"]) == 0
    names = [f"sheet_pair0_{level}_{copy}.webp" for level in ("0.5", "0.001") for copy in (1, 2)]
    assert names_in("f") == sorted(["sheet.webp", *names])
    assert main([*fuse, "--pairs", "2", "--out", "p/sheet.png"]) == 0
    assert len(names_in("p")) == 9 and "sheet_pair1_0.001_2.png" in names_in("p")


def test_nothing_is_written_among_the_pictures_of_a_folder(capsys):
    """They would belong to the world, or replace a picture of it."""
    Path("mine/deep").mkdir(parents=True), photo("mine/deep/cat.png")
    os.symlink("mine", "linked")
    inpaint = [f"inpaint --world folder:mine --out {at}/new.png" for at in ("mine", "mine/deep", "linked", "mine/a/b")]
    others = "train folder:mine --out mine/models", "evaluate --worlds digits,folder:linked --out mine/results"
    for line in (*inpaint, *others):
        assert main(line.split()) == 2
        assert "among the pictures of" in capsys.readouterr().err
    assert names_in("mine") == ["deep"] and names_in("mine/deep") == ["cat.png"]


def test_the_name_that_show_chooses_is_checked_before_the_work(monkeypatch, capsys):
    Path("out").write_text("no folder")
    monkeypatch.setattr(contact, "save_contact_sheet", lambda *arguments, **options: pytest.fail("work has begun"))
    assert main(["show", "sheet", "--worlds", "digits"]) == 2
    assert "out/sheet_digits.png" in capsys.readouterr().err.replace("\\", "/")
