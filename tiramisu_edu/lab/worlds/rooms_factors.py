"""What a bedroom is made of, and which of its parts must match.

Everything that a rule joins is a factor of its own, so that a completion can break the rule. The rules join
parts that are far apart: left and right, wall and floor, the middle and the rim. Whichever of them a mask hides, what
it leaves visible determines some of the rest.
"""

from .factors import FactorModel, factor

COLOURS = ("brick", "mustard", "green", "blue", "plum", "pink")
WOODS = ("oak", "walnut", "white", "slate")
WALLS = ("cream", "sky", "mint", "rose", "lilac")
PATTERNS = ("plain", "stripes", "dots")
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
FLOORS = {"oak": "planks", "walnut": "dark planks", "white": "planks", "slate": "carpet"}


def _same(value: str) -> str:
    return value


def _floor(wood: str) -> dict[str, float]:
    return {floor: 0.7 if floor == FLOORS[wood] else 0.15 for floor in ("planks", "dark planks", "carpet")}


def rooms_model() -> FactorModel:
    """The factors of a room, parents first: 11 are determined by others, the cushion is one of two colours."""
    sky = factor("sky", ("day", "night"))
    left_lamp = factor("left lamp", ("off", "on"), [sky], lambda time: {"day": "off", "night": "on"}[time])
    right_lamp = factor("right lamp", left_lamp.values, [left_lamp], _same)

    cover = factor("bed cover", COLOURS)
    left_curtain = factor("left curtain", COLOURS, [cover], _same)
    right_curtain = factor("right curtain", COLOURS, [left_curtain], _same)
    slippers = factor("slippers", COLOURS, [cover], _same)
    cushion = factor("cushion", COLOURS, [cover], lambda colour: dict.fromkeys(CUSHIONS[colour], 0.5))
    rug = factor("rug", COLOURS, [cushion], _same)

    wall = factor("wall", WALLS)
    wall_pattern = factor("wall pattern", PATTERNS, [], lambda: {"plain": 0.4, "stripes": 0.3, "dots": 0.3})
    cover_pattern = factor("cover pattern", PATTERNS, [wall_pattern], _same)

    headboard = factor("headboard", WOODS)
    left_table = factor("left table", WOODS, [headboard], _same)
    right_table = factor("right table", WOODS, [left_table], _same)
    floor = factor("floor", ("planks", "dark planks", "carpet"), [headboard], _floor)

    left_picture = factor("left picture", MOTIFS)
    right_picture = factor("right picture", MOTIFS, [left_picture], _same)
    rug_pattern = factor("rug pattern", MOTIFS, [left_picture], _same)
    plant = factor("plant", ("none", "leaves", "flower"))

    lights = [sky, left_lamp, right_lamp]
    colours = [cover, left_curtain, right_curtain, slippers, cushion, rug]
    walls = [wall, wall_pattern, cover_pattern]
    woods = [headboard, left_table, right_table, floor]
    return FactorModel([*lights, *colours, *walls, *woods, left_picture, right_picture, rug_pattern, plant])
