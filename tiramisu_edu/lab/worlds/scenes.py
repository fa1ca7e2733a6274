"""The procedural worlds by name."""

from .faces import FACES
from .rooms import ROOMS
from .scene import Scene

SCENES: dict[str, Scene] = {"faces": FACES, "rooms": ROOMS}
