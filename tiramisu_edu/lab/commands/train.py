"""`tiramisu-edu train`: make the data and models of a world again, each from its recipe, scale and seed."""

from __future__ import annotations

from dataclasses import replace

from ..recipes.request import Options

HELP = "make the models of a world again"


def run(options: Options) -> int:
    """Train the parts named, each from its checkpoint where it was stopped, and renew the checksums."""
    from ..common import chosen_device, joined
    from ..recipes.parts import make

    with joined(options.device) as device:
        chosen_device(device)
        make(replace(options, device=device))
    return 0
