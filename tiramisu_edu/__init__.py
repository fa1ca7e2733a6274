"""tiramisu_edu: inpainting by tractable steering of diffusion models, to learn from and to use.

A diffusion model paints well but cannot condition exactly on known pixels; a probabilistic circuit conditions exactly
but paints poorly. Steering mixes their predictions of the clean image (Liu, Niepert, Van den Broeck, "Image Inpainting
via Tractable Steering of Diffusion Models", ICLR 2024).

Letters, everywhere: B batch, D variables, C categories, K units per region, R regions, T steps, H W pixels. Quantities
whose name begins with `log_` are logarithms. Images are float (B, C, H, W) in [-1, 1]; `known` is True where a pixel
is given.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

_HOME = {
    "Circuit": "circuits.circuit",
    "structures": "circuits.structures",
    "fit_em": "circuits.learning",
    "load_pyjuice": "circuits.pyjuice",
    "Denoiser": "diffusion.denoiser",
    "Schedule": "diffusion.schedule",
    "Guide": "steering.guide",
    "PatchCodebook": "steering.patches",
    "Tokenizer": "tokenizer",
    "World": "world",
    "load": "lab.zoo",
    "inpaint": "inpainting",
    "fuse": "fusion",
    "TiramisuInpaintPipeline": "pipeline",
    "TiramisuError": "errors",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import tiramisu_edu` costs nothing."""
    if name == "__version__":
        return importlib.metadata.version("tiramisu-edu")
    if name not in _HOME:
        raise AttributeError(f"module 'tiramisu_edu' has no attribute {name!r}")
    module = importlib.import_module(f".{_HOME[name]}", __name__)
    return module if name == "structures" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
