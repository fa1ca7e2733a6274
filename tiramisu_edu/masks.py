"""Which pixels are given: the layouts of the Tiramisu paper for any size.

Everywhere in the package `known` is boolean and True where the pixel is given.

The fixed layouts are boxes on a 256 x 256 canvas, as the published implementation states them, scaled to
H x W and rounded half up; no box is thinner than one pixel. `thin` and `thick` are drawn at random with the
stroke counts, widths and lengths of LaMa (Suvorov et al. 2022), from which the paper takes its masks.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import is_generator, positive_integers
from .errors import ImageError, TiramisuError, known_name

CANVAS = 256


class Box(NamedTuple):
    """Pixels [row0, row1) x [col0, col1) of a 256 x 256 image."""

    row0: int
    row1: int
    col0: int
    col1: int


class Brush(NamedTuple):
    """A family of random strokes. Counts are inclusive; widths and lengths are in 256ths of a side."""

    min_strokes: int
    max_strokes: int
    max_width: int
    max_length: int
    box_probability: float


_STRIPS = ((56, 72), (120, 136), (184, 200))

# The known boxes of each fixed layout. The strips are 92 long and 10 off centre: the published masks are so.
BOXES: dict[str, tuple[Box, ...]] = {
    "left": (Box(0, 256, 0, 128),),
    "top": (Box(0, 128, 0, 256),),
    "expand": (Box(96, 160, 96, 160),),
    "small_eye": (Box(64, 128, 64, 128),),
    "single_vert_strip": (Box(72, 164, 120, 136),),
    "single_horiz_strip": (Box(120, 136, 72, 164),),
    "vertical_strips": tuple(Box(72, 164, start, stop) for start, stop in _STRIPS),
    "horizontal_strips": tuple(Box(start, stop, 72, 164) for start, stop in _STRIPS),
}

# LaMa's random_thin_256 and random_thick_256. The strokes are the hidden part.
BRUSHES: dict[str, Brush] = {
    "thin": Brush(min_strokes=4, max_strokes=50, max_width=10, max_length=40, box_probability=0.0),
    "thick": Brush(min_strokes=1, max_strokes=5, max_width=100, max_length=200, box_probability=0.3),
}
_HIDDEN_SHARE = (0.05, 0.5)  # LaMa's upper bound; the lower one keeps every case a task
_MAX_TRIES = 1000

# The seven columns of the paper's table. `mask` says which of them are not verified.
PAPER_COLUMNS: dict[str, str] = {
    "left": "left",
    "top": "top",
    "expand1": "expand",
    "expand2": "small_eye",
    "vstrip": "single_vert_strip",
    "hstrip": "single_horiz_strip",
    "wide": "thick",
}

MASKS: tuple[str, ...] = tuple(dict.fromkeys((*BOXES, *BRUSHES, *PAPER_COLUMNS)))


def mask(name: str, height: int, width: int, *, generator: torch.Generator | None = None) -> Tensor:
    """The named layout for H x W images.

    known[0, i, j] = 1 where some box of the layout covers pixel (i, j), its edges being
    floor(edge * H / 256 + 1/2).

    `left`, `top`, `expand1`, `expand2`, `vstrip`, `hstrip` and `wide` are the columns of the paper's table.
    Unverified: whether expand1 is `expand` and expand2 `small_eye` or the reverse, and whether the strip
    columns are the single strips (used here, the ones its README names) or the triple ones. left and top are
    certain; wide stands for LaMa's thick strokes, drawn here and not read from the published files.

    Args:
        name: one of MASKS.
        height, width: pixels.
        generator: needed by the random layouts (thin, thick, wide). One call draws one mask; `mask_batch`
            draws one for each image.

    Returns:
        known (1, H, W) bool, with at least one pixel known and one hidden.

    Raises:
        TiramisuError: for an unknown name or a missing generator.
        ImageError: where H x W is too small.

    Source: the published implementation of Tiramisu (ICLR 2024); LaMa's random_thin_256, random_thick_256.
    """
    known_name("mask", name, MASKS)
    positive_integers(height=height, width=width)
    if generator is not None:
        is_generator("generator", generator)
    layout = PAPER_COLUMNS.get(name, name)
    known = (
        inside_boxes(BOXES[layout], height, width)
        if layout in BOXES
        else ~_strokes(name, BRUSHES[layout], height, width, generator)
    )
    if known.all() or not known.any():
        raise ImageError(
            f"mask {name!r} leaves nothing {'to fill in' if known.all() else 'known'} at {height} x {width} "
            "pixels; use a larger image or another mask"
        )
    return known[None]


def mask_batch(name: str, count: int, height: int, width: int, *, generator: torch.Generator | None = None) -> Tensor:
    """`count` masks, known (count, 1, H, W) bool: random layouts are drawn for each image."""
    return torch.stack([mask(name, height, width, generator=generator) for _ in range(count)])


def inside_boxes(boxes: tuple[Box, ...], height: int, width: int) -> Tensor:
    """(H, W) bool: the union of the boxes."""
    inside = torch.zeros(height, width, dtype=torch.bool)
    for box in boxes:
        inside[_span(box.row0, box.row1, height), _span(box.col0, box.col1, width)] = True
    return inside


def _span(start: int, stop: int, size: int) -> slice:
    """[start, stop) of 256 scaled to `size` pixels, rounded half up, at least one pixel, inside the image."""
    first = min((2 * start * size + CANVAS) // (2 * CANVAS), size - 1)
    last = (2 * stop * size + CANVAS) // (2 * CANVAS)
    return slice(first, max(last, first + 1))


def _strokes(name: str, brush: Brush, height: int, width: int, generator: torch.Generator | None) -> Tensor:
    """(H, W) bool: random strokes and boxes, redrawn until they hide between 5 % and 50 % of the pixels."""
    if generator is None:
        raise TiramisuError(f"mask {name!r} is random: pass generator=torch.Generator().manual_seed(...)")
    low, high = _HIDDEN_SHARE
    for _ in range(_MAX_TRIES):
        hidden = _draw(brush, height, width, generator)
        if hidden.any() and low <= hidden.double().mean().item() <= high:
            return hidden
    raise ImageError(
        f"mask {name!r} found no layout that hides {low:.0%} to {high:.0%} of {height} x {width} pixels; "
        "use a larger image or another mask"
    )


def _draw(brush: Brush, height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W) bool: one drawing on the 256 canvas, read at the pixel centres."""
    rows = (torch.arange(height, dtype=torch.float32) + 0.5)[:, None] * CANVAS / height
    cols = (torch.arange(width, dtype=torch.float32) + 0.5)[None, :] * CANVAS / width
    pixel = CANVAS / min(height, width)  # no stroke is thinner than a pixel

    drawn = torch.zeros(height, width, dtype=torch.bool)
    for _ in range(_integer(brush.min_strokes, brush.max_strokes, generator)):
        row, col = CANVAS * _uniform(generator), CANVAS * _uniform(generator)
        for _ in range(_integer(1, 5, generator)):
            angle = 2 * math.pi * _uniform(generator)
            length = 10 + _integer(0, brush.max_length - 1, generator)
            radius = max(5 + _integer(0, brush.max_width - 1, generator), pixel) / 2
            row_end = min(max(row + length * math.sin(angle), 0.0), CANVAS)
            col_end = min(max(col + length * math.cos(angle), 0.0), CANVAS)
            drawn |= _distance(rows, cols, (row, col), (row_end, col_end)) <= radius
            row, col = row_end, col_end

    if _uniform(generator) < brush.box_probability:
        for _ in range(_integer(1, 3, generator)):
            row_size, col_size = _integer(30, 150, generator), _integer(30, 150, generator)
            row, col = _integer(0, CANVAS - row_size, generator), _integer(0, CANVAS - col_size, generator)
            drawn |= (rows >= row) & (rows < row + row_size) & (cols >= col) & (cols < col + col_size)
    return drawn


def _distance(rows: Tensor, cols: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """(H, W): how far each pixel centre is from the segment start-end."""
    step_row, step_col = end[0] - start[0], end[1] - start[1]
    squared_length = max(step_row**2 + step_col**2, 1e-12)
    along = ((rows - start[0]) * step_row + (cols - start[1]) * step_col) / squared_length
    along = along.clamp(0.0, 1.0)
    return torch.hypot(rows - start[0] - along * step_row, cols - start[1] - along * step_col)


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    """A uniform integer in low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator).item())


def _uniform(generator: torch.Generator) -> float:
    """A uniform number in [0, 1)."""
    return torch.rand((), dtype=torch.float32, generator=generator).item()
