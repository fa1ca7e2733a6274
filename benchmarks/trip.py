"""How far one guided step of `inpaint` travels: package calls, functions, files, and moves between files.

python -m benchmarks.trip
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

import tiramisu_edu
from tiramisu_edu import inpaint, load
from tiramisu_edu.masks import mask

HOME = str(Path(tiramisu_edu.__file__).parent)


def trip(journey: Callable[[], object]) -> dict[str, int]:
    """Counts of the calls into the package that `journey` makes; comprehensions and lambdas are no stops."""
    stops: list[tuple[str, str]] = []

    def note(frame, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(HOME) and not code.co_name.startswith("<"):
            stops.append((code.co_filename, code.co_name))

    sys.setprofile(note)
    try:
        journey()
    finally:
        sys.setprofile(None)
    files = [file for file, _ in stops]
    moves = sum(here != there for here, there in pairwise(files))
    return {"calls": len(stops), "functions": len(set(stops)), "files": len(set(files)), "moves": moves}


def main() -> None:
    world = load("digits")
    image = world.images("test", 1)[0]
    known = mask("left", *image.shape[-2:])[None]

    def step() -> object:
        options = {"sampler": "replacement", "guide": "difference", "num_inference_steps": 1}
        return inpaint(world, image, known, generator=torch.Generator().manual_seed(0), **options)

    step()  # models are read once
    print("one step of inpaint, replacement + difference, digits:", trip(step))


if __name__ == "__main__":
    main()
