"""The published read-out of a circuit under soft evidence, as a query on a circuit with replicated variables.

The correct posterior of X_i weighs a value by its own evidence: sum_n F_n f_n(v) w_i(v) / fw_n, F_n being the
probability that input n is in use. The published code leaves the last factor out and reads sum_n F_n f_n(v). That is
the distribution of a *replicate* of X_i: a second draw from the same input, on which there is no evidence.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..circuits.circuit import Circuit
from ..circuits.regions import RegionGraph


def with_replicates(circuit: Circuit) -> Circuit:
    """p(x, x') over 2 D variables: X'_i = X_{D + i} is drawn from the input unit that X_i came from.

    Wherever an input is a factor of a product, its replicate, tied to it, becomes one too.
    """
    graph, D = circuit.graph, circuit.num_variables
    inputs = [index for index, region in enumerate(graph.regions) if region.is_input]
    shift, twin = len(inputs), {index: n for n, index in enumerate(inputs)}

    regions = []
    for index in inputs:
        region = graph.regions[index]
        owner = index if region.tied_to is None else region.tied_to
        regions.append(replace(region, scope=(D + region.scope[0],), tied_to=shift + owner))
    for region in graph.regions:
        scope = region.scope if region.is_input else (*region.scope, *(D + i for i in region.scope))
        partitions = tuple(
            (*(shift + child for child in partition), *(twin[child] for child in partition if child in twin))
            for partition in region.partitions
        )
        tied = None if region.tied_to is None else shift + region.tied_to
        regions.append(replace(region, scope=scope, partitions=partitions, tied_to=tied))

    doubled = RegionGraph(tuple(regions), 2 * D, graph.num_categories)
    result = Circuit(doubled, generator=torch.Generator().manual_seed(0), dtype=circuit.dtype).to(circuit.device)
    with torch.no_grad():
        for index in range(len(graph.regions)):
            source, row = circuit.plan.region_parameter[index]
            target, new_row = result.plan.region_parameter[shift + index]
            result.parameter_list[target][new_row] = circuit.parameter_list[source][row]
    return result


def replicate_predictive(replicated: Circuit, log_weights: Tensor) -> Tensor:
    """p(X'_i = v | w), what the published code takes for p(X_i = v | w); they agree only where w_i is constant.

    Args:
        replicated: from `with_replicates`.
        log_weights: (B, D, C), evidence on the variables themselves.

    Returns:
        (B, D, C).
    """
    D = log_weights.shape[1]
    return replicated.posterior_marginals(torch.cat([log_weights, torch.zeros_like(log_weights)], 1))[:, D:]
