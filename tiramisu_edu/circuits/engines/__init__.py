"""How the levels of a circuit are executed: three modules with `forward`, `backward`, `log_partition` and `odds`.

    fast      any circuit: scaled linear messages; the samples that leave the range of the floats it leaves to safe
    safe      any circuit: log space in float64, gradients by autograd; short and slow
    triton    any circuit on a GPU in float32, as fused kernels

`choose` says which one runs.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch

from ...errors import TiramisuError
from . import fast, safe

ENGINES = ("fast", "safe", "triton")


def choose(engine: str | None, device: torch.device, dtype: torch.dtype) -> ModuleType:
    """The module that computes messages and flows for parameters of this device and dtype.

    Args:
        engine: one of ENGINES, or None for the fastest that runs here: triton on a GPU in float32, else fast.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        TiramisuError: for an unknown name, or when triton is asked for where it cannot run, saying why.
    """
    if engine not in (None, *ENGINES):
        raise TiramisuError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    if engine in ("fast", "safe"):
        return fast if engine == "fast" else safe
    obstacle = _obstacle_to_triton(device, dtype)
    if engine == "triton" and obstacle:
        raise TiramisuError(f"the triton engine cannot run here: {obstacle}. Use engine='fast'")
    if engine is None and (obstacle or device.type != "cuda"):
        return fast
    return import_module(".triton_engine", __package__)  # needs triton, which is made for Linux only


def _obstacle_to_triton(device: torch.device, dtype: torch.dtype) -> str:
    """Why the Triton kernels cannot run on such parameters; empty if they can."""
    if dtype != torch.float32:
        return f"its matrix products are in float32, not {str(dtype).removeprefix('torch.')}"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the parameters are on the {device.type}, not on a GPU (TRITON_INTERPRET=1 would interpret the kernels)"
    if device.type == "cuda" and torch.version.hip is None and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability(device)
        if major < 8:
            return f"its kernels are made for compute capability 8.0 or newer, not {major}.{minor}"
    if find_spec("triton") is None:
        return "triton is not installed"
    found = str(import_module("triton").__version__)
    is_new = tuple(map(int, found.split(".")[:2])) >= (3, 6)  # records as arguments of kernels are compiled since
    return "" if is_new else f"its kernels need triton 3.6 or newer, not {found}"
