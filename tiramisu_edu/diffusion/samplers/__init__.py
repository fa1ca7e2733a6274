"""Samplers: one function each, one signature, each readable against its paper's algorithm.

Any of them is steered by a guide (`Step` -> clean prediction) without knowing which; `guide=None` is the
plain sampler, bit for bit.
"""

from tiramisu_edu.diffusion.samplers.copaint import CoPaintSettings, copaint
from tiramisu_edu.diffusion.samplers.ddim import ddim
from tiramisu_edu.diffusion.samplers.replacement import replacement
from tiramisu_edu.diffusion.samplers.step import Callback, Generators, Guide, Sampler, Step
from tiramisu_edu.errors import TiramisuError

SAMPLERS: dict[str, Sampler] = {"ddim": ddim, "replacement": replacement, "copaint": copaint}


def get_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        TiramisuError: there is none.
    """
    if name not in SAMPLERS:
        raise TiramisuError(f"unknown sampler {name!r}: expected {', '.join(SAMPLERS)}")
    return SAMPLERS[name]


__all__ = [
    "SAMPLERS",
    "Callback",
    "CoPaintSettings",
    "Generators",
    "Guide",
    "Sampler",
    "Step",
    "copaint",
    "ddim",
    "get_sampler",
    "replacement",
]
