"""The procedural worlds by name."""

from tiramisu_edu.worlds.faces import FACES
from tiramisu_edu.worlds.rooms import ROOMS
from tiramisu_edu.worlds.scene import Scene

SCENES: dict[str, Scene] = {"faces": FACES, "rooms": ROOMS}
