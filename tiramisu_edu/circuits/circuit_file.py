"""Circuits as files: one safetensors file of parameters, with the region graph and facts as metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileError, StructureError
from ..files import loaded, save_safetensors
from .regions import RegionGraph
from .tables import Tables

KIND, VERSION = "circuit", 1
PROBABILITIES = (None, "categorical")  # sums and inputs whose parameters are probabilities themselves
MOST_CATEGORIES = 2**20  # of a file; a family with two numbers per unit could claim any
FLOATS = (torch.float32, torch.float64, torch.bfloat16)


def write(path: str | Path, tables: Tables, facts: dict[str, Any], *, half: bool = False) -> None:
    """Write a circuit: tensors `theta.0`, `theta.1` …, the region graph and the facts as metadata.

    Args:
        half: probabilities in bfloat16, half the bytes.
    """
    tensors = {}
    for i, (theta, family) in enumerate(zip(tables.parameter_list, tables.families)):
        tensors[f"theta.{i}"] = theta.bfloat16() if half and family in PROBABILITIES else theta
    metadata = {"graph": tables.graph.to_json(), "facts": facts}
    save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=metadata)


def read(path: str | Path) -> tuple[RegionGraph, dict[str, Tensor], torch.dtype, dict[str, Any]]:
    """The graph, the tensors, the floats of a circuit that holds them, and the facts.

    Raises:
        FileError: when the file holds no circuit, or parameters that are no finite floats.
    """
    with loaded(path, kind=KIND, version=VERSION) as (tensors, metadata):
        try:
            graph, facts = RegionGraph.from_json(metadata["graph"]), metadata["facts"]
        except StructureError as error:
            raise FileError(f"{path} does not hold a circuit: {error}") from error
    if graph.num_categories > MOST_CATEGORIES or graph.num_stored > sum(theta.numel() for theta in tensors.values()):
        raise FileError(f"{path}: its graph needs more parameters than the file holds")
    for name, theta in tensors.items():
        if theta.dtype not in FLOATS:
            raise FileError(f"{path}: its tensor {name} holds {theta.dtype}, no parameters")
        if not theta.isfinite().all():
            raise FileError(f"{path}: its tensor {name} contains NaN or an infinite number")
    is_double = any(theta.dtype == torch.float64 for theta in tensors.values())
    return graph, tensors, torch.float64 if is_double else torch.float32, facts


@torch.no_grad()
def fill(path: str | Path, tables: Tables, tensors: dict[str, Tensor]) -> None:
    """Copy the tensors of a file to a circuit's parameters; probabilities in half precision are normalised again.

    Raises:
        FileError: when they do not fit, or are no probabilities where there should be some.
    """
    expected = [tuple(theta.shape) for theta in tables.parameter_list]
    found = [tuple(tensors[f"theta.{i}"].shape) if f"theta.{i}" in tensors else None for i in range(len(tensors))]
    if expected != found:
        raise FileError(f"{path}: its tensors have shapes {found}, its graph needs {expected}")
    for i, (theta, family) in enumerate(zip(tables.parameter_list, tables.families)):
        stored = tensors[f"theta.{i}"]
        theta.copy_(stored)
        if stored.dtype == torch.bfloat16:
            theta /= theta.sum(-1, keepdim=True)
        if family in (*PROBABILITIES, "indicator", "bernoulli") and (theta < 0).any():
            raise FileError(f"{path}: its tensor theta.{i} holds negative probabilities")
