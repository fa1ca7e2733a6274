"""What a bedroom is made of, and which of its parts must match.

Everything that a rule joins is a factor of its own, so that a completion can break the rule. The rules join
parts that are far apart: left and right, wall and floor, the middle and the rim. Whichever of them a mask hides, what
it leaves visible determines some of the rest.
"""

from .factors import FactorModel, equal, factors

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
