"""Samplers: one function each, one signature, each readable against its paper's algorithm.

Any of them is steered by a guide (`Step` -> clean prediction) without knowing which; `guide=None` is the
plain sampler, bit for bit.

Network evaluations for one image, with T steps (F forward, B backward):

    ddim, ddpm, replacement, ddrm, ddnm     T F             resampling      T P F
    dps                                     T (F + B)       repaint         about T repeats F
    copaint                                 T ((1 + G) F + G B), twice that for copaint-tt
"""

from tiramisu_edu.diffusion.samplers.copaint import CoPaintSettings, copaint
from tiramisu_edu.diffusion.samplers.copaint_tt import CoPaintTTSettings, copaint_tt
from tiramisu_edu.diffusion.samplers.cost import Evaluations, count_evaluations
from tiramisu_edu.diffusion.samplers.ddim import ddim
from tiramisu_edu.diffusion.samplers.ddnm import DDNMSettings, ddnm
from tiramisu_edu.diffusion.samplers.ddpm import ddpm
from tiramisu_edu.diffusion.samplers.ddrm import DDRMSettings, ddrm
from tiramisu_edu.diffusion.samplers.dps import DPSSettings, dps
from tiramisu_edu.diffusion.samplers.repaint import RePaintSettings, repaint
from tiramisu_edu.diffusion.samplers.replacement import replacement
from tiramisu_edu.diffusion.samplers.resampling import ResamplingSettings, resampling
from tiramisu_edu.diffusion.samplers.step import Callback, Generators, Guide, Sampler, Step
from tiramisu_edu.errors import TiramisuError

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
