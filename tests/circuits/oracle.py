"""The oracle of the circuit tests: the whole joint table, by brute force, and random circuits and evidence."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.regions import RegionGraph

EVIDENCE_KINDS = ("soft", "hard", "missing", "tiny", "excluding", "contradictory")


def joint_table(circuit: Circuit, parameters: list[Tensor] | None = None) -> Tensor:
    """p(x) for every x, float64 of shape (C,) * D, each region's table built from those of its children."""
    graph, plan = circuit.graph, circuit.plan
    theta_of = [p.double() for p in (parameters or list(circuit.parameter_list))]
    tables: dict[int, Tensor] = {}
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        region = graph.regions[index]
        parameter, row = plan.region_parameter[index]
        theta = theta_of[parameter][row]
        if region.is_input:
            shape = [1] * graph.num_variables
            shape[region.scope[0]] = graph.num_categories
            tables[index] = theta.reshape(-1, *shape)
            continue
        products = []
        for partition in region.partitions:
            product = tables[partition[0]]
            for child in partition[1:]:
                product = product * tables[child]
            products.append(product)
        tables[index] = torch.tensordot(theta, torch.cat(products), 1)
    return tables[len(graph.regions) - 1][0]


def weighted(table: Tensor, log_weights: Tensor) -> Tensor:
    """p(x) prod_i w_i(x_i) for one row of evidence (D, C)."""
    for i, row in enumerate(log_weights.double().exp()):
        table = table * row.reshape([-1 if j == i else 1 for j in range(table.ndim)])
    return table


def marginals(table: Tensor) -> Tensor:
    """(D, C) normalised single-variable sums of an unnormalised table."""
    rows = [table.movedim(i, 0).flatten(1).sum(1) if table.ndim > 1 else table for i in range(table.ndim)]
    return torch.stack(rows) / table.sum()


@st.composite
def graphs(draw: st.DrawFn) -> RegionGraph:
    """A small region graph of any structure, at most 5 variables with at most 4 categories."""
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    num_variables, C = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    K = draw(st.integers(1, 4))
    sizes = {"num_categories": C, "num_latents": K}
    data = torch.randint(C, (20, num_variables), generator=g)
    kind = draw(st.sampled_from(["factorized", "mixture", "hmm", "tied", "chow_liu", "hclt", "quad", "pd", "rat"]))
    if kind == "factorized":
        return structures.factorized(num_variables, num_categories=C)
    if kind == "mixture":
        return structures.mixture(num_variables, **sizes)
    if kind in ("hmm", "tied"):
        return structures.hmm(num_variables, tied=kind == "tied", **sizes)
    if kind == "chow_liu":
        return structures.chow_liu_tree(data, num_categories=C)
    if kind == "hclt":
        return structures.hclt(data, **sizes)
    if kind == "quad":
        return structures.quad_tree(*draw(st.sampled_from([(1, 1), (1, 3), (2, 2), (3, 1), (1, 5)])), **sizes)
    if kind == "pd":
        shape = draw(st.sampled_from([(1, 1), (1, 3), (2, 2), (3, 1), (1, 5)]))
        return structures.poon_domingos(*shape, step=draw(st.integers(1, 3)), **sizes)
    depth = draw(st.integers(1, max(1, num_variables.bit_length() - 1)))
    num_variables = max(num_variables, 2**depth)
    return structures.rat_spn(num_variables, depth=depth, repetitions=draw(st.integers(1, 3)), generator=g, **sizes)


def random_circuit(graph: RegionGraph, seed: int, peakedness: float, dtype: torch.dtype) -> Circuit:
    """Parameters theta proportional to exp(peakedness * normal): at 30 many are below 1e-30, some are zero."""
    g = torch.Generator().manual_seed(seed)
    circuit = Circuit(graph, generator=g, dtype=dtype)
    with torch.no_grad():
        for theta, parameter in zip(circuit.parameter_list, circuit.plan.parameters):
            if parameter.family == "categorical" or parameter.family is None:
                noise = torch.randn(theta.shape, generator=g, dtype=torch.float64)
                theta.copy_(torch.softmax(peakedness * noise, -1))
    return circuit


def random_evidence(kind: str, batch: int, num_variables: int, num_categories: int, seed: int) -> Tensor:
    """Log weights (B, D, C) in float64, by kind: see EVIDENCE_KINDS."""
    g = torch.Generator().manual_seed(seed)
    shape = (batch, num_variables, num_categories)
    soft = torch.randn(shape, generator=g, dtype=torch.float64)
    if kind == "soft":
        return soft
    if kind == "missing":
        return torch.zeros_like(soft)
    if kind == "tiny":  # weights down to 1e-30
        return -69.0 * torch.rand(shape, generator=g, dtype=torch.float64)
    peak = soft.argmax(-1, keepdim=True)
    if kind == "hard":
        return torch.full_like(soft, -torch.inf).scatter_(-1, peak, 0.0)
    if kind == "excluding":
        excluded = torch.rand(shape, generator=g) < 0.4
        return soft.masked_fill(excluded, -torch.inf).scatter_(-1, peak, 0.0)
    return torch.full_like(soft, -69.0).scatter_(-1, peak, 0.0)  # contradictory: one category, the others 1e-30
