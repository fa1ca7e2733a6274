"""Soft-edged shapes for the procedural worlds: a whole batch of pictures is drawn with a few tensor operations.

A shape is its *signed distance* d(x, y): the distance of a point to the shape's edge, negative inside. Distances make
an algebra, so there are few shapes and no special cases:

    union          torch.minimum(a, b)              intersection   torch.maximum(a, b)
    difference     torch.maximum(a, -b)             outline        outline(a, thickness)
    half-plane     canvas.y - 18 is "above y = 18"  arc            torch.maximum(outline(circle), half-plane)

Coordinates are in units of a 32 x 32 picture, x to the right and y down, whatever the size in pixels. Every number of a
shape may be a float or a tensor (N,) with one value per picture. Distances are (N or 1, h, w); a half-plane may have
h = 1 or w = 1. Pictures are drawn at twice the resolution and then averaged.

    canvas = Canvas.blank(sky, size=32)                     # sky: (N, 3) in [0, 1]
    scene = canvas.moved(shift_x, shift_y, stretch_x, stretch_y)       # all shapes below move together
    corner = scene.window(18, 2, 30, 14)                    # only these pixels are computed and painted
    corner.paint(circle(corner, 24, 8, 4), sun)
    images = canvas.finish(brightness=brightness, light=0.06, noise=0.012, generator=generator)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

UNITS = 32  # width and height of a picture in drawing units
Number: TypeAlias = float | Tensor  # a float, or (N,) with one value per picture


@dataclass(frozen=True)
class Canvas:
    """N pictures being painted, or a window into them: the same memory, seen in coordinates of its own."""

    pixels: Tensor  # (N, 3, h, w) in [0, 1]; painted in place
    x: Tensor  # (N or 1, 1, w): x of the pixels' centres, in units
    y: Tensor  # (N or 1, h, 1)
    resolution: float  # pixels per unit

    @classmethod
    def blank(cls, colour: Tensor, size: int = UNITS) -> Canvas:
        """Pictures of one colour each.

        Args:
            colour: (N, 3) in [0, 1].
            size: width and height of the finished pictures in pixels, a multiple of 32.
        """
        resolution = 2 * size / UNITS
        centres = (torch.arange(2 * size, dtype=colour.dtype) + 0.5) / resolution
        pixels = colour[:, :, None, None].expand(-1, -1, 2 * size, 2 * size).clone()
        return cls(pixels, centres[None, None, :], centres[None, :, None], resolution)

    def window(self, left: float, top: float, right: float, bottom: float) -> Canvas:
        """The part of a whole picture between these bounds, in the *picture's* units even after `moved`.

        Shapes on it cost time in proportion to its area; what reaches beyond it is cut off, so leave room for `moved`.
        """
        columns, rows = (
            slice(max(math.floor(start * self.resolution), 0), math.ceil(stop * self.resolution))
            for start, stop in ((left, right), (top, bottom))
        )
        return replace(self, pixels=self.pixels[:, :, rows, columns], x=self.x[:, :, columns], y=self.y[:, rows])

    def moved(
        self,
        shift_x: Number = 0.0,
        shift_y: Number = 0.0,
        stretch_x: Number = 1.0,
        stretch_y: Number = 1.0,
        *,
        about: tuple[float, float] = (UNITS / 2, UNITS / 2),
    ) -> Canvas:
        """The same pixels in coordinates in which shapes come out stretched about a point, then shifted.

        A shape drawn at x appears at  about + shift + stretch (x - about).
        """
        x = about[0] + (self.x - about[0] - _spread(shift_x)) / _spread(stretch_x)
        y = about[1] + (self.y - about[1] - _spread(shift_y)) / _spread(stretch_y)
        return replace(self, x=x, y=y)

    def coverage(self, distance: Tensor, softness: float = 0.0) -> Tensor:
        """How much of each pixel a shape covers, in [0, 1]: clamp(1/2 - d / edge), edge = one fine pixel + softness."""
        return torch.add(0.5, distance, alpha=-1.0 / (softness + 1.0 / self.resolution)).clamp_(0.0, 1.0)

    def paint(self, distance: Tensor, colour: Tensor, opacity: Number = 1.0, *, softness: float = 0.0) -> None:
        """Fill a shape.

        Args:
            distance: (N or 1, h, w), negative inside.
            colour: (N, 3) or (3,) in [0, 1].
            opacity: 1 paints, 0 leaves the picture as it is: (N,) zeros and ones choose the pictures with the shape.
            softness: additional width of the edge in units, for shadows and glows.
        """
        self.blend(self.coverage(distance, softness) * _spread(opacity), colour)

    def blend(self, weight: Tensor, colour: Tensor) -> None:
        """pixels <- (1 - weight) pixels + weight colour, for weight (N or 1, h, w) in [0, 1]; h or w may be 1."""
        self.pixels.lerp_(colour.reshape(-1, 3, 1, 1), weight[:, None])

    def finish(self, *, brightness: Number, light: float, noise: float, generator: torch.Generator) -> Tensor:
        """The pictures as images: averaged 2 x 2, lit from above, with pixel noise.

        images = 2 clamp(brightness (1 + light (1 - 2 y / 32)) pixels + noise e) - 1,    e ~ N(0, 1)

        Returns: (N, 3, size, size) float32 in [-1, 1].
        """
        images = F.avg_pool2d(self.pixels, 2)
        height = torch.linspace(1.0, -1.0, images.shape[-1], dtype=torch.float32)  # 1 at the top, -1 at the bottom
        images *= _spread(brightness, 3) * (1.0 + light * height[:, None])
        images += noise * torch.randn(images.shape, generator=generator, dtype=torch.float32)
        return images.clamp_(0.0, 1.0).mul_(2.0).sub_(1.0)


def jitter(number: int, count: int, generator: torch.Generator) -> Tensor:
    """(number, count) uniform in [-1, 1], in float32 whatever torch's default is."""
    return 2 * torch.rand(number, count, generator=generator, dtype=torch.float32) - 1


def rgb(colours: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
    """One colour (3,) or several (n, 3), in float32 whatever torch's default is."""
    return torch.tensor(colours, dtype=torch.float32)


def circle(canvas: Canvas, x: Number, y: Number, radius: Number) -> Tensor:
    """Signed distance to a disc: |p - centre| - radius."""
    return torch.hypot(canvas.x - _spread(x), canvas.y - _spread(y)).sub_(_spread(radius))


def ellipse(canvas: Canvas, x: Number, y: Number, radius_x: float, radius_y: float) -> Tensor:
    """Signed distance to an ellipse, near enough: (|((px - x) / rx, (py - y) / ry)| - 1) min(rx, ry)."""
    across, down = (canvas.x - _spread(x)) / radius_x, (canvas.y - _spread(y)) / radius_y
    return torch.hypot(across, down).sub_(1.0).mul_(min(radius_x, radius_y))


def box(canvas: Canvas, left: Number, top: Number, right: Number, bottom: Number, radius: float = 0.0) -> Tensor:
    """Signed distance to a rectangle with rounded corners.

    q = |p - centre| - half size + radius;   d = |max(q, 0)| + min(max(qx, qy), 0) - radius
    """
    left, top, right, bottom = (_spread(v) for v in (left, top, right, bottom))
    across = (canvas.x - (left + right) / 2).abs() - (right - left) / 2 + radius
    down = (canvas.y - (top + bottom) / 2).abs() - (bottom - top) / 2 + radius
    inside = torch.maximum(across, down).clamp_(max=0.0)
    return inside.add_(torch.hypot(across.clamp(min=0.0), down.clamp(min=0.0))).sub_(radius)


def capsule(canvas: Canvas, x1: Number, y1: Number, x2: Number, y2: Number, thickness: float) -> Tensor:
    """Signed distance to a thick segment with round ends.

    t = clamp((p - a) . (b - a) / |b - a|^2, 0, 1);   d = |p - a - t (b - a)| - thickness / 2
    """
    x1, y1, x2, y2 = (_spread(v) for v in (x1, y1, x2, y2))
    along_x, along_y = x2 - x1, y2 - y1
    across, down = canvas.x - x1, canvas.y - y1
    t = (across * along_x + down * along_y).div_(along_x**2 + along_y**2).clamp_(0.0, 1.0)
    return torch.hypot(across - t * along_x, down - t * along_y).sub_(thickness / 2)


def polygon(canvas: Canvas, points: list[tuple[Number, Number]]) -> Tensor:
    """Signed distance to a convex polygon (exact inside and along the edges): the largest of its half-planes'.

    Args:
        points: the corners, clockwise as seen in the picture.
    """
    edges = []
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        along_x, along_y = (torch.as_tensor(v, dtype=canvas.x.dtype) for v in (x2 - x1, y2 - y1))
        length = torch.hypot(along_x, along_y)
        normal_x, normal_y = _spread(along_y / length), _spread(-along_x / length)  # pointing outwards
        edges.append((canvas.x - _spread(x1)) * normal_x + (canvas.y - _spread(y1)) * normal_y)
    return reduce(torch.maximum, edges)


def outline(distance: Tensor, thickness: float) -> Tensor:
    """Signed distance to the edge of a shape drawn as a line: |d| - thickness / 2. Of a circle: a ring."""
    return distance.abs() - thickness / 2


def stripes(coordinate: Tensor, period: float, width: float, start: Number = 0.0) -> Tensor:
    """Signed distance to endless parallel stripes.

    Args:
        coordinate: canvas.x (upright stripes), canvas.y (level ones) or a mixture.
        period, width: in units, centre to centre and edge to edge.
        start: where a stripe has its centre.
    """
    phase = (coordinate - _spread(start) + period / 2).remainder(period) - period / 2
    return phase.abs() - width / 2


def _spread(value: Number, dimensions: int = 2) -> Number:
    """A tensor (N,) as (N, 1, 1), to stand beside pictures; a float as it is."""
    return value.reshape(-1, *[1] * dimensions) if isinstance(value, Tensor) else value
