"""`tiramisu-edu inpaint --image FILE`: a photograph of one's own, completed in its own size."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from tqdm.auto import tqdm

from ..inpainting import inpaint
from ..masks import mask
from ..photo import windows
from ..world import World
from .common import completed_paths
from .evaluation.sheet import damaged
from .photo_files import LOSSLESS, Photo, completed, load_mask, open_photo, save_photo
from .pictures import save_image
from .repair import is_layout

MOST, SHOWN, GAP = 12, 512, 8  # completions; in the sheet: pixels along a photograph's longer side, and between two


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
