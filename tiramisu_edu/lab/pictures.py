"""Picture files of any kind -> image tensors in [-1, 1], grey levels or labels, and back.

A file is read for what it means, or the notice says how it is read, or it is refused:

    1, L, LA, P, PA, RGB, RGBA     as they are; transparency is laid on white
    YCbCr, CMYK, LAB               turned into red, green and blue
    16-bit grey                    white is 65535 (4095 in 12-bit TIFF files), and 1 where nothing exceeds 1
    32-bit integers, floats        white is the first of 1, 255, 65535 (floats: 1, 255) that nothing exceeds
    signed bytes, negative numbers, NaN, and what exceeds every white      refused
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps
from torch import Tensor

from ..errors import ImageError
from ..files import atomic_path

WRITTEN = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
"""How the name of a saved picture ends -> its format."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read. Not all that Pillow knows: it reads PostScript by starting another program."""
MAX_PIXELS = 2**26
"""More are not decoded: a file of a few kB can claim gigabytes of memory."""

_MODES = {1: "L", 3: "RGB"}
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF files


class Picture(NamedTuple):
    """A picture made ready for a model."""

    image: Tensor
    """(1, C, H, W) float32 in [-1, 1]."""
    notice: str
    """What was changed on the way, in words to show the user; empty where nothing was."""


def load_image(path: str | Path, size: tuple[int, int], channels: int, *, crop: bool = False) -> Picture:
    """Reads a picture file and brings it to the model's size and channels, saying what it changed.

    image = 2 * picture / 255 - 1, after the camera's rotation (EXIF) is applied, transparency is laid on
    white, colours become grey or grey becomes colours, and the picture is resized (area average when it
    shrinks, bicubic when it grows).

    Args:
        path: a BMP, GIF, JPEG, PNG, PPM, TIFF or WEBP file.
        size: (height, width) in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        crop: first cut the largest piece of the right proportions out of the middle.

    Returns:
        Picture(image (1, C, H, W), notice).

    Raises:
        ImageError: as `open_picture`, and for channels other than 1 and 3.
    """
    if channels not in _MODES:
        raise ImageError(f"channels must be 1 (grey) or 3 (red, green, blue), not {channels}")
    picture, notices = _read(path)
    if channels == 1 and _has_colours(picture):
        notices.append("its colours are turned into grey levels")
    flat = picture.convert(_MODES[channels])

    height, width = size
    if crop and flat.width * height != flat.height * width:
        notices.append("its middle is cut out")
        flat = _middle(flat, width, height)
    if flat.size != (width, height):
        stretched = flat.width * height != flat.height * width
        notices.append(
            f"it is resized from {flat.width} x {flat.height} to {width} x {height} pixels (width x height)"
            + (", which changes its proportions" if stretched else "")
        )
        flat = _resize(flat, width, height)
    return Picture(_to_tensor(flat), f"{path}: {'; '.join(notices)}" if notices else "")


def save_image(image: Tensor, path: str | Path, *, scale: int = 1) -> None:
    """Writes one image in the format that the file's name says, each pixel as a square of `scale` pixels.

    Args:
        image: (C, H, W) or (1, C, H, W) in [-1, 1], C = 1 or 3; values outside are clipped.
        path: the file; its name ends in one of WRITTEN. JPEG changes the values a little, the others do not.
        scale: how many pixels wide a pixel becomes, >= 1.

    Raises:
        ImageError: for another shape, and as `check_output`.
    """
    pixels = image.detach().squeeze(0) if image.dim() == 4 else image.detach()
    if pixels.dim() != 3 or pixels.shape[0] not in _MODES:
        raise ImageError(f"one image of shape (C, H, W) with C = 1 or 3 is expected, not {tuple(image.shape)}")
    check_output(path)
    levels = ((pixels.float().cpu().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    levels = levels.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    grid = levels.permute(1, 2, 0).numpy()  # (H, W, C)
    picture = Image.fromarray(grid[..., 0] if pixels.shape[0] == 1 else grid)
    with atomic_path(path) as unfinished:
        picture.save(unfinished, format=WRITTEN[Path(path).suffix.lower()], quality=95, lossless=True)


def check_output(path: str | Path, *inputs: str | Path, suffixes: Iterable[str] = WRITTEN) -> None:
    """Refuses a file that cannot be written, before the work for it begins.

    Args:
        path: the file to write.
        inputs: files that are read; none may be overwritten, under any of its names.
        suffixes: how the name may end.

    Raises:
        ImageError: for another suffix, a folder, an input, or a place where no file can be made.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ImageError(f"{path}: the name must end in {', '.join(suffixes)}, which is the format it is written in")
    if path.is_dir():
        raise ImageError(f"{path}: this is a folder; name a file to write")
    if any(path.exists() and Path(source).exists() and path.samefile(source) for source in inputs):
        raise ImageError(f"{path}: this file is read and would be overwritten; choose another name")
    place = next(parent for parent in Path(os.path.realpath(path)).parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ImageError(f"{path}: no file can be made here ({place} is no folder that may be written to)")


def open_picture(path: str | Path) -> Image.Image:
    """A picture file in red, green and blue, turned upright, transparency laid on white.

    Raises:
        ImageError: for a file that is missing, no regular file, not a picture, damaged, larger than MAX_PIXELS, or
            with numbers whose white is not known.
    """
    return _read(path)[0]


def open_grey(path: str | Path) -> tuple[Tensor, list[str]]:
    """The one channel of a picture file, (H, W) uint8, and how it was read.

    Raises:
        ImageError: as `open_picture`, and for colours or transparency.
    """
    with opened(path) as (picture, notices):
        return torch.from_numpy(np.array(_one_channel(_eight_bits(picture, notices)))), notices


def open_labels(path: str | Path) -> tuple[Tensor, list[str]]:
    """The whole numbers of a label picture as they are stored, (H, W) long, and how they were read.

    They are the numbers of a palette, whatever its colours, integers, whole floats, or grey levels.

    Raises:
        ImageError: as `open_picture`, and for colours without a palette, transparency, or fractions.
    """
    with opened(path) as (picture, notices):
        if len(picture.getbands()) > 1:
            picture = _one_channel(_eight_bits(picture, notices))
        numbers = np.asarray(picture)
        if not (np.abs(numbers) < 2**31).all() or (numbers % 1 != 0).any():
            raise ImageError("its numbers are no whole numbers; save the labels as integers")
        return torch.from_numpy(numbers.astype(np.int64)), notices


def _read(path: str | Path) -> tuple[Image.Image, list[str]]:
    """`open_picture`, and what was decided on the way."""
    with opened(path) as (stored, notices):
        picture = _eight_bits(stored, notices)
        if picture.mode == "RGB":
            return picture, notices
        notices.append("its transparency is laid on white")
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture)
        return flat, notices


@contextmanager
def opened(path: str | Path, *, upright: bool = True) -> Iterator[tuple[Image.Image, list[str]]]:
    """The picture as it is stored, turned upright, and a list for notices; any failure becomes one ImageError."""
    is_read = False
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ImageError("this is a folder or a device; name one picture file")
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if picture.mode == "L" and getattr(picture, "tag_v2", {}).get(_SAMPLE_FORMAT, [1])[0] == 2:
                raise ImageError("its bytes are signed; save it with numbers from 0 to 255")
            several = getattr(picture, "is_animated", False) and picture.format != "MPO"  # a photo with its preview
            notices = ["the first of its frames is taken"] if several else []
            picture.load()
            if upright:
                _turn_upright(picture, notices)
            is_read = True
            yield picture, notices
    except ImageError as reason:
        raise ImageError(f"{path}: {reason}") from None
    except (FileNotFoundError, PermissionError) as reason:
        raise ImageError(f"{path}: {str(reason.strerror).lower()}; check the path") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{path}: the picture has more than {MAX_PIXELS} pixels; make it smaller first") from None
    except Exception as reason:
        if is_read or isinstance(reason, MemoryError):  # a fault of whoever asked, not of the file
            raise
        what = f"this is not a picture that can be read ({type(reason).__name__}: {reason})"
        raise ImageError(f"{path}: {what}; save it again as PNG or JPEG") from None


def _turn_upright(picture: Image.Image, notices: list[str]) -> None:
    """Turns the picture as the camera's EXIF data say, if they can be read."""
    try:
        picture.getexif()  # kept by the picture
        picture.info.pop("exif", None)  # so that damaged parts are not written again
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:
        notices.append("its damaged EXIF data are dropped: it may lie on its side")


def _eight_bits(picture: Image.Image, notices: list[str]) -> Image.Image:
    """The picture in RGB, or in RGBA where any pixel is see-through."""
    if picture.mode[0] in "IF":
        picture = _scaled(picture, notices)
    if picture.mode == "La":  # grey levels multiplied by their opacity
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            return picture
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _scaled(picture: Image.Image, notices: list[str]) -> Image.Image:
    """Integers and floats as grey levels of 8 bits; Pillow's own conversion clips them."""
    numbers, tags = np.asarray(picture, dtype=np.float32), getattr(picture, "tag_v2", {})
    whites = {"I": (1, 255, 65535), "F": (1, 255)}.get(picture.mode, (1, 2 ** tags.get(_BITS, [16])[0] - 1))
    whites = (65535,) if picture.mode == "I" and picture.format == "PPM" else whites  # Pillow has scaled it
    low, high = numbers.min(), numbers.max()
    white = next((white for white in whites if 0 <= low <= high <= white), None)
    if white is None:
        raise ImageError(f"its numbers run from {low:g} to {high:g}: which is white? Save it with 8 or 16 bits")
    notices.append(f"its numbers, {low:g} to {high:g}, are read with 0 as black and {white} as white")
    levels = (numbers * (255 / white) + 0.5).astype(np.uint8)
    inverted = tags.get(_PHOTOMETRIC) == 0  # 0 is white, which Pillow heeds in pictures of 8 bits only
    grey = Image.fromarray(255 - levels if inverted else levels)
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray(numbers != picture.info["transparency"]).convert("L"))
    return grey


def _one_channel(picture: Image.Image) -> Image.Image:
    """The grey levels of a mask or label picture in RGB."""
    if picture.mode == "RGBA" or _has_colours(picture):
        fault = "a see-through (alpha) channel" if picture.mode == "RGBA" else "colours in its 3 channels"
        raise ImageError(f"it has {fault}, and a mask or label picture needs one channel; save it as greyscale")
    return picture.getchannel(0)


def _has_colours(picture: Image.Image) -> bool:
    """Whether any pixel's red, green and blue differ."""
    red, green, blue = picture.split()
    return any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The largest piece with the proportions width : height, from the middle."""
    scale = min(picture.width / width, picture.height / height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (picture.width - wide) // 2, (picture.height - high) // 2
    return picture.crop((left, top, left + wide, top + high))


def _resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Area average when it shrinks, bicubic when it grows."""
    shrinks = picture.width >= width and picture.height >= height
    return picture.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC)


def _to_tensor(picture: Image.Image) -> Tensor:
    """(1, C, H, W) float32 in [-1, 1]."""
    levels = torch.from_numpy(np.array(picture, dtype=np.float32))
    levels = levels[None] if levels.dim() == 2 else levels.permute(2, 0, 1)
    return (levels / 127.5 - 1.0).unsqueeze(0).contiguous()
