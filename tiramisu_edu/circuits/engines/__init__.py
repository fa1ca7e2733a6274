"""How the levels of a circuit are executed: three modules with the functions `forward`, `backward`, `log_partition`.

    torch     any circuit, messages in log space
    linear    trees with scaled linear messages, several times faster; all that these cannot hold it leaves to torch
    triton    any circuit on a GPU in float32, as fused kernels

`choose` says which one runs.
"""

from __future__ import annotations

import os
from types import ModuleType

import torch

from ...errors import TiramisuError

ENGINES = ("linear", "torch", "triton")


def choose(engine: str | None, device: torch.device, dtype: torch.dtype) -> ModuleType:
    """The module that computes messages and flows for parameters of this device and dtype.

    Args:
        engine: one of ENGINES, or None for the fastest that runs here: triton on a GPU in float32, else linear.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        TiramisuError: for an unknown name, or when triton is asked for where it cannot run, saying why.
    """
    if engine not in (None, *ENGINES):
        raise TiramisuError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    obstacle = "" if engine in ("linear", "torch") else _obstacle_to_triton(device, dtype)
    if engine == "triton" and obstacle:
        raise TiramisuError(f"the triton engine cannot run here: {obstacle}. Use engine='torch'")
    if engine == "triton" or (engine is None and device.type == "cuda" and not obstacle):
        from . import triton_engine

        return triton_engine
    from . import linear_engine, torch_engine

    return torch_engine if engine == "torch" else linear_engine


def _obstacle_to_triton(device: torch.device, dtype: torch.dtype) -> str:
    """Why the Triton kernels cannot run on such parameters; empty if they can. Imports Triton only as a last resort."""
    if dtype != torch.float32:
        return f"its matrix products are in float32, not {str(dtype).removeprefix('torch.')}"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the parameters are on the {device.type}, not on a GPU (TRITON_INTERPRET=1 would interpret the kernels)"
    if device.type == "cuda" and torch.version.hip is None and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability(device)
        if major < 8:
            return f"its kernels are made for compute capability 8.0 or newer, not {major}.{minor}"
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return ""
