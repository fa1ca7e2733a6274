"""SPFlow 1.1: any region graph without ties, one module per region, as its own hidden Chow-Liu trees are built.

Modules call their inputs recursively: a chain of more than about a hundred variables meets Python's recursion limit.
SPFlow has no soft evidence and no posterior marginals.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import Calls, Problem, differentiate
from tiramisu_edu.circuits.circuit import Circuit


def build(circuit: Circuit) -> Any:
    """Our circuit as modules of SPFlow, with the same parameters."""
    from spflow.meta import Scope
    from spflow.modules.leaves import Categorical
    from spflow.modules.products import ElementwiseProduct
    from spflow.modules.sums import Sum

    graph = circuit.graph
    modules: dict[int, Any] = {}
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        region, table = graph.regions[index], circuit.region_table(index).detach()
        if region.is_input:
            probabilities = table[None, :, None]  # features, channels, repetitions, categories
            modules[index] = Categorical(Scope([region.scope[0]]), out_channels=len(table), probs=probabilities)
            continue
        children = [[modules[c] for c in partition] for partition in region.partitions]
        products = [ElementwiseProduct(c) if len(c) > 1 else c[0] for c in children]
        modules[index] = Sum(products, weights=table.T[None, :, :, None])
    return modules[len(graph.regions) - 1]


def log_likelihood(model: Any, x: Tensor) -> Tensor:
    """log p(x), (B,)."""
    from spflow.utils.cache import Cache

    return model.log_likelihood(x, cache=Cache()).reshape(len(x))


def calls(problem: Problem) -> Calls:
    model, x = build(problem.circuit), problem.x.float()
    return {
        "log_likelihood": torch.no_grad()(lambda: log_likelihood(model, x)),
        "forward_backward": lambda: differentiate(lambda: log_likelihood(model, x), model),
    }
