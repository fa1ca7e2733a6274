"""PyJuice: any region graph without ties, one vector of nodes per region. Its kernels run on a CUDA device only.

Its soft-evidence query divides by each variable's own evidence where it carries some: another question than ours, so
marginals are compared in speed, and in value only through the log-likelihood.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from benchmarks.peers import Calls, Problem
from tiramisu_edu.circuits.circuit import Circuit

LARGEST_BLOCK = 32  # PyJuice works on blocks of nodes, a power of two of them


def build(circuit: Circuit) -> Any:
    """The root of our circuit as nodes of PyJuice, with the same parameters."""
    import pyjuice
    from pyjuice.nodes.distributions import Categorical

    graph = circuit.graph
    nodes: dict[int, Any] = {}
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        region, table = graph.regions[index], circuit.region_table(index).detach().cpu()
        block = math.gcd(region.num_units, LARGEST_BLOCK)
        sizes = {"num_node_blocks": region.num_units // block, "block_size": block}
        if region.is_input:
            node = pyjuice.inputs(region.scope[0], dist=Categorical(num_cats=graph.num_categories), **sizes)
        else:
            children = [[nodes[c] for c in partition] for partition in region.partitions]
            node = pyjuice.summate(*(pyjuice.multiply(*c) if len(c) > 1 else c[0] for c in children), **sizes)
        node.set_params(table, normalize=False)
        nodes[index] = node
    return nodes[len(graph.regions) - 1]


def calls(problem: Problem) -> Calls:
    import pyjuice

    model = pyjuice.compile(build(problem.circuit)).to(problem.x.device)
    weights = (problem.log_weights - problem.log_weights.amax(-1, keepdim=True)).exp()

    def e_step() -> Tensor:
        log_likelihood = model(problem.x)[:, 0]
        model.backward(problem.x, flows_memory=0.0)
        return log_likelihood

    return {
        "log_likelihood": lambda: model(problem.x)[:, 0],
        "marginals": lambda: pyjuice.queries.conditional(model, data=weights),
        "e_step": e_step,
    }
