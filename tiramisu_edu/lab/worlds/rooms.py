"""Procedural bedrooms: what stands for LSUN-Bedroom here.

A bed between two tables, a window with curtains above it, pictures, a rug, slippers and sometimes a plant.
Lengths are in units of a 32 x 32 picture.

Everything that a rule joins is a factor of its own, so that a completion can break the rule. The rules join parts that
are far apart. Whichever of them a mask hides, what it leaves visible determines some of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .drawing import Canvas, box, capsule, circle, ellipse, jitter, polygon, rgb, stripes
from .factors import FactorModel, equal, factors
from .scene import Box, Parts, Scene

COLOURS = {
    "brick": (0.78, 0.31, 0.25),
    "mustard": (0.93, 0.72, 0.25),
    "green": (0.40, 0.62, 0.36),
    "blue": (0.25, 0.47, 0.73),
    "plum": (0.50, 0.31, 0.58),
    "pink": (0.95, 0.62, 0.68),
}
WOODS = {
    "oak": (0.80, 0.58, 0.35),
    "walnut": (0.43, 0.27, 0.18),
    "white": (0.96, 0.95, 0.92),
    "slate": (0.45, 0.51, 0.58),
}
WALLS = {
    "cream": (0.97, 0.91, 0.72),
    "sky": (0.70, 0.84, 0.95),
    "mint": (0.72, 0.89, 0.74),
    "rose": (0.98, 0.78, 0.75),
    "lilac": (0.82, 0.76, 0.94),
}
FLOORS = {"planks": (0.84, 0.68, 0.48), "dark planks": (0.56, 0.39, 0.28), "carpet": (0.72, 0.71, 0.72)}
SKIES = {"day": (0.62, 0.83, 0.98), "night": (0.12, 0.15, 0.36)}
SHADES = {"off": (0.62, 0.60, 0.60), "on": (1.00, 0.93, 0.58)}
PATTERNS = {"plain": 0.4, "stripes": 0.3, "dots": 0.3}
MOTIFS = ("bars", "disc", "triangle")

# A cushion never has the colour of the bed cover but one of two that go with it; floors tend to suit the wood.
CUSHIONS = {
    "brick": ("mustard", "blue"),
    "mustard": ("blue", "plum"),
    "green": ("pink", "mustard"),
    "blue": ("brick", "pink"),
    "plum": ("green", "pink"),
    "pink": ("green", "plum"),
}
SUITING = {"oak": "planks", "walnut": "dark planks", "white": "planks", "slate": "carpet"}

# 11 factors are determined by others; the cushion is one of two colours.
MODEL = FactorModel(
    factors(
        ("sky", SKIES),
        ("left lamp", SHADES, ["sky"], {"day": "off", "night": "on"}.__getitem__),
        ("right lamp", SHADES, ["left lamp"], equal),
        ("bed cover", COLOURS),
        ("left curtain", COLOURS, ["bed cover"], equal),
        ("right curtain", COLOURS, ["left curtain"], equal),
        ("slippers", COLOURS, ["bed cover"], equal),
        ("cushion", COLOURS, ["bed cover"], lambda colour: dict.fromkeys(CUSHIONS[colour], 0.5)),
        ("rug", COLOURS, ["cushion"], equal),
        ("wall", WALLS),
        ("wall pattern", PATTERNS, [], lambda: PATTERNS),
        ("cover pattern", PATTERNS, ["wall pattern"], equal),
        ("headboard", WOODS),
        ("left table", WOODS, ["headboard"], equal),
        ("right table", WOODS, ["left table"], equal),
        ("floor", FLOORS, ["headboard"], lambda wood: dict.fromkeys(FLOORS, 0.15) | {SUITING[wood]: 0.7}),
        ("left picture", MOTIFS),
        ("right picture", MOTIFS, ["left picture"], equal),
        ("rug pattern", MOTIFS, ["left picture"], equal),
        ("plant", ("none", "leaves", "flower")),
    )
)

LINEN, WHITE, INK = rgb([[0.97, 0.96, 0.94], [1.0, 1.0, 1.0], [0.26, 0.30, 0.42]])
GLOW, LEAF, BLACK = rgb([[1.0, 0.86, 0.42], [0.30, 0.55, 0.28], [0.0, 0.0, 0.0]])

SHIFT, STRETCH, TINT = 1.0, 0.05, 0.02  # jitter: units, share, standard deviation of a colour
BRIGHTNESS, LIGHT, NOISE = 0.05, 0.05, 0.012
MARGIN = SHIFT + 16 * STRETCH  # how far the jitter moves a point of the rim


@dataclass(frozen=True)
class Room(Parts):
    """A batch of rooms while they are painted."""

    canvas: Canvas
    generator: torch.Generator

    def tinted(self, name: str, palette: Mapping[str, Sequence[float]]) -> Tensor:
        """(N, 3): the colour of a factor's value, a little different in every picture."""
        exact = self.colour(name, palette)
        return exact + TINT * torch.randn(exact.shape, generator=self.generator, dtype=torch.float32)

    def part(self, left: float, top: float, right: float, bottom: float) -> Canvas:
        """The canvas near a thing, with room for the jitter."""
        return self.canvas.window(left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN)


def draw(states: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Rooms (N, 3, size, size) float32 in [-1, 1] for states (N, F)."""
    shift_x, shift_y, stretch_x, stretch_y = jitter(4, len(states), generator)
    blank = Canvas.blank(torch.zeros(len(states), 3, dtype=torch.float32), size)
    canvas = blank.moved(SHIFT * shift_x, SHIFT * shift_y, 1 + STRETCH * stretch_x, 1 + STRETCH * stretch_y)
    room = Room(MODEL, states, canvas, generator)
    _wall(room)
    _floor(room)
    _window(room)
    _curtain(room, "left curtain", 7.0)
    _curtain(room, "right curtain", 21.2)
    for side, x in (("left", 3.9), ("right", 28.1)):
        _picture(room, f"{side} picture", x)
        _table(room, f"{side} table", x)
        _lamp(room, f"{side} lamp", x)
    _bed(room)
    _rug(room)
    _slippers(room)
    _plant(room)
    brightness = 1 + BRIGHTNESS * jitter(1, len(states), generator)[0]
    return canvas.finish(brightness=brightness, light=LIGHT, noise=NOISE, generator=generator)


def _dots(canvas: Canvas, period: float, radius: float) -> Tensor:
    """Signed distance to dots on a grid turned by 45 degrees: two square grids, one between the other's dots."""
    across, down = ((axis.remainder(period) - period / 2) for axis in (canvas.x, canvas.y))
    between = torch.hypot(across.abs() - period / 2, down.abs() - period / 2)
    return torch.minimum(torch.hypot(across, down), between) - radius


def _wall(room: Room) -> None:
    canvas, colour = room.canvas, room.tinted("wall", WALLS)
    canvas.paint(canvas.y - 40, colour)
    side = canvas.window(-2, -2, 34, 21 + MARGIN)
    side.paint(stripes(side.x, 3.0, 1.4, 0.4), colour * 0.76, room.has("wall pattern", "stripes"))
    side.paint(_dots(side, 4.0, 1.1), colour * 0.15 + 0.85, room.has("wall pattern", "dots"))


def _floor(room: Room) -> None:
    canvas, colour = room.part(0, 20, 34, 34), room.tinted("floor", FLOORS)
    canvas.paint(20 - canvas.y, colour)
    planks = 1 - room.has("floor", "carpet")
    canvas.paint(torch.maximum(stripes(canvas.y, 2.8, 0.35, 22.6), 21 - canvas.y), colour * 0.82, planks)
    canvas.paint((canvas.y - 20).abs() - 0.5, LINEN)


def _window(room: Room) -> None:
    canvas = room.part(9, 0, 23, 12)
    canvas.paint(box(canvas, 9.5, 1.0, 22.5, 11.0, 0.4), WHITE)
    canvas.paint(box(canvas, 10.6, 2.0, 21.4, 10.3), room.tinted("sky", SKIES))
    day, night = room.has("sky", "day"), room.has("sky", "night")
    cloud = torch.minimum(ellipse(canvas, 13.4, 7.6, 2.0, 0.9), ellipse(canvas, 14.2, 6.9, 1.2, 0.9))
    canvas.paint(cloud, WHITE, day)
    canvas.paint(circle(canvas, 19.2, 4.4, 1.5), rgb((1.0, 0.90, 0.40)), day)
    moon = torch.maximum(circle(canvas, 19.0, 4.4, 1.6), -circle(canvas, 18.2, 3.9, 1.4))
    canvas.paint(moon, rgb((1.0, 0.97, 0.80)), night)
    for x, y in ((12.4, 3.8), (14.3, 7.6), (19.6, 8.2), (12.2, 8.8)):
        canvas.paint(circle(canvas, x, y, 0.4), WHITE, night)
    for bar in (box(canvas, 15.65, 1.5, 16.35, 10.5), box(canvas, 10.0, 5.7, 22.0, 6.2)):
        canvas.paint(bar, WHITE)


def _curtain(room: Room, name: str, left: float) -> None:
    canvas, colour = room.part(left, 0, left + 3.8, 13), room.tinted(name, COLOURS)
    cloth = box(canvas, left, 0.6, left + 3.8, 12.6, 0.5)
    canvas.paint(cloth, colour)
    canvas.paint(torch.maximum(cloth, stripes(canvas.x, 1.9, 0.55, left + 1.9)), colour * 0.80)
    canvas.paint(capsule(canvas, left - 0.4, 0.7, left + 4.2, 0.7, 0.8), INK)


def _picture(room: Room, name: str, x: float) -> None:
    canvas = room.part(x - 3, 2, x + 3, 9)
    canvas.paint(box(canvas, x - 2.9, 2.0, x + 2.9, 8.8), INK)
    inside = box(canvas, x - 2.2, 2.7, x + 2.2, 8.1)
    canvas.paint(inside, LINEN)
    colour = rgb((0.82, 0.42, 0.22))
    canvas.paint(torch.maximum(inside, stripes(canvas.y, 1.9, 0.95, 5.4)), colour, room.has(name, "bars"))
    canvas.paint(circle(canvas, x, 5.4, 1.6), colour, room.has(name, "disc"))
    peak = polygon(canvas, [(x, 3.2), (x + 2.1, 7.8), (x - 2.1, 7.8)])
    canvas.paint(peak, colour, room.has(name, "triangle"))


def _table(room: Room, name: str, x: float) -> None:
    canvas, colour = room.part(x - 3, 17, x + 3, 25), room.tinted(name, WOODS)
    canvas.paint(ellipse(canvas, x, 24.6, 3.2, 0.8), BLACK, 0.25, softness=0.8)
    canvas.paint(box(canvas, x - 2.6, 18.0, x + 2.6, 24.6, 0.3), colour * 0.9)
    canvas.paint(box(canvas, x - 3.0, 17.6, x + 3.0, 18.9, 0.3), colour)
    canvas.paint(box(canvas, x - 2.0, 20.0, x + 2.0, 23.4, 0.3), colour * 0.78)
    canvas.paint(circle(canvas, x, 21.6, 0.5), rgb((0.95, 0.80, 0.40)))


def _lamp(room: Room, name: str, x: float) -> None:
    canvas, on = room.part(x - 4, 9, x + 4, 18), room.has(name, "on")
    canvas.paint(circle(canvas, x, 13.0, 2.1), GLOW, on * 0.75, softness=2.2)
    canvas.paint(box(canvas, x - 0.35, 14.5, x + 0.35, 17.6), INK)
    canvas.paint(ellipse(canvas, x, 17.4, 1.2, 0.5), INK)
    shade = polygon(canvas, [(x - 1.1, 11.2), (x + 1.1, 11.2), (x + 2.1, 14.8), (x - 2.1, 14.8)])
    canvas.paint(shade, room.tinted(name, SHADES))


def _bed(room: Room) -> None:
    canvas = room.part(8, 11, 24, 27)
    wood = room.tinted("headboard", WOODS)
    cover, cushion = (room.tinted(name, COLOURS) for name in ("bed cover", "cushion"))
    canvas.paint(box(canvas, 7.6, 24.0, 24.4, 26.6, 1.0), BLACK, 0.3, softness=0.8)
    canvas.paint(box(canvas, 8.0, 11.0, 24.0, 20.0, 1.0), wood)
    canvas.paint(box(canvas, 8.9, 12.2, 23.1, 19.0, 0.8), wood * 0.88)
    for x in (13.2, 18.8):
        canvas.paint(ellipse(canvas, x, 16.9, 2.3, 2.1), LINEN * 0.86)
        canvas.paint(ellipse(canvas, x, 16.7, 2.1, 1.9), LINEN)
    sheet = box(canvas, 8.2, 17.7, 23.8, 25.8, 0.9)
    canvas.paint(sheet, cover)
    bands, dots = stripes(canvas.x, 2.6, 1.1, 16.0), _dots(canvas, 3.2, 0.75)
    canvas.paint(torch.maximum(sheet, bands), cover * 0.5 + 0.5, room.has("cover pattern", "stripes"))
    canvas.paint(torch.maximum(sheet + 0.2, dots), cover * 0.4 + 0.6, room.has("cover pattern", "dots"))
    canvas.paint(torch.maximum(sheet, 24.6 - canvas.y), cover * 0.8)
    canvas.paint(box(canvas, 13.3, 14.0, 18.7, 18.3, 1.2), cushion * 0.75)
    canvas.paint(box(canvas, 13.6, 14.2, 18.4, 17.9, 1.2), cushion)


def _rug(room: Room) -> None:
    canvas, colour = room.part(7, 27, 25, 32), room.tinted("rug", COLOURS)
    rug = box(canvas, 7.4, 27.2, 24.6, 31.6, 0.8)
    canvas.paint(rug, colour)
    bars = torch.maximum(rug + 0.6, stripes(canvas.x, 3.2, 1.3, 16.0))
    canvas.paint(bars, LINEN, room.has("rug pattern", "bars"))
    for x in (11.2, 16.0, 20.8):
        canvas.paint(circle(canvas, x, 29.4, 1.45), LINEN, room.has("rug pattern", "disc"))
        peak = polygon(canvas, [(x, 27.8), (x + 2.0, 31.0), (x - 2.0, 31.0)])
        canvas.paint(peak, LINEN, room.has("rug pattern", "triangle"))


def _slippers(room: Room) -> None:
    canvas, colour = room.part(1, 26, 6, 31), room.tinted("slippers", COLOURS)
    for x in (2.2, 4.9):
        canvas.paint(ellipse(canvas, x, 28.8, 1.25, 2.1), colour)
        canvas.paint(ellipse(canvas, x, 29.9, 0.7, 0.7), colour * 0.55)


def _plant(room: Room) -> None:
    canvas = room.part(25, 21, 32, 32)
    present, flower = 1 - room.has("plant", "none"), room.has("plant", "flower")
    for x, y in ((26.2, 25.4), (28.4, 23.9), (30.6, 25.4)):
        canvas.paint(capsule(canvas, 28.4, 29.0, x, y, 1.5), LEAF, present)
    for x, y in ((26.0, 25.0), (28.4, 23.4), (30.8, 25.0)):
        canvas.paint(circle(canvas, x, y, 1.35), rgb((0.93, 0.33, 0.42)), flower)
        canvas.paint(circle(canvas, x, y, 0.5), rgb((1.0, 0.85, 0.45)), flower)
    pot = polygon(canvas, [(26.5, 28.0), (30.3, 28.0), (29.7, 31.4), (27.1, 31.4)])
    canvas.paint(pot, rgb((0.88, 0.84, 0.78)), present)
    canvas.paint(box(canvas, 26.2, 27.6, 30.6, 28.8, 0.3), rgb((0.96, 0.93, 0.88)), present)


def _near(left: float, top: float, right: float, bottom: float) -> Box:
    """The box that holds a thing wherever the jitter puts it."""

    def reach(edge: float) -> float:
        return SHIFT + STRETCH * abs(edge - 16)

    return Box(left - reach(left), top - reach(top), right + reach(right), bottom + reach(bottom))


# The large box of a thing holds it under every jitter. The small ones lie where it is always to be seen: a mask of
# two columns shows a colour there. The last ones of sky, wall, lamp and cover make a glimpse count as "partly visible".
BOXES = {
    "sky": (_near(10.6, 2.0, 21.4, 10.3), Box(11.5, 3.0, 15.5, 9.2), Box(11.5, 8.0, 15.5, 9.2), Box(14, 8.5, 18, 11)),
    "left lamp": (_near(0.7, 9.8, 7.1, 16.2),),
    "right lamp": (_near(24.9, 9.8, 31.3, 16.2),),
    "bed cover": (_near(8.2, 17.7, 23.8, 25.8), Box(15, 19.3, 17, 20.4), Box(8.2, 16.5, 23.8, 19)),
    "left curtain": (_near(7.0, 0.6, 10.8, 12.6), Box(8, 8, 10, 11.5)),
    "right curtain": (_near(21.2, 0.6, 25.0, 12.6), Box(22, 8, 24, 11.5)),
    "slippers": (_near(0.9, 26.7, 3.5, 30.9), _near(3.6, 26.7, 6.2, 30.9)),
    "cushion": (_near(13.3, 14.0, 18.7, 18.3), Box(14.5, 15.3, 17.5, 16.7)),
    "rug": (_near(7.4, 27.2, 24.6, 31.6), _near(7.4, 27.2, 14, 31.6), _near(18, 27.2, 24.6, 31.6)),
    "wall": (Box(0, 0, 9, 21.3), Box(23, 0, 32, 21.3), Box(3, 0, 29, 3.5), Box(6.5, 12.6, 9.5, 19)),
    "wall pattern": (Box(0, 0, 9, 21.3), Box(23, 0, 32, 21.3), Box(3, 0, 29, 3.5), Box(6.5, 12.6, 9.5, 19)),
    "cover pattern": (_near(8.2, 17.7, 23.8, 25.8), Box(8.2, 16.5, 23.8, 22)),
    "headboard": (_near(8.0, 11.0, 24.0, 19.0), Box(15, 11.2, 17, 13.8), Box(9.2, 15, 10.6, 17)),
    "left table": (_near(0.9, 17.6, 6.9, 24.6),),
    "right table": (_near(25.1, 17.6, 31.1, 24.6),),
    "floor": (Box(0, 19.2, 32, 32), Box(0, 19, 7, 32), Box(25, 19, 32, 32)),
    "left picture": (_near(1.0, 2.0, 6.8, 8.8),),
    "right picture": (_near(25.2, 2.0, 31.0, 8.8),),
    "rug pattern": (_near(7.4, 27.2, 24.6, 31.6), _near(7.4, 27.2, 15, 31.6), _near(17, 27.2, 24.6, 31.6)),
    "plant": (_near(24.6, 22.0, 32, 31.4),),
}
ROOMS = Scene("rooms", MODEL, BOXES, draw)
