"""Photographs of any size: where the windows lie, that nothing outside the mask changes, and what a file keeps."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from torch.nn.functional import interpolate

from tiramisu_edu.errors import ImageError
from tiramisu_edu.lab.photo_files import Photo, completed, open_photo, save_photo
from tiramisu_edu.lab.pictures import opened
from tiramisu_edu.photo import windows

TAG = 274


def smooth(height, width, channels=3):
    """A photograph of smooth colours, (H, W, C) uint8."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(4 * rows + k) * np.cos(3 * columns - k) for k in range(channels)]
    return ((np.stack(waves, -1) + 1) * 127).round().astype(np.uint8)


def mean_colour(image, known):
    """A model that paints the mean of what is known."""
    assert image.shape[0] == known.shape[0] == 1 and known.shape[1] == 1
    mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
    return torch.where(known, image, mean)


def holes(shape, *boxes):
    hidden = np.zeros(shape, dtype=bool)
    for top, left, height, width in boxes:
        hidden[top : top + height, left : left + width] = True
    return hidden


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (32, 32), (20, 40)])
@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
@pytest.mark.parametrize("box", [(0, 0, 5, 5), (12, 30, 8, 10), (1, 1, 18, 30), (19, 0, 1, 32)])
def test_windows_hold_their_hole_in_the_proportions_of_the_model(shape, size, box):
    hidden = holes(shape, box)
    ((window, filled),) = windows(hidden, size)
    assert (filled == hidden[window.inside]).all() and filled.sum() == hidden.sum()
    sides = [part.stop - part.start + sum(more) for part, more in zip(window.inside, window.beyond)]
    assert sides == [int(np.ceil(side * window.scale)) for side in size] and window.scale >= 1
    hole = max(extent / side for extent, side in zip(box[2:], size))
    assert window.scale <= max(1, 2 * hole) + 1e-9
    for part, more, whole in zip(window.inside, window.beyond, shape):
        assert 0 <= part.start < part.stop <= whole and (sum(more) == 0 or part == slice(0, whole))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [1, 3, 4])
def test_only_hidden_pixels_change(channels, stored):
    array = smooth(150, 220, stored)
    photo = Photo(array[..., 0] if stored == 1 else array, 1, {})
    hidden = holes((150, 220), (10, 10, 20, 30), (12, 60, 3, 3), (100, 150, 50, 70))
    calls = []

    def complete(image, known):
        calls.append((image.shape, known.shape))
        return mean_colour(image, known)

    done = completed(photo, hidden, (32, 32), channels, complete)
    assert (done.stored[~hidden] == photo.stored[~hidden]).all() and (photo.stored == array.squeeze()).all()
    assert set(calls) == {((1, channels, 32, 32), (1, 1, 32, 32))} and len(calls) <= 3
    if stored == 4:
        assert (done.stored[..., 3] == array[..., 3]).all()
    error = np.abs(done.upright[hidden].astype(float) - photo.upright[hidden]).mean()
    assert error > 0


def test_a_completion_meets_the_photograph_at_the_edge():
    """The model is 40 levels too bright everywhere; at the edge of the hole that is gone, in its middle it is not."""
    array = np.full((256, 256, 3), 100, dtype=np.uint8)
    hidden = holes((256, 256), (64, 64, 128, 128))
    bright = lambda image, known: torch.where(known, image, image.new_tensor(140 / 127.5 - 1))  # noqa: E731
    done = completed(Photo(array, 1, {}), hidden, (32, 32), 3, bright).stored.astype(int)
    assert abs(done[128, 128, 0] - 140) <= 1 and abs(done[128, 64, 0] - 100) <= 8


def test_a_model_that_knows_the_picture_gives_it_back():
    array = smooth(256, 384)
    hidden = holes((256, 384), (80, 100, 60, 90))
    truth = torch.from_numpy(array.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    ((window, _),) = windows(hidden, (64, 64))
    part = truth[:, :, window.inside[0], window.inside[1]]
    done = completed(Photo(array, 1, {}), hidden, (64, 64), 3, lambda *_: interpolate(part, (64, 64), mode="area"))
    assert np.abs(done.stored.astype(int) - array).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_orientation_exif_and_profile_are_kept(tmp_path, orientation, suffix):
    """The mask lies on the photo as it is seen; the file keeps its pixels as they are stored."""
    exif = Image.Exif()
    exif[TAG], exif[271] = orientation, "A camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path, after_path = tmp_path / f"photo{suffix}", tmp_path / f"after{suffix}"
    Image.fromarray(smooth(40, 60)).save(path, exif=exif, icc_profile=profile, lossless=True)
    photo = open_photo(path)
    seen = (40, 60) if orientation < 5 else (60, 40)
    assert photo.upright.shape == (*seen, 3)
    hidden = holes(seen, (3, 5, 10, 8))
    save_photo(completed(photo, hidden, (16, 16), 3, mean_colour), after_path)
    with Image.open(after_path) as after, Image.open(path) as before:
        assert after.info["icc_profile"] == profile and after.getexif().get(TAG, 1) == (
            1 if suffix == ".tif" else orientation
        )
        assert after.getexif()[271] == "A camera" and after.size == before.size
        old, new = (np.array(ImageOps.exif_transpose(picture)) for picture in (before, after))
    assert (old[~hidden] == new[~hidden]).all() and (old[hidden] != new[hidden]).any()
    assert (photo.upright == old).all()


def test_what_is_refused(tmp_path):
    photo = Photo(smooth(4, 4), 1, {})
    with pytest.raises(ImageError, match="keep every pixel"):
        save_photo(photo, tmp_path / "a.jpg")
    Image.new("CMYK", (4, 4)).save(tmp_path / "cmyk.jpg")
    Image.new("I;16", (4, 4)).save(tmp_path / "deep.png")
    for name in ("cmyk.jpg", "deep.png"):
        with pytest.raises(ImageError, match="8 bits a channel"):
            open_photo(tmp_path / name)
    Image.fromarray(smooth(4, 4)).quantize(8).save(tmp_path / "palette.png")
    assert open_photo(tmp_path / "palette.png").upright.shape == (4, 4, 3)


def test_a_fault_of_whoever_asked_is_none_of_the_picture(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(AttributeError), opened(tmp_path / "a.png") as (picture, _):
        _ = picture.no_such_name
