"""Picture files of any kind -> image tensors in [-1, 1], and back."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .errors import ImageError
from .files import atomic_path

_MODES = {1: "L", 3: "RGB"}
WRITTEN = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


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
        path: a PNG, JPEG or other file that Pillow reads.
        size: (height, width) in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        crop: first cut the largest piece of the right proportions out of the middle.

    Returns:
        Picture(image (1, C, H, W), notice).

    Raises:
        ImageError: for a missing file, a file that is no picture, or channels other than 1 and 3.
    """
    if channels not in _MODES:
        raise ImageError(f"channels must be 1 (grey) or 3 (red, green, blue), not {channels}")
    picture, notices = open_picture(path), []

    flat = _on_white(picture)
    if flat is not picture:
        notices.append("its transparency is laid on white")
    if channels == 1 and _has_colours(flat):
        notices.append("its colours are turned into grey levels")
    flat = flat.convert(_MODES[channels])

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
    """Writes one image in the format of its suffix, each pixel as a square of `scale` pixels.

    Args:
        image: (C, H, W) or (1, C, H, W) in [-1, 1], C = 1 or 3; values outside are clipped.
        path: the file; its name ends in one of WRITTEN.
        scale: how many pixels wide a pixel becomes, >= 1.

    Raises:
        ImageError: for another shape.
    """
    pixels = image.detach().squeeze(0) if image.dim() == 4 else image.detach()
    if pixels.dim() != 3 or pixels.shape[0] not in _MODES:
        raise ImageError(f"one image of shape (C, H, W) with C = 1 or 3 is expected, not {tuple(image.shape)}")
    levels = ((pixels.float().cpu().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    levels = levels.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    grid = levels.permute(1, 2, 0).numpy()  # (H, W, C)
    picture = Image.fromarray(grid[..., 0] if pixels.shape[0] == 1 else grid)
    with atomic_path(path) as unfinished:
        picture.save(unfinished, format=WRITTEN[Path(path).suffix.lower()])


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
    """Opens and decodes a picture file, turned upright.

    Raises:
        ImageError: for a file that is missing, a folder, not a picture, or damaged.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            return ImageOps.exif_transpose(_eight_bits(opened))
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: this is a folder; name one picture file in it") from None
    except PermissionError:
        raise ImageError(f"{path}: the file may not be read; change its permissions") from None
    except Image.DecompressionBombError as reason:
        raise ImageError(f"{path}: the picture is too large to open ({reason}); make it smaller first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as reason:
        raise ImageError(
            f"{path}: this is not a picture that can be read ({reason}); save it again as PNG or JPEG"
        ) from None


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey pictures at 8 bits; Pillow's own conversion clips them instead of scaling."""
    if not picture.mode.startswith("I"):
        return picture
    levels = (np.asarray(picture).astype(np.int64).clip(0, 65535) / 257).round().astype(np.uint8)
    return Image.fromarray(levels)


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture laid on white where it is see-through; the same object where it is not."""
    if not picture.has_transparency_data:
        return picture
    layered = picture.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return picture
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _has_colours(picture: Image.Image) -> bool:
    """Whether any pixel's red, green and blue differ."""
    red, green, blue = picture.convert("RGB").split()
    return red.tobytes() != green.tobytes() or green.tobytes() != blue.tobytes()


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
