"""What a face is made of: its 18 parts, their rules, their colours and where each one shows.

Left and right are the *picture's*: the left eye is the one at the smaller x. The rules, each a zero of a table below:

    a hat has the shirt's colour              both eyes have one colour
    hair has the brows' colour                both sides wear the same glasses
    a beard has the brows' colour             both ears wear the same earring
    no beard beside long hair or a bob        the brows' shape follows the mouth

Skin and hair, skin and eyes, shirt and background only lean on each other: no zeros there.
"""

from __future__ import annotations

from torch import Tensor

from .factors import Factor, FactorModel, factor
from .scene import Box

SKIN_COLOURS = {
    "porcelain": (255, 226, 204),
    "peach": (243, 194, 156),
    "olive": (213, 160, 108),
    "brown": (170, 112, 74),
    "deep": (128, 82, 60),
}
HAIR_COLOURS = {
    "black": (34, 30, 40),
    "brown": (90, 44, 16),
    "blond": (246, 208, 92),
    "ginger": (214, 92, 32),
    "grey": (184, 188, 200),
}
CLOTH_COLOURS = {
    "red": (222, 58, 60),
    "amber": (247, 178, 36),
    "green": (62, 166, 78),
    "teal": (34, 176, 186),
    "blue": (48, 98, 222),
    "purple": (146, 74, 194),
}
EYE_COLOURS = {"brown": (112, 60, 24), "blue": (42, 120, 240), "green": (34, 160, 72), "violet": (162, 62, 214)}

_HAIR_OF_SKIN = {  # weights of black, brown, blond, ginger, grey
    "porcelain": (1, 2, 3, 3, 1),
    "peach": (2, 3, 3, 1, 1),
    "olive": (4, 3, 1, 1, 1),
    "brown": (5, 2, 1, 1, 1),
    "deep": (6, 1, 1, 1, 1),
}
_EYES_OF_SKIN = {  # weights of brown, blue, green, violet
    "porcelain": (1, 4, 3, 2),
    "peach": (2, 3, 3, 2),
    "olive": (4, 1, 3, 2),
    "brown": (5, 1, 2, 2),
    "deep": (5, 1, 1, 3),
}
_BROWS_OF_MOUTH = {"smile": "level", "frown": "slanted", "open": "raised"}


def _factors() -> list[Factor]:
    skins, cloths, hairs, eyes = map(list, (SKIN_COLOURS, CLOTH_COLOURS, HAIR_COLOURS, EYE_COLOURS))

    def pastel_of(cloth: str) -> dict[str, float]:
        return dict.fromkeys(cloths, 0.04) | {cloth: 0.8}

    def hat_colour_of(hat: str, cloth: str) -> str:
        return "none" if hat == "none" else cloth

    def hair_colour_of(hair: str, brow: str) -> str:
        return "none" if hair == "none" else brow

    def beard_of(hair: str, brow: str) -> dict[str, float]:
        return {"none": 1.0} if hair in ("long", "bob") else {"none": 0.4, brow: 0.6}

    skin = factor("skin", skins)
    shirt_colour = factor("shirt_colour", cloths)
    shirt = factor("shirt", ("plain", "striped"))
    background = factor("background", cloths, [shirt_colour], pastel_of)
    hat = _free("hat", none=0.3, cap=0.35, beanie=0.35)
    hat_colour = factor("hat_colour", ["none", *cloths], [hat, shirt_colour], hat_colour_of)
    brow_colour = factor("brow_colour", hairs, [skin], lambda skin: dict(zip(hairs, _HAIR_OF_SKIN[skin], strict=True)))
    hair = _free("hair", none=0.12, short=0.26, long=0.2, bob=0.2, curly=0.22)
    hair_colour = factor("hair_colour", ["none", *hairs], [hair, brow_colour], hair_colour_of)
    beard = factor("beard", ["none", *hairs], [hair, brow_colour], beard_of)
    mouth = _free("mouth", smile=0.4, frown=0.3, open=0.3)
    brow_shape = factor("brow_shape", list(_BROWS_OF_MOUTH.values()), [mouth], _BROWS_OF_MOUTH.__getitem__)
    left_eye = factor("left_eye", eyes, [skin], lambda skin: dict(zip(eyes, _EYES_OF_SKIN[skin], strict=True)))
    left_glasses = _free("left_glasses", none=0.4, round=0.3, square=0.3)
    left_earring = _free("left_earring", none=0.3, gold=0.35, pearl=0.35)
    return [
        *(skin, shirt_colour, shirt, background, hat, hat_colour, brow_colour, hair, hair_colour, beard),
        *(mouth, brow_shape, left_eye, _same("right_eye", left_eye)),
        *(left_glasses, _same("right_glasses", left_glasses), left_earring, _same("right_earring", left_earring)),
    ]


def _free(name: str, **weights: float) -> Factor:
    """A factor without parents."""
    return factor(name, list(weights), (), lambda: weights)


def _same(name: str, other: Factor) -> Factor:
    """A factor that must equal another one."""
    return factor(name, other.values, [other], lambda value: value)


MODEL = FactorModel(_factors())

# Jitter included, but for a pixel of bridge. Half of any one box tells its factor; together they hold what shows it.
_HAT_BOXES = (Box(6, 2, 16, 11.5), Box(16, 2, 29, 11.5))
_BROW_BOXES = (Box(8, 9, 15.5, 14.5), Box(16.5, 9, 24, 14.5))
BOXES = {
    "skin": (Box(6, 12, 26, 26), Box(15, 16, 17, 18)),
    "shirt_colour": (Box(4, 24, 16, 32), Box(16, 24, 28, 32)),
    "shirt": (Box(4, 26, 16, 32), Box(16, 26, 28, 32)),
    "background": (Box(0, 0, 10, 26), Box(22, 0, 32, 26), Box(0, 0, 4, 24), Box(28, 0, 32, 7)),
    "hat": _HAT_BOXES,
    "hat_colour": _HAT_BOXES,
    "brow_colour": _BROW_BOXES,
    "hair": (Box(3, 4, 16, 30), Box(16, 4, 29, 30)),
    "hair_colour": (Box(3, 2, 16, 29), Box(16, 2, 29, 29)),
    "beard": (Box(6, 16, 16, 28), Box(16, 16, 26, 28)),
    "mouth": (Box(11, 18, 21, 25),),
    "brow_shape": _BROW_BOXES,
    "left_eye": (Box(9.5, 13, 15, 19), Box(11.3, 15, 13.3, 17)),
    "right_eye": (Box(17, 13, 22.5, 19), Box(18.7, 15, 20.7, 17)),
    "left_glasses": (Box(7, 12, 16, 21),),
    "right_glasses": (Box(16, 12, 25, 21),),
    "left_earring": (Box(4, 17.5, 10, 23.5),),
    "right_earring": (Box(22, 17.5, 28, 23.5),),
}


def canonical(states: Tensor) -> Tensor:
    """States whose words are what a picture of them shows.

    Independent factors may ask for a red hat that is not there, or for a cap of no colour. Where either of "hat" and
    "hat_colour" is "none", both become "none"; "hair" and "hair_colour" likewise. Coherent states stay as they are.

    Args:
        states: (N, F) long.

    Returns: (N, F) long.
    """
    states = states.clone()
    for pair in (("hat", "hat_colour"), ("hair", "hair_colour")):
        columns = [MODEL.index(name) for name in pair]  # "none" is value 0 of each
        states[:, columns] *= (states[:, columns] > 0).all(1, keepdim=True)
    return states
