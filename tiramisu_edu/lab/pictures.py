"""Picture files of any kind -> image tensors in [-1, 1], grey levels or labels, and back.

Pixels of 8 bits a channel are read for what they mean, and the notice says what is done to them; others are refused:

    1, L, LA, P, PA, RGB, RGBA     as they are; transparency is laid on white
    YCbCr, CMYK, LAB               turned into red, green and blue
    16 bits, 32 bits, floats       refused: nothing in the file tells which number is white
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
_READ = (*"1LP", "LA", "PA", "RGB", "RGBA", "YCbCr", "CMYK", "LAB")


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
            of other pixels than 8 bits a channel.
    """
    return _read(path)[0]


def open_levels(path: str | Path, *, labels: bool = False) -> tuple[Tensor, list[str]]:
    """The one channel of a mask or label picture, (H, W) uint8, and how it was read.

    With `labels`, the numbers of a palette are taken, whatever its colours.

    Raises:
        ImageError: as `open_picture`, and for colours or transparency.
    """
    with opened(path) as (picture, notices):
        if not (labels and picture.mode == "P"):
            picture = _one_channel(_with_colours(picture))
        return torch.from_numpy(np.array(picture)), notices


def _read(path: str | Path) -> tuple[Image.Image, list[str]]:
    """`open_picture`, and what was decided on the way."""
    with opened(path) as (stored, notices):
        picture = _with_colours(stored)
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
            if picture.mode not in _READ:
                raise ImageError(f"its pixels are {picture.mode}; save it as grey or RGB with 8 bits a channel")
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


def _with_colours(picture: Image.Image) -> Image.Image:
    """The picture in RGB, or in RGBA where any pixel is see-through."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            return picture
    return picture.convert("RGB")


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
