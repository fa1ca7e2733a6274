"""A circuit of tensors as scalar nodes of the reference."""

from __future__ import annotations

from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum
from tiramisu_edu.circuits.reference import ReferenceCircuit


def to_reference(circuit: Circuit) -> ReferenceCircuit:
    """The same distribution as scalar nodes: unit k of region r becomes a sum or input node named `r.k`.

    Tied regions share their parameters by the nodes' `tie`. Meant for circuits small enough to read.
    """
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
