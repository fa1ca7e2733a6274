"""simple-einet: its `linsum` layers over D = 2^depth variables are our binary tree, stacked by level.

It cannot express other shapes: splits are always in two, every level has one number of units, and inputs beyond a
power of two are grouped at random.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.peers import Calls, Problem, differentiate
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.errors import TiramisuError


def build(circuit: Circuit) -> Any:
    """Our binary tree as an Einet, with the same parameters.

    Raises:
        TiramisuError: when D is no power of two or one.
    """
    from simple_einet.einet import Einet, EinetConfig
    from simple_einet.layers.distributions.categorical import Categorical

    D, C = circuit.num_variables, circuit.num_categories
    depth = D.bit_length() - 1
    if D < 2 or 2**depth != D:
        raise TiramisuError(f"simple-einet needs a power of two of variables, at least 2, not {D}")
    K = circuit.graph.regions[0].num_units
    units = {"num_sums": K, "num_leaves": K, "num_repetitions": 1}
    leaves = {"leaf_type": Categorical, "leaf_kwargs": {"num_bins": C}}
    model = Einet(EinetConfig(num_features=D, depth=depth, layer_type="linsum", **units, **leaves))
    _copy_parameters(circuit, model)
    return model


def _copy_parameters(circuit: Circuit, model: Any) -> None:
    """Logits are the logarithms of our tables, regions of a level from left to right."""
    graph = circuit.graph
    levels: dict[int, list[int]] = {}
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.regions[i].scope):
        levels.setdefault(graph.heights[index], []).append(index)
    with torch.no_grad():
        for order in (model.leaf.permutation, model.leaf.inverse_permutation):  # of the variables, random by default
            order.copy_(torch.arange(len(order)))
        for height, members in levels.items():
            tables = torch.stack([circuit.region_table(i) for i in members]).log()
            if height == 0:  # channels, features, units, repetitions, categories, after one of broadcasting
                model.leaf.base_leaf.logits.copy_(tables[None, None, :, :, None])
            else:  # features, units in, units out, repetitions
                model.layers[height - 1].logits.copy_(tables.permute(0, 2, 1)[..., None])


def calls(problem: Problem) -> Calls:
    model = build(problem.circuit)
    x = problem.x.float()
    return {
        "log_likelihood": torch.no_grad()(lambda: model(x)[:, 0]),
        "forward_backward": lambda: differentiate(lambda: model(x)[:, 0], model),
    }
