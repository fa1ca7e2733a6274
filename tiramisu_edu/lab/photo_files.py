"""`tiramisu-edu inpaint --image FILE`: a photograph of one's own, completed in its own size.

EXIF data, with the camera's rotation, and colour profile stay.

In a mask file white is what is to be filled in, as in diffusers and in photo editors.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad
from tqdm.auto import tqdm

from ..errors import ImageError, unknown_name
from ..files import atomic_path
from ..inpainting import inpaint
from ..masks import MASKS, mask
from ..photo import Complete, complete_photo, windows
from ..world import World
from .common import completed_paths
from .evaluation.sheet import damaged
from .pictures import WRITTEN, open_levels, opened, save_image

LOSSLESS = {suffix: kind for suffix, kind in WRITTEN.items() if kind != "JPEG"}
ORIENTATION = 274  # the tag of EXIF
DESCRIPTIONS = (270, 271, 272, 305, 306, 315, 33432)  # title, maker, camera, program, date, artist, copyright

MOST, SHOWN, GAP = 12, 512, 8  # completions; in the sheet: pixels along a photograph's longer side, and between two


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


def is_layout(mask: str) -> bool:
    """Whether a mask is a layout; else it is a file.

    Raises:
        TiramisuError: it is neither.
    """
    if mask not in MASKS and not Path(mask).exists():
        raise unknown_name("mask", mask, [*MASKS, "a picture file"])
    return mask in MASKS


def complete_own(world: World, options: Any) -> int:
    """Complete the photograph `options.image` under `options.mask`; write each completion, and a sheet with all.

    A mask file has the photograph's own size. Each completion keeps every pixel that is not hidden.
    """
    photo = open_photo(options.image)
    hidden = _hidden(options.mask, photo.upright.shape[:2], options.seed)
    channels, *size = world.images("test", 1)[0].shape[1:]
    number = min(options.batch, MOST)
    suffix = options.image.suffix if options.image.suffix.lower() in LOSSLESS else ".png"
    names = [f"{options.image.stem}_{n}" for n in range(1, number + 1)]
    paths = completed_paths(replace(options, out=options.out.with_suffix(suffix)), names)
    for notice in _notices(photo, hidden, (size[0], size[1]), channels, options.image):
        print(f"notice: {notice}")
    begun, done = time.perf_counter(), []
    for n, path in enumerate(tqdm(paths, desc="completions", disable=number == 1)):
        generator = torch.Generator().manual_seed(1_000_003 * options.seed + n)

        def complete(image: Tensor, known: Tensor, generator: torch.Generator = generator) -> Tensor:
            task: dict[str, Any] = {"image": image.to(world.device), "known": known.to(world.device)}
            for name in ("sampler", "guide", "num_inference_steps", "guided_fraction", "eta"):
                task[name] = getattr(options, name)
            return inpaint(world, **task, generator=generator).images

        done.append(completed(photo, hidden, (size[0], size[1]), channels, complete))
        save_photo(done[-1], path)
    share, seconds = hidden.mean(), time.perf_counter() - begun
    print(f"world {options.world}, seed {options.seed}: {share:.1%} of {options.image} completed in {seconds:.1f} s")
    print("completed: " + ", ".join(map(str, paths)))
    save_image(_sheet(photo, hidden, done, (size[0], size[1])), options.out)
    print(f"picture: {options.out} (before, then each completion; below, the largest hole)")
    return 0


def _hidden(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """(H, W) bool, from a layout or a file."""
    generator, size = torch.Generator().manual_seed(seed), (shape[0], shape[1])
    known = mask(name, *size, generator=generator) if is_layout(name) else load_mask(name, *size)
    return ~known[0].numpy()


def _notices(photo: Photo, hidden: np.ndarray, size: tuple[int, int], channels: int, path: Path) -> list[str]:
    """What is done to the photograph that its owner may not expect."""
    scale = max(window.scale for window, _ in windows(hidden, size))
    found = [f"{path}: its largest hole is completed at 1 / {scale:.1f} of its size"] if scale > 1.5 else []
    if path.suffix.lower() not in LOSSLESS:
        found.append(f"{path}: the completion is written as PNG, since {path.suffix} would change every pixel")
    if channels == 1 and photo.upright.shape[2] == 3:
        found.append(f"{path}: this world has grey pictures only, so that holes become grey")
    return found


def _sheet(photo: Photo, hidden: np.ndarray, done: list[Photo], size: tuple[int, int]) -> Tensor:
    """(3, H, W): the photograph before and after, a column for each completion; below it its largest hole."""
    window, _ = next(windows(hidden, size))
    rows = []
    for part in ((slice(None), slice(None)), window.inside):
        known = _small(~hidden[part][..., None] * np.uint8(255)) > 0.999
        before = damaged(_small(photo.upright[part]), known)
        rows.append(torch.cat([before, *(_small(each.upright[part]).expand_as(before) for each in done)]))
    height, width = (max(row.shape[k] for row in rows) + GAP for k in (2, 3))
    padded = [pad(row, (0, width - row.shape[3], 0, height - row.shape[2]), value=1.0) for row in rows]
    return torch.stack(padded).permute(2, 0, 3, 1, 4).reshape(3, len(rows) * height, -1)


def _small(pixels: np.ndarray) -> Tensor:
    """(1, C, h, w) in [-1, 1], its longer side at most SHOWN."""
    image = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    scale = min(1.0, SHOWN / max(image.shape[2:]))
    return interpolate(image, [max(1, round(side * scale)) for side in image.shape[2:]], mode="area")
