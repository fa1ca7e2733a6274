"""Latent variable distillation: a large circuit starts from a teacher's features, and EM refines it.

EM from a random start is poor when K is large. The features of a teacher are clustered in each region. The cluster of
a sample is taken as the state of the region's latent, so that every parameter is a normalised count:

    theta_r[k, m] = #(parent's latent = k, own latent = m) / #(parent's latent = k)
    f_i[k, v]     = #(parent's latent = k, x_i = v) / #(parent's latent = k)

Source: Liu, Zhang, Van den Broeck 2022, "Scaling up probabilistic circuits by latent variable distillation".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..errors import StructureError, TiramisuError
from ..files import tensor_digest
from .circuit import Circuit
from .clustering import one_set
from .evidence_checks import checked_values
from .inputs import normalised_counts


def latent_regions(circuit: Circuit) -> list[int]:
    """The sum regions of a tree-shaped graph, each of which has one latent: which of its product units is chosen.

    Raises:
        StructureError: when a region has several partitions or several parents, so that there is no one latent.
    """
    graph = circuit.graph
    if not circuit.plan.is_tree or any(len(region.partitions) > 1 for region in graph.regions):
        raise StructureError("distillation needs a tree: one partition per region, one parent per region")
    return [index for index, region in enumerate(graph.regions) if not region.is_input]


def cluster_features(
    circuit: Circuit,
    features: Mapping[int, Tensor],
    *,
    generator: torch.Generator,
    checkpoint: str | Path | None = None,
) -> dict[int, Tensor]:
    """Latent states from a teacher's features: k-means with as many clusters as the region has product units.

    Args:
        circuit: gives the regions and their sizes.
        features: region index -> (N, P) teacher's features of that region, for every region of `latent_regions`. Each
            is asked for when its turn comes, and the first one also to tell checkpoints of other data apart.
        generator: of k-means.
        checkpoint: file to go on from, written between regions.

    Returns:
        region index -> (N,) long.
    """
    regions = latent_regions(circuit)
    sizes = {index: circuit.region_table(index).shape[1] for index in regions}
    request: dict[str, Any] = {"sizes": list(sizes.values())}
    if checkpoint is not None:
        request["first"] = tensor_digest({"features": features[regions[0]]})

    def states(index: int) -> Tensor:
        return one_set(features[index], sizes[index], generator)[1].cpu()

    jobs = [partial(states, index) for index in regions]
    return dict(zip(regions, Checkpoint(checkpoint, request).results(jobs, generator, "latents")))


@torch.no_grad()
def distil(circuit: Circuit, data: Tensor, states: Mapping[int, Tensor], *, pseudocount: float = 1.0) -> None:
    """Set all parameters by counting, in place.

    Args:
        data: (N, D) long, complete.
        states: region index -> (N,) long in 0 … M - 1, for every region of `latent_regions`.
        pseudocount: spread evenly over each node's edges, so that no combination unseen in the data is excluded.

    Raises:
        StructureError: when the graph is no tree.
        TiramisuError: when a region's states are missing or out of range.
    """
    data = checked_values(data, circuit.num_variables, circuit.num_categories)
    if (data < 0).any():
        raise TiramisuError("distillation counts complete data: row with a missing value (-1) found")
    regions = latent_regions(circuit)
    parent = {c: index for index in regions for c in circuit.graph.regions[index].partitions[0]}
    counts = [torch.zeros_like(table) for table in circuit.tables()]
    for index, region in enumerate(circuit.graph.regions):
        table, row = circuit.plan.region_parameter[index]
        below = (
            data[:, region.scope[0]] if region.is_input else _states(states, index, counts[table].shape[2], len(data))
        )
        above = torch.zeros_like(below)
        if index in parent:
            above = _states(states, parent[index], region.num_units, len(data))
        pair = above * counts[table].shape[2] + below
        counts[table][row] += torch.bincount(pair, minlength=counts[table][row].numel()).view(counts[table][row].shape)
    for own, count, family in zip(circuit.parameter_list, counts, circuit.families):
        if family != "indicator":
            own.copy_(normalised_counts(own, count, pseudocount))


def _states(states: Mapping[int, Tensor], index: int, size: int, num_rows: int) -> Tensor:
    if index not in states:
        raise TiramisuError(f"no latent states given for region {index}")
    state = states[index]
    if state.shape != (num_rows,) or state.min() < 0 or state.max() >= size:
        raise TiramisuError(f"the states of region {index} must be ({num_rows},) integers in 0 … {size - 1}")
    return state
