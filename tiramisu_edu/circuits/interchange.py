"""Circuits in and out: one safetensors file, and the same circuit as scalar nodes of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import FileError, StructureError
from ..files import load_safetensors, save_safetensors
from .regions import RegionGraph

if TYPE_CHECKING:
    from .circuit import Circuit
    from .reference import ReferenceCircuit

KIND, VERSION = "circuit", 1
PROBABILITIES = (None, "categorical")  # sums and inputs whose parameters are probabilities themselves


def save_circuit(circuit: Circuit, path: str | Path, facts: dict[str, Any], *, half: bool = False) -> None:
    """Write a circuit: tensors `theta.0`, `theta.1` …, the region graph and the facts as metadata."""
    tensors = {f"theta.{i}": theta for i, theta in enumerate(circuit.parameter_list)}
    if half:
        for i, parameter in enumerate(circuit.plan.parameters):
            if parameter.family in PROBABILITIES:
                tensors[f"theta.{i}"] = tensors[f"theta.{i}"].bfloat16()
    save_safetensors(
        path, tensors, kind=KIND, version=VERSION, metadata={"graph": circuit.graph.to_json(), "facts": facts}
    )


def load_circuit(path: str | Path) -> Circuit:
    """Read a circuit that `save_circuit` wrote.

    Raises:
        FileError: when the file is not such a circuit, or its tensors do not fit its graph.
    """
    from .circuit import Circuit

    tensors, metadata = load_safetensors(path, kind=KIND, version=VERSION)
    try:
        graph = RegionGraph.from_json(metadata["graph"])
        is_double = any(theta.dtype == torch.float64 for theta in tensors.values())
    except (KeyError, StructureError) as error:
        raise FileError(f"{path} does not hold a circuit: {error}") from error
    circuit = Circuit(graph, generator=torch.Generator(), dtype=torch.float64 if is_double else torch.float32)
    expected = [tuple(theta.shape) for theta in circuit.parameter_list]
    found = [tuple(tensors[f"theta.{i}"].shape) if f"theta.{i}" in tensors else None for i in range(len(tensors))]
    if expected != found:
        raise FileError(f"{path}: its tensors have shapes {found}, its graph needs {expected}")
    with torch.no_grad():
        for i, theta in enumerate(circuit.parameter_list):
            stored = tensors[f"theta.{i}"]
            theta.copy_(stored)
            if stored.dtype == torch.bfloat16:
                theta /= theta.sum(-1, keepdim=True)
    circuit.facts = metadata["facts"]
    return circuit


def to_reference(circuit: Circuit) -> ReferenceCircuit:
    """The same distribution as scalar nodes: unit k of region r becomes a sum or input node named `r.k`.

    Tied regions share their parameters by the nodes' `tie`. Meant for circuits small enough to read.
    """
    from .nodes import Input, Node, Product, Sum
    from .reference import ReferenceCircuit

    graph = circuit.graph
    units: dict[int, list[Node]] = {}
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        region = graph.regions[index]
        theta = circuit.region_table(index).detach().double().cpu()
        rows = (theta / theta.sum(-1, keepdim=True)).tolist()
        owner = index if region.tied_to is None else region.tied_to
        names = [(f"{index}.{k}", f"{owner}.{k}") for k in range(region.num_units)]
        if region.is_input:
            units[index] = [Input(region.scope[0], row, name=name, tie=tie) for row, (name, tie) in zip(rows, names)]
            continue
        products = [
            Product([units[child][j] for child in partition], name=f"{index}.p{p}.{j}")
            for p, partition in enumerate(region.partitions)
            for j in range(graph.regions[partition[0]].num_units)
        ]
        units[index] = [Sum(products, row, name=name, tie=tie) for row, (name, tie) in zip(rows, names)]
    return ReferenceCircuit(units[len(graph.regions) - 1][0])
