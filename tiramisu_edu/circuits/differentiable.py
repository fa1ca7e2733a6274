"""log Z as a differentiable function of log weights and parameters: the circuit's own backward pass is its gradient."""

from __future__ import annotations

import torch

from .engines.messages import Evidence
from .engines.torch_engine import log_partition


class LogPartition(torch.autograd.Function):
    """log Z with the circuit's own backward pass as its gradient; hard evidence or soft, the other one is None."""

    @staticmethod
    def forward(ctx, circuit, values, log_weights, *parameters):
        soft = None if log_weights is None else log_weights.permute(1, 2, 0)
        evidence = Evidence(log_weights=soft, values=None if values is None else values.T)
        ctx.engine = circuit.engine
        messages = ctx.engine.forward(circuit.plan, list(parameters), evidence, keep=any(ctx.needs_input_grad))
        ctx.circuit, ctx.evidence, ctx.messages = circuit, evidence, messages
        ctx.save_for_backward(*parameters)
        return log_partition(circuit.plan, messages).clone()

    @staticmethod
    def backward(ctx, grad):
        parameters = list(ctx.saved_tensors)
        marginals = torch.zeros_like(ctx.evidence.log_weights) if ctx.needs_input_grad[2] else None
        gradients = [torch.zeros_like(p) for p in parameters] if any(ctx.needs_input_grad[3:]) else None
        ctx.engine.backward(
            ctx.circuit.plan,
            parameters,
            ctx.evidence,
            ctx.messages,
            root_flow=grad,
            gradients=gradients,
            marginals=marginals,
        )
        to_weights = None if marginals is None else marginals.permute(2, 0, 1)
        to_parameters = [None] * len(parameters) if gradients is None else gradients
        return None, None, to_weights, *to_parameters
