"""cirkit (PyPI `libcirkit`): any region graph, a sum layer and one Hadamard layer per partition, folded and optimised.

cirkit has no soft evidence; marginals of single variables need one integration query per variable and value. Its
references from one parameter to another do not survive folding within one circuit (0.3.1), so ties cannot be kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import PSEUDOCOUNT, Calls, Problem, differentiate
from tiramisu_edu.circuits.circuit import Circuit


def symbolic(circuit: Circuit, *, softmax: bool = True) -> Any:
    """Our circuit as a symbolic circuit of cirkit, with the same parameters; tied ones are copied.

    Args:
        softmax: keep logits and normalise them at every call; else the probabilities themselves.
    """
    from cirkit.symbolic.circuit import Circuit as SymbolicCircuit
    from cirkit.symbolic.layers import CategoricalLayer, HadamardLayer, SumLayer
    from cirkit.utils.scope import Scope

    graph = circuit.graph
    layers: dict[int, Any] = {}
    inputs: dict[Any, list[Any]] = {}
    every: list[Any] = []
    for index in sorted(range(len(graph.regions)), key=lambda i: graph.heights[i]):
        region, table = graph.regions[index], _parameter(circuit, index, softmax)
        if region.is_input:
            scope, count = Scope([region.scope[0]]), graph.num_categories
            layer = CategoricalLayer(scope, region.num_units, num_categories=count, probs=table)
        else:
            products = []
            for partition in region.partitions:
                children = [layers[c] for c in partition]
                if len(children) > 1:
                    product = HadamardLayer(children[0].num_output_units, len(children))
                    every.append(product)
                    inputs[product] = children
                    children = [product]
                products += children
            num_inputs = products[0].num_output_units
            layer = SumLayer(num_inputs, region.num_units, arity=len(products), weight=table)
            inputs[layer] = products
        layers[index] = layer
        every.append(layer)
    return SymbolicCircuit(every, inputs, [layers[len(graph.regions) - 1]])


def _parameter(circuit: Circuit, index: int, softmax: bool) -> Any:
    from cirkit.symbolic.initializers import ConstantTensorInitializer
    from cirkit.symbolic.parameters import Parameter, SoftmaxParameter, TensorParameter

    table = circuit.region_table(index).detach()
    numbers = (table.log() if softmax else table).numpy()
    leaf = TensorParameter(*table.shape, initializer=ConstantTensorInitializer(numbers))
    return Parameter.from_unary(SoftmaxParameter(leaf.shape), leaf) if softmax else Parameter.from_input(leaf)


def compiled(circuit: Circuit, *, softmax: bool = True) -> Any:
    """Our circuit compiled by cirkit with its default settings: log-sum-exp semiring, folded, optimised."""
    from cirkit.pipeline import PipelineContext

    context = PipelineContext(backend="torch", semiring="lse-sum", fold=True, optimize=True)
    return context.compile(symbolic(circuit, softmax=softmax))


def log_likelihood(model: Any, x: Tensor) -> Tensor:
    """log p(x), (B,), of a compiled circuit."""
    return model(x)[:, 0, 0]


def calls(problem: Problem) -> Calls:
    from cirkit.backend.torch.em_optimizer import EM

    model, plain = (compiled(problem.circuit, softmax=softmax) for softmax in (True, False))
    optimizer = EM(plain, lr=0.0, pseudocount=PSEUDOCOUNT)

    def e_step() -> Tensor:  # the gradients times the parameters are the counts
        return differentiate(lambda: log_likelihood(plain, problem.x), plain)

    def em_step() -> Tensor:
        result = e_step()
        optimizer.step()
        return result

    return {
        "log_likelihood": torch.no_grad()(lambda: log_likelihood(model, problem.x)),
        "forward_backward": lambda: differentiate(lambda: log_likelihood(model, problem.x), model),
        "e_step": e_step,
        "em_step": em_step,
    }
