"""Samplers: one function each, one signature, each readable against its paper's algorithm.

Any of them is steered by a guide (`Step` -> clean prediction) without knowing which; `guide=None` is the
plain sampler, bit for bit.

Network evaluations for one image, with T steps (F forward, B backward):

    ddim, ddpm, replacement, ddrm, ddnm     T F             resampling      T P F
    dps                                     T (F + B)       repaint         about T repeats F
    copaint                                 T ((1 + G) F + G B), twice that for copaint-tt
"""

from ...errors import TiramisuError
from .copaint import CoPaintSettings, copaint
from .copaint_tt import CoPaintTTSettings, copaint_tt
from .cost import Evaluations, count_evaluations
from .ddim import ddim
from .ddnm import DDNMSettings, ddnm
from .ddpm import ddpm
from .ddrm import DDRMSettings, ddrm
from .dps import DPSSettings, dps
from .repaint import RePaintSettings, repaint
from .replacement import replacement
from .resampling import ResamplingSettings, resampling
from .step import Callback, Generators, Guide, Sampler, Step

SAMPLERS: dict[str, Sampler] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "replacement": replacement,
    "repaint": repaint,
    "ddrm": ddrm,
    "ddnm": ddnm,
    "dps": dps,
    "resampling": resampling,
    "copaint": copaint,
    "copaint-tt": copaint_tt,
}


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
    "CoPaintTTSettings",
    "DDNMSettings",
    "DDRMSettings",
    "DPSSettings",
    "Evaluations",
    "Generators",
    "Guide",
    "RePaintSettings",
    "ResamplingSettings",
    "Sampler",
    "Step",
    "copaint",
    "copaint_tt",
    "count_evaluations",
    "ddim",
    "ddnm",
    "ddpm",
    "ddrm",
    "dps",
    "get_sampler",
    "repaint",
    "replacement",
    "resampling",
]
