"""Every kind of picture, mask and label file: read for what it means, or announced, or refused in one sentence."""

import io
import os
import random
import struct
import zlib
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from tiramisu_edu.errors import ImageError
from tiramisu_edu.lab.photo_files import load_mask
from tiramisu_edu.lab.pictures import (
    FORMATS,
    WRITTEN,
    check_output,
    load_image,
    open_levels,
    open_picture,
    save_image,
)

BOARD = np.array([[0, 1], [1, 0]])  # 1 is white


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def stored(numbers, kind, mode=None, **options):
    """The file of an array; `mode` is converted to."""
    picture = Image.fromarray(np.asarray(numbers))
    return encoded(picture.convert(mode) if mode else picture, kind, **options)


def indexed(numbers, colours):
    """A picture of palette indices in these colours."""
    picture = Image.fromarray(numbers.astype(np.uint8), "L")
    picture.putpalette(colours)
    return picture


def tiff(data, bits=8, samples=1, photometric=1, opacity=(), numbers=1):
    """A TIFF file of 2 x 2 pixels, made by hand, for kinds that Pillow reads but does not write."""
    tags = {256: [2], 257: [2], 258: [bits] * samples, 259: [1], 262: [photometric], 273: [0], 277: [samples]}
    tags |= {278: [2], 279: [len(data)], 338: opacity, 339: [numbers] * samples}
    tags = {tag: values for tag, values in tags.items() if len(values)}
    end = 8 + 2 + 12 * len(tags) + 4
    tags[273] = [end + 16]
    body, extra = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            extra, packed = extra + packed, struct.pack("<I", end + len(extra))
        body += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body + b"\0" * 4 + extra.ljust(16, b"\0") + data


def pixels(*values, kind="B"):
    return struct.pack(f"<{len(values)}{kind}", *values)


GREY, DEEP = (BOARD * 255).astype(np.uint8), (BOARD * 65535).astype(np.uint16)
COLOURED, CLEAR = "colours in its 3 channels", "see-through"
RGB, EIGHT = np.stack([GREY] * 3, -1), "8 bits a channel"
GREY_PNG = stored(GREY, "PNG")

# name: (file, what the notice holds, the number of white as a label)
BLACK_AND_WHITE = {
    "1": (stored(GREY, "PNG", "1"), "", 255),
    "L": (GREY_PNG, "", 255),
    "LA": (stored(GREY, "PNG", "LA"), "", 255),
    "P": (encoded(indexed(BOARD, (0, 0, 0, 255, 255, 255)), "PNG"), "", 1),
    "PA": (stored(GREY, "TIFF", "PA"), "", 255),
    "RGB": (stored(RGB, "BMP"), "", 255),
    "RGBA": (stored(RGB, "WEBP", "RGBA", lossless=True), "", 255),
    "CMYK": (stored(RGB, "TIFF", "CMYK"), "", 255),
    "CMYK jpeg": (stored(RGB, "JPEG", "CMYK", quality=100), "", 255),
    "YCbCr": (stored(RGB, "TIFF", "YCbCr"), "", 255),
    "gif": (stored(GREY, "GIF"), "", None),
    "frames": (stored(GREY, "GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]), "first of its", None),
}
# name: (file, why it is no picture, why it is no mask; None where it is one)
ODD = {
    "16 bits": (stored(DEEP, "PNG"), EIGHT, EIGHT),
    "16 bits big-endian": (encoded(Image.frombytes("I;16B", (2, 2), DEEP.tobytes()), "TIFF"), EIGHT, EIGHT),
    "12 bits": (tiff(bytes.fromhex("000fff fff000"), 12), EIGHT, EIGHT),
    "32 bits": (stored(BOARD.astype(np.int32), "TIFF"), EIGHT, EIGHT),
    "float": (stored(BOARD.astype(np.float32), "TIFF"), EIGHT, EIGHT),
    "premultiplied": (tiff(pixels(0, 255, 255, 255, 255, 255, 0, 255), samples=2, opacity=[1]), EIGHT, EIGHT),
    "64 bits": (tiff(pixels(0, 1, 1, 0, kind="d"), 64, numbers=3), "not a picture that can be read", "not a picture"),
    "red": (encoded(indexed(BOARD, (0, 0, 0, 255, 0, 0)), "PNG"), None, COLOURED),
    "P clear": (encoded(indexed(BOARD, (0, 0, 0, 9, 9, 9)), "PNG", transparency=1), None, CLEAR),
    "LA clear": (encoded(Image.new("LA", (2, 2)), "PNG"), None, CLEAR),
}


def written(tmp_path, content, name="picture"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.filterwarnings("ignore:.* is a mask:UserWarning")
@pytest.mark.parametrize("kind", BLACK_AND_WHITE)
def test_black_is_black_and_white_is_white_in_every_kind_of_file(tmp_path, kind):
    """As a picture in grey and in colour, as a mask, and as labels."""
    content, notice, white = BLACK_AND_WHITE[kind]
    path = written(tmp_path, content)
    expected = 2.0 * torch.from_numpy(BOARD) - 1
    for channels in (1, 3):
        image, found = load_image(path, (2, 2), channels)
        torch.testing.assert_close(image, expected.float().expand(1, channels, 2, 2))
        assert (notice in found) if notice else (found == "")
    assert torch.equal(load_mask(path, 2, 2)[0], torch.from_numpy(BOARD == 0))
    if white is not None:
        assert torch.equal(open_levels(path, labels=True)[0], torch.from_numpy(BOARD * white))


@pytest.mark.parametrize("kind", ODD)
def test_what_has_no_meaning_is_refused(tmp_path, kind):
    content, no_picture, no_mask = ODD[kind]
    path = written(tmp_path, content)
    if no_picture:
        with pytest.raises(ImageError, match=no_picture):
            load_image(path, (2, 2), 3)
    else:
        assert load_image(path, (2, 2), 3).notice or kind == "red"
    with pytest.raises(ImageError, match=no_mask):
        load_mask(path, 2, 2)


def test_lab_colours_are_turned_into_red_green_and_blue(tmp_path):
    path = written(tmp_path, tiff(pixels(0, 0, 0, 255, 0, 0, 255, 0, 0, 0, 0, 0), samples=3, photometric=8))
    for channels in (1, 3):
        image = load_image(path, (2, 2), channels).image
        torch.testing.assert_close(image[0, 0], 2.0 * torch.from_numpy(BOARD).float() - 1, atol=1 / 127, rtol=0)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_a_mask_of_0_and_1(tmp_path, mode):
    """What `Image.fromarray` makes of a boolean array: accepted, and told where it is not what the format says."""
    path = tmp_path / "mask.png"
    picture = Image.fromarray(BOARD.astype(bool) if mode == "1" else BOARD.astype(np.uint8)).convert(mode)
    picture.save(path)
    with nullcontext() if mode == "1" else pytest.warns(UserWarning, match=r"mask.png is a mask \(no level exceeds 1"):
        known = load_mask(path, 2, 2)
    assert torch.equal(known[0], torch.from_numpy(BOARD == 0))


LABELS = np.array([[0, 3], [7, 3]])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(indexed(LABELS, (9, 9, 9) * 8), "PNG"), LABELS),  # indices, whatever the colours
        (stored(np.stack([LABELS, LABELS, 0 * LABELS], -1).astype(np.uint8), "PNG"), COLOURED),
        (stored(np.stack([LABELS] * 3, -1).astype(np.uint8), "PNG"), LABELS),
        (encoded(Image.new("LA", (2, 2)), "PNG"), CLEAR),
    ],
)
def test_labels_are_the_numbers_in_the_file(tmp_path, content, expected):
    path = written(tmp_path, content)
    if isinstance(expected, str):
        with pytest.raises(ImageError, match=expected):
            open_levels(path, labels=True)
    else:
        labels, notices = open_levels(path, labels=True)
        assert labels.dtype == torch.uint8 and labels.tolist() == expected.tolist() and notices == []


def test_postscript_named_like_a_picture_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **options: pytest.fail("a program was started"))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(ImageError, match="not a picture"):
        load_image(written(tmp_path, program, "cat.png"), (2, 2), 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cat.png")
    for path in (tmp_path / "cat.png", "/dev/zero"):
        with pytest.raises(ImageError, match="a folder or a device"):
            load_image(path, (2, 2), 1)


@pytest.mark.parametrize("side", [8200, 10_000, 60_000])
def test_bombs_are_not_decoded(tmp_path, side):
    """A few bytes that claim gigabytes; Pillow itself is silent, warns (here an error), and refuses."""
    header = b"IHDR" + struct.pack(">II", side, side) + b"\x08\x02\0\0\0"
    content = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + GREY_PNG[33:]
    with pytest.raises(ImageError, match="more than 67108864 pixels"):
        load_image(written(tmp_path, content), (2, 2), 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_file_is_refused_in_one_sentence(tmp_path, kind):
    noise = np.random.default_rng(0).integers(256, size=(16, 24, 3)).astype(np.uint8)
    content = stored(noise, kind)
    for length in (0, 4, 20, len(content) // 3, 2 * len(content) // 3, len(content) - 30):
        with pytest.raises(ImageError, match=r"picture: this is not a picture that can be read \(.*\); save it again"):
            open_picture(written(tmp_path, content[:length]))
    assert open_picture(written(tmp_path, content)).size == (24, 16)


def exif(damage=b""):
    """The camera was turned, and an entry that makes no sense."""
    turned = struct.pack("<HHII", 0x0112, 3, 1, 6)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1 + bool(damage)) + turned + damage + b"\0" * 4


@pytest.mark.filterwarnings("default")  # Pillow warns of some damages itself
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_never_stops_a_picture(tmp_path, kind):
    """Where the turn can still be read it is made; else the notice says what was dropped."""
    wide = np.zeros((16, 32, 3), dtype=np.uint8)
    odd = [struct.pack("<HHII", tag, type, 1, 8) for tag in (0x010F, 0x8769, 0x8825, 0xA005) for type in (2, 4, 5, 77)]
    for damage in (b"", *odd):
        path = written(tmp_path, stored(wide, kind, exif=exif(damage)))
        assert open_picture(path).size == (16, 32) or "damaged EXIF" in load_image(path, (16, 32), 3).notice
    noise = random.Random(0)
    for _ in range(100):
        content = bytearray(exif(odd[noise.randrange(len(odd))]))
        for _ in range(noise.randint(1, 4)):
            content[noise.randrange(6, len(content))] = noise.randrange(256)
        open_picture(written(tmp_path, stored(wide, kind, exif=bytes(content))))


@pytest.mark.parametrize(("suffix", "kind"), WRITTEN.items())
def test_a_picture_is_saved_in_the_format_of_its_name(tmp_path, suffix, kind):
    image = torch.linspace(-1, 1, 64).expand(3, 64, 64)
    path = tmp_path / f"new{suffix.upper()}"
    save_image(image, path)
    with Image.open(path) as picture:
        assert picture.format == kind
    found = load_image(path, (64, 64), 3).image[0]
    torch.testing.assert_close(found, image, atol=4 / 127.5 if kind == "JPEG" else 1 / 255, rtol=0)


def test_outputs_are_checked_before_the_work(tmp_path):
    photo = written(tmp_path, GREY_PNG, "photo.png")
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "folder.png").mkdir()
    for path in ("new.png", "new/deep/sheet.WEBP", "link.png"):
        check_output(tmp_path / path, tmp_path / "other.png")
    check_output(tmp_path / "new.json", photo, suffixes=[".json"])
    faults = {
        "photo.png": "would be overwritten",
        "link.png": "would be overwritten",
        "folder.png": "this is a folder",
        "photo.png/new.png": "no file can be made here",
        "new.bmp": r"must end in \.jpeg, \.jpg, \.png",
        "new": "must end in",
    }
    for path, fault in faults.items():
        with pytest.raises(ImageError, match=fault):
            check_output(tmp_path / path, tmp_path / "missing.png", photo)
    with pytest.raises(ImageError, match="must end in"):
        save_image(torch.zeros(1, 2, 2), tmp_path / "new.xyz")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.png", "link.png", "photo.png"]
