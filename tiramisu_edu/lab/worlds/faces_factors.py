"""What a face is made of: its 18 parts, their rules, their colours and where each one shows.

Left and right are the *picture's*: the left eye is the one at the smaller x. The rules, each a zero of a table below:

    a hat has the shirt's colour              both eyes have one colour
    hair has the brows' colour                both sides wear the same glasses
    a beard has the brows' colour             both ears wear the same earring
    no beard beside long hair or a bob        the brows' shape follows the mouth

Skin and hair, skin and eyes, shirt and background only lean on each other: no zeros there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from .factors import FactorModel, equal, factors
from .scene import Box

SKIN_COLOURS = {"porcelain": "#ffe2cc", "peach": "#f3c29c", "olive": "#d5a06c", "brown": "#aa704a", "deep": "#80523c"}
HAIR_COLOURS = {"black": "#221e28", "brown": "#5a2c10", "blond": "#f6d05c", "ginger": "#d65c20", "grey": "#b8bcc8"}
CLOTH_COLOURS = {"red": "#de3a3c", "amber": "#f7b224", "green": "#3ea64e"}
CLOTH_COLOURS |= {"teal": "#22b0ba", "blue": "#3062de", "purple": "#924ac2"}
EYE_COLOURS = {"brown": "#703c18", "blue": "#2a78f0", "green": "#22a048", "violet": "#a23ed6"}

# Weights, a row for each colour of the skin: of the colours of the hair, and of the eyes.
_HAIRS_OF_SKIN = [(1, 2, 3, 3, 1), (2, 3, 3, 1, 1), (4, 3, 1, 1, 1), (5, 2, 1, 1, 1), (6, 1, 1, 1, 1)]
_EYES_OF_SKIN = [(1, 4, 3, 2), (2, 3, 3, 2), (4, 1, 3, 2), (5, 1, 2, 2), (5, 1, 1, 3)]
_BROWS_OF_MOUTH = {"smile": "level", "frown": "slanted", "open": "raised"}
_HATS = {"none": 0.3, "cap": 0.35, "beanie": 0.35}
_HAIRS = {"none": 0.12, "short": 0.26, "long": 0.2, "bob": 0.2, "curly": 0.22}
_MOUTHS = {"smile": 0.4, "frown": 0.3, "open": 0.3}
_GLASSES = {"none": 0.4, "round": 0.3, "square": 0.3}
_EARRINGS = {"none": 0.3, "gold": 0.35, "pearl": 0.35}


def _of_skin(colours: dict[str, str], weights: Sequence[Sequence[int]]) -> Callable[[str], dict[str, float]]:
    """The rule of a colour that leans on the skin's."""
    rows = dict(zip(SKIN_COLOURS, weights, strict=True))
    return lambda skin: dict(zip(colours, rows[skin], strict=True))


def _pastel(cloth: str) -> dict[str, float]:
    return dict.fromkeys(CLOTH_COLOURS, 0.04) | {cloth: 0.8}


def _if_any(thing: str, colour: str) -> str:
    return "none" if thing == "none" else colour


def _beard(hair: str, brow: str) -> dict[str, float]:
    return {"none": 1.0} if hair in ("long", "bob") else {"none": 0.4, brow: 0.6}


MODEL = FactorModel(
    factors(
        ("skin", SKIN_COLOURS),
        ("shirt_colour", CLOTH_COLOURS),
        ("shirt", ("plain", "striped")),
        ("background", CLOTH_COLOURS, ["shirt_colour"], _pastel),
        ("hat", _HATS, [], lambda: _HATS),
        ("hat_colour", ("none", *CLOTH_COLOURS), ["hat", "shirt_colour"], _if_any),
        ("brow_colour", HAIR_COLOURS, ["skin"], _of_skin(HAIR_COLOURS, _HAIRS_OF_SKIN)),
        ("hair", _HAIRS, [], lambda: _HAIRS),
        ("hair_colour", ("none", *HAIR_COLOURS), ["hair", "brow_colour"], _if_any),
        ("beard", ("none", *HAIR_COLOURS), ["hair", "brow_colour"], _beard),
        ("mouth", _MOUTHS, [], lambda: _MOUTHS),
        ("brow_shape", _BROWS_OF_MOUTH.values(), ["mouth"], _BROWS_OF_MOUTH.__getitem__),
        ("left_eye", EYE_COLOURS, ["skin"], _of_skin(EYE_COLOURS, _EYES_OF_SKIN)),
        ("right_eye", EYE_COLOURS, ["left_eye"], equal),
        ("left_glasses", _GLASSES, [], lambda: _GLASSES),
        ("right_glasses", _GLASSES, ["left_glasses"], equal),
        ("left_earring", _EARRINGS, [], lambda: _EARRINGS),
        ("right_earring", _EARRINGS, ["left_earring"], equal),
    )
)

# Jitter included, but for a pixel of bridge. Half of any one box suffices to read its factor; all of them hold it.
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

    Independent factors may combine a red hat colour with no hat, or a cap with no colour. Where either of "hat" and
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
