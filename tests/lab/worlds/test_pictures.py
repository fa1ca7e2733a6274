"""Picture files: values, rotation, transparency, sizes, and what the notice tells."""

import numpy as np
import pytest
import torch
from PIL import Image

from tiramisu_edu.errors import ImageError
from tiramisu_edu.lab.pictures import load_image, save_image


def save(path, values, **options):
    Image.fromarray(np.asarray(values)).save(path, **options)
    return path


def test_values_run_from_minus_one_to_one(tmp_path):
    path = save(tmp_path / "grey.png", np.array([[0, 51], [102, 255]], dtype=np.uint8))
    image, notice = load_image(path, (2, 2), 1)
    torch.testing.assert_close(image, torch.tensor([[[[-1.0, -0.6], [-0.2, 1.0]]]]))
    assert notice == ""


def test_colours_become_grey_and_grey_becomes_colours(tmp_path):
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 255
    image, notice = load_image(save(tmp_path / "red.png", red), (4, 4), 1)
    assert image.shape == (1, 1, 4, 4)
    assert "grey levels" in notice
    image, notice = load_image(save(tmp_path / "grey.png", red[..., 0]), (4, 4), 3)
    assert image.shape == (1, 3, 4, 4)
    assert notice == ""


def test_transparency_is_laid_on_white(tmp_path):
    clear = np.zeros((2, 2, 4), dtype=np.uint8)
    image, notice = load_image(save(tmp_path / "clear.png", clear), (2, 2), 3)
    assert (image == 1.0).all()
    assert "white" in notice
    opaque = np.full((2, 2, 4), 255, dtype=np.uint8)
    assert load_image(save(tmp_path / "opaque.png", opaque), (2, 2), 3).notice == ""


def test_camera_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the picture rotated clockwise
    values = np.array([[0, 0, 0, 255]], dtype=np.uint8)
    image, _ = load_image(save(tmp_path / "turned.png", values, exif=exif), (4, 1), 1)
    assert image.flatten().tolist() == [-1, -1, -1, 1]


def test_resizing_averages_and_says_so(tmp_path):
    values = np.zeros((16, 32), dtype=np.uint8)
    values[:, 1::2] = 255
    image, notice = load_image(save(tmp_path / "wide.png", values), (8, 8), 1)
    assert image.abs().max() < 0.01
    assert "resized from 32 x 16 to 8 x 8" in notice
    assert "proportions" in notice
    assert "proportions" not in load_image(tmp_path / "wide.png", (8, 16), 1).notice
    assert load_image(tmp_path / "wide.png", (20, 40), 1).image.shape == (1, 1, 20, 40)


def test_files_that_are_no_pictures_are_explained(tmp_path):
    text = tmp_path / "notes.png"
    text.write_text("hello")
    for path, message in [
        (text, "not a picture"),
        (tmp_path / "no.png", "no such file"),
        (tmp_path, "folder"),
    ]:
        with pytest.raises(ImageError, match=message):
            load_image(path, (8, 8), 1)
    with pytest.raises(ImageError, match="channels must be 1"):
        load_image(text, (8, 8), 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_saved_pictures_come_back(tmp_path, channels):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (1, channels, 5, 7), generator=generator) / 127.5 - 1
    save_image(image, tmp_path / "out.png")
    torch.testing.assert_close(load_image(tmp_path / "out.png", (5, 7), channels).image, image)
    save_image(image[0], tmp_path / "big.png", scale=3)
    assert load_image(tmp_path / "big.png", (15, 21), channels).notice == ""
    with pytest.raises(ImageError, match="one image of shape"):
        save_image(image.expand(2, -1, -1, -1), tmp_path / "two.png")


def test_the_middle_is_cut_out(tmp_path):
    """A wide picture keeps its proportions: columns 2 to 5 of 8, then each 2 x 2 block averaged."""
    values = np.arange(32, dtype=np.uint8).reshape(4, 8) * 8
    image, notice = load_image(save(tmp_path / "wide.png", values), (2, 2), 1, crop=True)
    expected = values[:, 2:6].reshape(2, 2, 2, 2).mean(axis=(1, 3))
    assert ((image[0, 0] + 1) * 127.5).round().tolist() == expected.round().tolist()
    assert "its middle is cut out" in notice and "proportions" not in notice
    tall, _ = load_image(save(tmp_path / "tall.png", values.T), (2, 2), 1, crop=True)
    assert torch.equal(tall, image.mT)
