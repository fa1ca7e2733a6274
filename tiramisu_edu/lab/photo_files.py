"""A photograph and a mask of one's own, from files; EXIF data, with the camera's rotation, and colour profile stay.

In a mask file white is what is to be filled in, as in diffusers and in photo editors.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import ImageError
from ..files import atomic_path
from ..photo import Complete, complete_photo
from .pictures import WRITTEN, open_levels, opened

LOSSLESS = {suffix: kind for suffix, kind in WRITTEN.items() if kind != "JPEG"}
ORIENTATION = 274  # the tag of EXIF
DESCRIPTIONS = (270, 271, 272, 305, 306, 315, 33432)  # title, maker, camera, program, date, artist, copyright


class Photo(NamedTuple):
    """A photograph as it is stored.

    Attributes:
        stored: (H, W), (H, W, 3) or (H, W, 4) uint8, as the camera held it.
        orientation: of EXIF, 1 to 8: how to turn it upright.
        extras: EXIF data and colour profile, as Pillow takes them.
    """

    stored: np.ndarray
    orientation: int
    extras: dict[str, Any]

    @property
    def upright(self) -> np.ndarray:
        """A view of `stored`, (H, W, C), with C = 1 or 3; what is written into it is written there."""
        flat = self.stored[..., None] if self.stored.ndim == 2 else self.stored[..., :3]
        turned = flat.swapaxes(0, 1) if self.orientation >= 5 else flat
        down, across = ((1, 1), (1, -1), (-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1), (-1, 1))[self.orientation - 1]
        return turned[::down, ::across]


def open_photo(path: str | Path) -> Photo:
    """A photograph of 8 bits a channel.

    Raises:
        ImageError: as `pictures.open_picture`, or for other pixels than grey, red, green and blue with 8 bits.
    """
    with opened(path, upright=False) as (picture, _):
        extras = {name: picture.info[name] for name in ("exif", "icc_profile") if picture.info.get(name)}
        try:
            exif = picture.getexif()
            orientation = int(exif.get(ORIENTATION, 1))
            if picture.format == "TIFF":  # Pillow has turned it; most of its tags say how the file is laid out
                described = Image.Exif()
                described.update({tag: exif[tag] for tag in DESCRIPTIONS if tag in exif})
                extras["exif"] = described
        except Exception:
            warnings.warn(f"{path}: its damaged EXIF data are dropped: it may lie on its side", stacklevel=2)
            extras.pop("exif", None)
            orientation = 1
        if picture.mode == "P":
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        if picture.mode not in ("L", "RGB", "RGBA"):
            raise ImageError(f"its pixels are {picture.mode}; save it as grey or RGB with 8 bits a channel")
        return Photo(np.array(picture), orientation if 1 <= orientation <= 8 else 1, extras)


def save_photo(photo: Photo, path: str | Path) -> None:
    """Write it without loss: the name ends in .png, .tif, .tiff or .webp."""
    suffix = Path(path).suffix.lower()
    if suffix not in LOSSLESS:
        raise ImageError(f"{path}: the name must end in {', '.join(LOSSLESS)}, which keep every pixel")
    with atomic_path(path) as unfinished:
        Image.fromarray(photo.stored).save(
            unfinished, format=LOSSLESS[suffix], lossless=True, exact=True, **photo.extras
        )


def completed(photo: Photo, hidden: np.ndarray, size: tuple[int, int], channels: int, complete: Complete) -> Photo:
    """The photograph with its hidden pixels filled in, hidden (H, W) being upright; see `complete_photo`."""
    done = photo._replace(stored=photo.stored.copy())
    done.upright[:] = complete_photo(photo.upright, hidden, size, channels, complete)
    return done


def load_mask(path: str | Path, height: int, width: int) -> Tensor:
    """Reads a mask picture: white is to be filled in, black is known, grey is split at one half.

    known[0, i, j] = 1 where picture[i, j] < 128.

    Programs save boolean arrays with 1 as white, too. Where no level exceeds 1 of 255, 1 is therefore read as white:
    any other reading leaves nothing to fill in. A Python warning tells this, as all else that was decided in reading.

    Args:
        path: a picture of exactly H x W pixels, grey or with equal red, green and blue.
        height, width: the size of the image that the mask belongs to. A mask is never resized silently,
            because an edge that moves by a pixel changes which pixels a sampler gets.

    Returns:
        known (1, H, W) bool.

    Raises:
        ImageError: for a file that is missing, no picture, coloured, see-through, of another size, all white or all
            black.
    """
    levels, notices = open_levels(path)
    if levels.shape != (height, width):
        found_height, found_width = levels.shape
        raise ImageError(
            f"{path}: the mask is {found_width} x {found_height} pixels (width x height) and the image "
            f"{width} x {height}; save the mask at {width} x {height} without smoothing "
            "(in Pillow: Image.open(file).resize((width, height), Image.Resampling.NEAREST))"
        )
    if levels.max() == 1:
        levels = 255 * levels
        notices.append("no level exceeds 1 of 255, and 1 is read as white")
    known, how = levels < 128, f" ({'; '.join(notices)})" if notices else ""
    if known.all():
        raise ImageError(f"{path}: the mask is black everywhere: nothing is to be filled in; paint that white{how}")
    if not known.any():
        raise ImageError(f"{path}: the mask is white everywhere: no pixel is known; paint what to keep black{how}")
    if how:
        warnings.warn(f"{path} is a mask{how}", stacklevel=2)
    return known[None]
