"""Faces: procedural avatars with long-range rules, a stand-in for portraits whose exact conditionals are known.

`faces_factors` lists what a face is made of and which parts must match; here it is drawn. Every part of a rule
is drawn from a factor of its own, so that a picture can also break every rule.

    images, states = FACES.sample(64, generator=torch.Generator().manual_seed(0))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from PIL import ImageColor
from torch import Tensor

from .drawing import Canvas, box, capsule, circle, ellipse, jitter, outline, rgb, stripes
from .faces_factors import BOXES, CLOTH_COLOURS, EYE_COLOURS, HAIR_COLOURS, MODEL, SKIN_COLOURS, canonical
from .scene import Parts, Scene

COLOUR_NOISE, LIGHT, PIXEL_NOISE = 0.02, 0.06, 0.012  # standard deviations of colours and pixels; light from above
_PASTEL, _EYE_X, _EYE_Y = 0.66, 3.7, 16.0  # share of white in a background; the eyes' distance from the middle
_WHITE, _DARK = rgb([1.0, 1.0, 1.0]), rgb([0.09, 0.08, 0.12])
_LIP, _THROAT = rgb([0.86, 0.20, 0.26]), rgb([0.36, 0.06, 0.10])
_GOLD, _RIM = rgb([1.0, 0.80, 0.16]), rgb([0.40, 0.22, 0.06])
_PEARL, _SILVER = rgb([0.98, 0.97, 0.95]), rgb([0.32, 0.34, 0.44])
_RED_FRAME = rgb([0.84, 0.10, 0.22])


def draw(states: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Pictures of faces, jittered: place ± 1, scale ± 5 %, width ± 7 %, brightness ± 5 %, colours and pixels noisy.

    The jitter does not depend on the states: two calls with equal seeds differ only where the factors do.

    Args:
        states: (N, F) long, in the order of MODEL.names.
        size: in pixels, a multiple of 32.

    Returns: (N, 3, size, size) float32 in [-1, 1].
    """
    shift_x, shift_y, scale, width, brightness = jitter(5, len(states), generator)
    noise = torch.randn(len(MODEL), len(states), 3, generator=generator, dtype=torch.float32)
    face = _Face(MODEL, states, COLOUR_NOISE * noise)
    canvas = Canvas.blank(face.tinted("background", CLOTH_COLOURS).lerp(_WHITE, _PASTEL), size)
    _draw_background(canvas)
    scale = 1 + 0.05 * scale
    head = canvas.moved(shift_x, shift_y, scale * (1 + 0.07 * width), scale, about=(16, 18))
    for part in (
        *(_draw_shirt, _draw_back_hair, _draw_head, _draw_beard, _draw_mouth, _draw_eyes),
        *(_draw_front_hair, _draw_hat, _draw_brows, _draw_glasses, _draw_earrings),
    ):
        part(head, face)
    return canvas.finish(brightness=1 + 0.05 * brightness, light=LIGHT, noise=PIXEL_NOISE, generator=generator)


@dataclass(frozen=True)
class _Face(Parts):
    """The states of a batch, and its palette with a little noise.

    Args:
        noise: (F, N, 3), of each factor's colour.
    """

    noise: Tensor

    def tinted(self, name: str, palette: Mapping[str, str]) -> Tensor:
        """(N, 3) in [0, 1]: the factor's colour, with noise; white for "none"."""
        levels = {word: ImageColor.getrgb(colour) for word, colour in ({"none": "#ffffff"} | dict(palette)).items()}
        exact = self.colour(name, levels) / 255
        return (exact + self.noise[self.model.index(name)]).clamp(0, 1)


def _draw_background(canvas: Canvas) -> None:
    """A glow behind the head."""
    canvas.paint(circle(canvas, 16, 14, 11), _WHITE, 0.35, softness=14)


def _draw_back_hair(head: Canvas, face: _Face) -> None:
    """What of the hair is behind the face: long hair falls to the shoulders, a bob ends at the jaw, curls stand off."""
    colour = face.tinted("hair_colour", HAIR_COLOURS)
    part = head.window(2, 2, 30, 32)
    crown, throat = ellipse(part, 16, 14.5, 10.2, 9.6), box(part, 11.4, 20, 20.6, 40, radius=1.5)
    for style, bottom in (("long", 29.8), ("bob", 21.4)):
        sides = box(part, 5.8, 14.5, 26.2, bottom, radius=2)
        part.paint(torch.maximum(torch.minimum(crown, sides), -throat), colour * 0.88, face.has("hair", style))
    part = head.window(0, 0, 32, 22)
    places = ((8.8, 15.2), (9.6, 11.4), (7.6, 7.8), (4, 5.6), (0, 5.0))  # from the middle, and down
    curls = [circle(part, 16 + side * x, y, 3.0) for x, y in places for side in (-1, 1)]
    part.paint(reduce(torch.minimum, curls), colour * 0.92, face.has("hair", "curly"))


def _draw_shirt(head: Canvas, face: _Face) -> None:
    """Neck, shoulders and collar."""
    part = head.window(1, 22, 31, 32)
    skin, cloth = face.tinted("skin", SKIN_COLOURS), face.tinted("shirt_colour", CLOTH_COLOURS)
    shoulders = ellipse(part, 16, 34.5, 12.5, 8.8)
    part.paint(shoulders, cloth)
    bands = torch.maximum(stripes(part.y, 2.7, 1.25, 28.6), shoulders)
    part.paint(bands, cloth.lerp(_WHITE, 0.85), face.has("shirt", "striped"))
    part.paint(outline(ellipse(part, 16, 25.6, 4.2, 2.6), 1.2), cloth * 0.8)
    part.paint(torch.minimum(box(part, 13.2, 22, 18.8, 26.4, radius=1), ellipse(part, 16, 25.8, 3.8, 2.2)), skin * 0.86)


def _draw_head(head: Canvas, face: _Face) -> None:
    """Ears, head, cheeks and nose."""
    skin = face.tinted("skin", SKIN_COLOURS)
    part = head.window(3, 4, 29, 28)
    for x in (7.8, 24.2):
        part.paint(circle(part, x, 17, 1.8), skin * 0.92)
    part.paint(_skull(part), skin)
    part.paint(ellipse(part, 14, 10.5, 4, 2.5), skin.lerp(_WHITE, 0.5), 0.4, softness=3)
    part.paint(torch.maximum(_skull(part), 22.5 - part.y), skin * 0.86, 0.5, softness=2)
    for x in (10.6, 21.4):
        part.paint(circle(part, x, 19.6, 0.9), skin.lerp(_LIP, 0.35), 0.6, softness=1.5)
    part = head.window(12, 14, 20, 22)
    part.paint(capsule(part, 16, 17.6, 16, 18.4, 1.3), skin * 0.8)


def _skull(canvas: Canvas) -> Tensor:
    """Signed distance to the head: rounder above than below."""
    return torch.maximum(ellipse(canvas, 16, 16, 8.3, 8.9), ellipse(canvas, 16, 12, 9.6, 12.9))


def _draw_beard(head: Canvas, face: _Face) -> None:
    """Around the jaw, leaving the mouth free."""
    part = head.window(4, 15, 28, 29)
    jaw = torch.maximum(ellipse(part, 16, 16.4, 8.5, 9.4), 17.6 - part.y)
    beard = torch.maximum(jaw, -ellipse(part, 16, 19.6, 5.4, 3.9))
    part.paint(beard, face.tinted("beard", HAIR_COLOURS), 1 - face.has("beard", "none"))


def _draw_mouth(head: Canvas, face: _Face) -> None:
    part = head.window(10, 17, 22, 26)
    smile = torch.maximum(ellipse(part, 16, 19.6, 3.9, 3.4), 19.9 - part.y)
    part.paint(smile, _LIP, face.has("mouth", "smile"))
    part.paint(torch.maximum(smile + 0.55, part.y - 21.6), _WHITE, face.has("mouth", "smile"))
    frown = torch.maximum(outline(circle(part, 16, 24.1, 3.4), 1.5), part.y - 22.9)
    part.paint(frown, _LIP, face.has("mouth", "frown"))
    part.paint(ellipse(part, 16, 21.4, 2.2, 2.3), _LIP, face.has("mouth", "open"))
    part.paint(ellipse(part, 16, 21.4, 1.3, 1.5), _THROAT, face.has("mouth", "open"))


def _draw_eyes(head: Canvas, face: _Face) -> None:
    for factor, x in (("left_eye", 16 - _EYE_X), ("right_eye", 16 + _EYE_X)):
        part = head.window(x - 4.5, 12, x + 4.5, 20)
        part.paint(ellipse(part, x, _EYE_Y, 2.3, 1.9), _WHITE)
        part.paint(circle(part, x, _EYE_Y, 1.5), face.tinted(factor, EYE_COLOURS))
        part.paint(circle(part, x, _EYE_Y, 0.55), _DARK)
        part.paint(circle(part, x - 0.7, _EYE_Y - 0.7, 0.4), _WHITE, 0.8)


def _draw_front_hair(head: Canvas, face: _Face) -> None:
    """The fringe, and the hair beside the face."""
    colour = face.tinted("hair_colour", HAIR_COLOURS)
    part = head.window(3, 2, 29, 26)
    top = ellipse(part, 16, 13.5, 9.2, 8.6)
    short = torch.maximum(top, -ellipse(part, 16, 18.5, 7.6, 9.2))
    part.paint(torch.maximum(short, part.y - 16.4), colour, face.has("hair", "short"))
    parting = torch.minimum(ellipse(part, 11.5, 17.5, 4.4, 8.1), ellipse(part, 19, 18.5, 6.0, 9.0))
    part.paint(torch.maximum(top, -parting), colour, face.has("hair", "long"))
    fringe = torch.maximum(top, -box(part, 9.2, 9.4, 22.8, 26, radius=1))
    part.paint(fringe, colour, face.has("hair", "bob"))
    curls = [circle(part, x, y, 2.2) for x, y in ((9.0, 8.8), (12.6, 7.3), (16.3, 7.0), (20, 7.4), (23.1, 9.0))]
    part.paint(reduce(torch.minimum, curls), colour, face.has("hair", "curly"))


def _draw_hat(head: Canvas, face: _Face) -> None:
    """A cap with its peak to the right, or a beanie with a cuff and a bobble."""
    colour = face.tinted("hat_colour", CLOTH_COLOURS)
    part = head.window(2, 0, 32, 14)
    dome = torch.maximum(ellipse(part, 16, 10.0, 9.3, 7.2), part.y - 9.5)
    part.paint(dome, colour, 1 - face.has("hat", "none"))
    cap, beanie = face.has("hat", "cap"), face.has("hat", "beanie")
    part.paint(box(part, 12, 8.0, 29, 9.9, radius=0.9), colour * 0.72, cap)
    part.paint(circle(part, 16, 2.9, 0.8), colour * 0.72, cap)
    part.paint(box(part, 6.4, 6.8, 25.6, 9.9, radius=1.4), colour.lerp(_WHITE, 0.55), beanie)
    part.paint(circle(part, 16, 2.9, 2.0), colour.lerp(_WHITE, 0.55), beanie)


def _draw_brows(head: Canvas, face: _Face) -> None:
    """Level, slanted down to the nose, or raised in the middle."""
    colour = face.tinted("brow_colour", HAIR_COLOURS)
    for x, inwards in ((16 - _EYE_X, 1), (16 + _EYE_X, -1)):
        part = head.window(x - 5.5, 8, x + 5.5, 17)
        for shape, outer, inner in (("level", 11.8, 11.8), ("slanted", 10.6, 13.0), ("raised", 12.9, 10.5)):
            brow = capsule(part, x - 2.3 * inwards, outer, x + 2.1 * inwards, inner, 1.5)
            part.paint(brow, colour, face.has("brow_shape", shape))


def _draw_glasses(head: Canvas, face: _Face) -> None:
    """Each side by itself: its frame, half of the bridge and its temple."""
    for factor, x, inwards in (("left_glasses", 16 - _EYE_X, 1), ("right_glasses", 16 + _EYE_X, -1)):
        part = head.window(x - 9, 11, x + 9, 22)
        bars = torch.minimum(
            capsule(part, x + 3.0 * inwards, 15.6, 16, 15.6, 0.9),
            capsule(part, x - 3.0 * inwards, 15.6, x - 4.4 * inwards, 15.4, 0.9),
        )
        round_ = torch.minimum(outline(circle(part, x, 16.4, 2.95), 0.9), bars)
        part.paint(round_, _DARK, face.has(factor, "round"))
        square = torch.minimum(outline(box(part, x - 3.0, 14.0, x + 3.0, 18.9, radius=0.6), 1.0), bars)
        part.paint(square, _RED_FRAME, face.has(factor, "square"))


def _draw_earrings(head: Canvas, face: _Face) -> None:
    for factor, x in (("left_earring", 7.4), ("right_earring", 24.6)):
        part = head.window(x - 4.5, 16, x + 4.5, 25)
        for value, colour, rim in (("gold", _GOLD, _RIM), ("pearl", _PEARL, _SILVER)):
            part.paint(circle(part, x, 20.4, 1.9), rim, face.has(factor, value))
            part.paint(circle(part, x, 20.4, 1.35), colour, face.has(factor, value))


FACES = Scene("faces", MODEL, BOXES, draw, canonical)
