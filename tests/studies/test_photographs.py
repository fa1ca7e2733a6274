"""The study of one's own photographs: pieces by name, a command's output without progress, and a photo that lies."""

import numpy as np
import pytest
from PIL import Image

from studies import photographs
from studies.photographs import cut, output
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.photo_files import open_photo
from tiramisu_edu.lab.worlds.folder import PictureFolder


def pictures(folder, *sizes):
    random = np.random.default_rng(0)
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"p{number}.jpg")
    return folder


def test_pieces_of_a_photograph_are_known_by_their_names(tmp_path):
    source = pictures(tmp_path / "source", (300, 260), (256, 400), (300, 100))
    assert cut(source, tmp_path / "photos", 5, 0) == 2
    found = PictureFolder(tmp_path / "photos", 16)
    assert str(found).endswith("pictures of 2 photographs, 16 x 16")
    pieces = found.images("train" if found.files["train"] else "test")[0]
    assert len(pieces) in (5, 10) and pieces[:].std() > 0.05
    with pytest.raises(TiramisuError, match="no picture with sides of 256"):
        cut(pictures(tmp_path / "small", (20, 20)), tmp_path / "none", 5, 0)


def test_a_command_and_what_it_printed(tmp_path):
    lines = ["a", "step 1 of 4: 3", "step 2 of 4: 2", "step 3 of 4: 1", "step 4 of 4: 0", "b"]
    assert photographs._without_progress(lines) == ["a", "step 1 of 4: 3", "step 4 of 4: 0", "b"]
    bars = ["r: 100%|████| 8/8 [00:58<00:00,  7.29s/candidate]", "EM:   0%|          | 0/1 [00:00<?, ?epoch/s]"]
    assert all(map(photographs.BAR.search, bars)) and not photographs.BAR.search("| a | 30% | 1/2 [0, 1] |")
    first, second, last = output("--help", tmp_path).split("\n", 2)
    assert first == "$ tiramisu-edu --help" and second.startswith("usage: tiramisu-edu")
    assert "s of the processor" in last and "GB at the peak" in last
    with pytest.raises(TiramisuError, match="ended with 2"):
        output("inpaint --world mars", tmp_path)


def test_the_photo_is_upright_and_as_large_as_its_mask(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "PHOTO_SIZE", (60, 40))
    source = pictures(tmp_path / "source", (50, 50), (70, 50))
    hidden = photographs._photo_and_mask(source, tmp_path)
    photo = open_photo(tmp_path / "photo.jpg")
    assert photo.orientation == 6 and photo.stored.shape[:2] == (60, 40) and photo.extras["icc_profile"]
    cropped = np.array(Image.open(source / "p1.jpg").crop((0, 0, 60, 40)))
    assert photo.upright.shape[:2] == hidden.shape == (40, 60)
    assert abs(photo.upright.astype(int) - cropped).mean() < 20
