"""Scalar nodes and stacked levels are one thing: both recursions of one region, with their numbers, side by side.

`side_by_side` writes the textbook's sums out unit by unit and, beside them, the one matrix product that the tensor
engine makes of them; it raises if the two differ. `level_table` lists all the matrix products of a circuit. Units have
the names that `to_reference` gives them: `6.1` is unit 1 of region 6, `6.p0.1` product 1 of its partition 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.engines import safe as engine
from tiramisu_edu.circuits.engines.messages import Evidence
from tiramisu_edu.circuits.engines.plan import Level, level_weight
from tiramisu_edu.circuits.evidence_checks import check_log_weights
from tiramisu_edu.circuits.interchange import to_reference
from tiramisu_edu.circuits.nodes import children, parameters
from tiramisu_edu.circuits.regions import Region, RegionGraph, num_products
from tiramisu_edu.errors import EvidenceError, StructureError
from tiramisu_edu.teaching.level_text import Page, dtype_name, table, tensors_panel, textbook_panel

MAX_UNITS, MAX_PRODUCTS = 4, 8  # K_out and M of a region that still fits on a page
MAX_NODES = 20_000  # scalar nodes of the whole circuit
MAX_RUNS = 4  # of region numbers, in a line of `level_table`
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
BOUNDS = (1e-12, 1e-9, 1e-6, 1e-5)  # a difference is shown as the first of these above it, the same on every machine


def side_by_side(circuit: Circuit, log_weights: Tensor, region: int | None = None) -> Page:
    """One region under one row of evidence: the textbook unit by unit beside the engine's matrix product.

        textbook   u_k = Σ_m θ_km e_m            F_km = bk_k θ_km e_m / u_k
        engine     log u = log(θ exp(x)) + s     F_km = θ_km r_k exp(x_m)       with x = log e − s, s = max log e

    Args:
        circuit: at most `MAX_NODES` scalar nodes.
        log_weights: one row of evidence, (D, C) or (1, D, C), −inf allowed.
        region: index in `circuit.graph.regions`, at most `MAX_UNITS` units that mix at most `MAX_PRODUCTS` products;
            None for the largest that fits, the highest if several do.

    Returns:
        A page to print or to end a cell with; its `difference` is the largest found.

    Raises:
        StructureError: the circuit or the region is too large to read.
        EvidenceError: for log weights of another shape, or evidence that the circuit excludes.
        AssertionError: the engine's numbers are not those of the textbook.
    """
    index = _chosen_region(circuit.graph, region)
    row = log_weights.detach().reshape(-1, *log_weights.shape[-2:])
    check_log_weights(row, circuit.num_variables, circuit.num_categories, circuit.dtype)
    if len(row) != 1:
        raise EvidenceError(f"log_weights must be one row of evidence, not {len(row)}")
    row = row.to(circuit.device, circuit.dtype)
    textbook = _textbook(circuit, index, row[0])
    tensors = _tensors(circuit, index, row)
    difference = _difference(textbook, tensors)
    tolerance = TOLERANCE[circuit.dtype]
    assert difference <= tolerance, f"engine and textbook differ by {difference:.1e}, more than {tolerance:g}"
    shown = next(bound for bound in BOUNDS if difference <= bound)
    own = circuit.graph.regions[index]
    variables = ", ".join(map(str, own.scope))
    return Page(
        f"Region {index}, variables {variables}: K = {own.num_units} units",
        (textbook_panel(index, textbook), tensors_panel(index, tensors)),
        f"The same numbers: log u and F differ by less than {shown:g} ({dtype_name(circuit.dtype)} beside float64).",
        difference,
    )


def level_table(circuit: Circuit) -> Page:
    """One line per level, in the order of the forward pass: what is stacked, and the tensor that holds its weights.

    The edges are those of the scalar nodes, tied ones counted at each use.
    """
    graph, plan = circuit.graph, circuit.plan
    lines, total = [], 0
    for number, level in enumerate(plan.levels):
        members = level.regions
        edges = sum(_num_edges(graph, graph.regions[i]) for i in members)
        total += edges
        R, K, M = level.num_regions, level.num_units, level.num_products
        kind = f"{graph.regions[members[0]].family} input" if level.is_input else "sum"
        height, regions, stored = graph.heights[members[0]], _runs(sorted(members)), _stored(circuit, level)
        lines.append([f"{number}", f"{height}", kind, f"{R}: {regions}", f"{K} × {M}", stored, f"{edges:,}"])
    lines.append(["all", "", "", f"{len(graph.regions)}", "", "", f"{total:,}"])
    head = ["level", "height", "kind", "regions stacked", "K_out × M", "tensor (R, K_out, M)", "edges"]
    text = table(head, lines, right={"level", "height", "K_out × M", "edges"})
    return Page(f"{len(plan.levels)} levels, each one batched matrix product", ("\n".join(text),))


def _stored(circuit: Circuit, level: Level) -> str:
    """Where the weights of a level are: a tensor of the circuit, rows of it that are shared, or what makes a table."""
    tensor = circuit.parameter_list[level.parameter]
    name = f"parameter_list[{level.parameter}] {tuple(tensor.shape)}"
    if level.parameter_rows is not None:
        return f"{name}, rows {_runs(level.parameter_rows.tolist())}"
    return name if tensor.shape[-1] == level.num_products else f"{name}, made into tables"


def _num_edges(graph: RegionGraph, region: Region) -> int:
    """Edges from the region's sums to its products, and from those to their children."""
    below = sum(len(partition) * graph.regions[partition[0]].num_units for partition in region.partitions)
    return region.num_units * num_products(graph, region) + below


def _runs(numbers: list[int]) -> str:
    """Numbers with runs of successors and of equals joined: "0–3, 7" and "4 times 0"."""
    if len(numbers) > 1 and len(set(numbers)) == 1:
        return f"{len(numbers)} times {numbers[0]}"
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    text = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(text[:MAX_RUNS]) + (", …" if len(text) > MAX_RUNS else "")


def _chosen_region(graph: RegionGraph, region: int | None) -> int:
    num_nodes = graph.num_units + sum(num_products(graph, r) for r in graph.regions)
    if num_nodes > MAX_NODES:
        raise StructureError(f"{num_nodes:,} scalar nodes are too many to build one by one (at most {MAX_NODES:,})")
    if region is None:
        fits = [i for i, r in enumerate(graph.regions) if not r.is_input and _fits(graph, r)]
        if not fits:
            raise StructureError(f"no sum region is small enough to read: {_LIMIT}")
        return max(fits, key=lambda i: (graph.regions[i].num_units * num_products(graph, graph.regions[i]), i))
    if not 0 <= region < len(graph.regions):
        raise StructureError(f"region {region} does not exist: they are numbered 0 … {len(graph.regions) - 1}")
    if not _fits(graph, graph.regions[region]):
        raise StructureError(f"region {region} is too large to read: {_LIMIT}")
    return region


_LIMIT = f"at most {MAX_UNITS} units that mix at most {MAX_PRODUCTS} products or categories"


def _fits(graph: RegionGraph, region: Region) -> bool:
    mixed = graph.num_categories if region.is_input else num_products(graph, region)
    return region.num_units <= MAX_UNITS and mixed <= MAX_PRODUCTS


class Textbook(NamedTuple):
    """What the scalar recursions give for one region of K units over M products, or M categories, in float64."""

    products: list[str]  # (M,) names; the values of the variable at an input
    factors: list[list[tuple[str, float]]]  # (M,) the children of each product, name and log value; none at an input
    theta: np.ndarray  # (K, M)
    log_e: np.ndarray  # (M,) log values of the products, or log weights of the evidence
    log_u: np.ndarray  # (K,)
    bk: np.ndarray  # (K,)
    flows: np.ndarray  # (K, M)


class Tensors(NamedTuple):
    """What the engine's level holds of one region, in the circuit's dtype."""

    dtype: torch.dtype
    level: int
    stack: tuple[int, int, int]  # (R, K, M)
    row: int  # of the region in the stack
    theta: np.ndarray  # (K, M)
    x: np.ndarray  # (M,)
    scale: float
    u: np.ndarray  # (K,) θ exp(x), without the scale
    log_u: np.ndarray  # (K,) with the scale
    flows: np.ndarray  # (K, M)


def _textbook(circuit: Circuit, index: int, log_weights: Tensor) -> Textbook:
    reference = to_reference(circuit)
    evidence = log_weights.double().cpu().numpy()
    log_fw = reference.forward(evidence)
    bk = reference.backward(log_fw)
    counts, _ = reference.expected_counts(evidence)
    region = circuit.graph.regions[index]
    named = {n.name: n for n in reference.nodes}
    units = [named[f"{index}.{k}"] for k in range(region.num_units)]
    if region.is_input:
        log_e = evidence[region.scope[0]]
        names, factors = [f"x = {v}" for v in range(len(log_e))], []
    else:
        products = children(units[0])
        log_e = np.array([log_fw[product] for product in products])
        names = [product.name for product in products]
        factors = [[(c.name, log_fw[c]) for c in children(product)] for product in products]
    return Textbook(
        names,
        factors,
        theta=np.array([parameters(n) for n in units]),
        log_e=log_e,
        log_u=np.array([log_fw[n] for n in units]),
        bk=np.array([bk[n] for n in units]),
        flows=np.array([counts.get(n, np.zeros(len(log_e))) for n in units]),
    )


@torch.no_grad()
def _tensors(circuit: Circuit, index: int, log_weights: Tensor) -> Tensors:
    """The engine's own passes; every level gets parameters of its own, so that the flows of tied regions stay apart."""
    tables = circuit.tables()
    weights = [level_weight(level, tables) for level in circuit.plan.levels]
    levels = [
        replace(level, parameter=i, parameter_rows=None, shared_row=None) for i, level in enumerate(circuit.plan.levels)
    ]
    plan = replace(circuit.plan, levels=tuple(levels))
    evidence = Evidence(log_weights=log_weights.permute(1, 2, 0))
    messages = engine.forward(plan, weights, evidence, keep=True)
    gradients = [torch.zeros_like(weight) for weight in weights]
    engine.backward(plan, weights, evidence, messages, gradients=gradients)

    number, members = next((n, level.regions) for n, level in enumerate(circuit.plan.levels) if index in level.regions)
    row, level = members.index(index), levels[number]
    log_e = messages.products[number][row, :, 0]
    largest = log_e.max()
    x, theta = log_e - largest, weights[number][row].double()
    x = torch.where(log_e < engine.NEVER / 2, -torch.inf, x)
    scale = largest + log_weights[0].double().amax(-1)[list(circuit.graph.regions[index].scope)].sum()
    u = theta @ x.exp()

    def array(a: Tensor) -> np.ndarray:
        return a.double().cpu().numpy()

    return Tensors(
        circuit.dtype,
        number,
        (level.num_regions, level.num_units, level.num_products),
        row,
        theta=array(theta),
        x=array(x),
        scale=float(scale),
        u=array(u),
        log_u=array(u.log() + scale),
        flows=array(theta * gradients[number][row]),
    )


def _difference(textbook: Textbook, tensors: Tensors) -> float:
    """The largest of log u (relative where it is above one) and of the flows."""
    with np.errstate(invalid="ignore"):
        log_u = np.abs(tensors.log_u - textbook.log_u) / np.maximum(1, np.abs(textbook.log_u))
    log_u[tensors.log_u == textbook.log_u] = 0  # both −inf
    difference = float(max(log_u.max(), np.abs(tensors.flows - textbook.flows).max()))
    return math.inf if math.isnan(difference) else difference
