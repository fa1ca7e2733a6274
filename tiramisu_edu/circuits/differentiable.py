"""log Z as a differentiable function of log weights and parameters: the circuit's own backward pass is its gradient."""

from __future__ import annotations

import torch

from ..errors import TiramisuError
from .engines.messages import Evidence
from .threads import few_threads


class LogPartition(torch.autograd.Function):
    """log Z with the circuit's own backward pass as its gradient; hard evidence or soft, the other one is None.

    `is_recorded` is False under `torch.no_grad`, where nothing is kept.
    """

    @staticmethod
    def forward(ctx, circuit, is_recorded, values, log_weights, *parameters):
        soft = None if log_weights is None else log_weights.permute(1, 2, 0)
        ctx.evidence = Evidence(log_weights=soft, values=None if values is None else values.T)
        ctx.engine, ctx.plan, keep = circuit.engine, circuit.plan, is_recorded and any(ctx.needs_input_grad)
        ctx.messages = ctx.engine.forward(ctx.plan, list(parameters), ctx.evidence, keep=keep, tapes=circuit.tapes)
        ctx.save_for_backward(log_weights, *parameters)
        return ctx.engine.log_partition(ctx.plan, ctx.messages).to(circuit.dtype)

    @staticmethod
    def backward(ctx, grad):
        log_weights, *parameters = ctx.saved_tensors
        is_soft = ctx.evidence.values is None
        with torch.no_grad(), few_threads(ctx.plan, ctx.evidence.given.shape[-1], is_soft):
            marginals = torch.zeros_like(ctx.evidence.log_weights) if ctx.needs_input_grad[3] else None
            gradients = [torch.zeros_like(p) for p in parameters] if any(ctx.needs_input_grad[4:]) else None
            asked = {"root_flow": grad, "gradients": gradients, "marginals": marginals}
            ctx.engine.backward(ctx.plan, parameters, ctx.evidence, ctx.messages, **asked)
        to_weights = None if marginals is None else marginals.permute(2, 0, 1)
        found = [to_weights, *([None] * len(parameters) if gradients is None else gradients)]
        return None, None, None, *_Once.apply(grad, log_weights, *parameters, *found)


class _Once(torch.autograd.Function):
    """Hands on the gradients, the second half of its arguments; what they are gradients of only marks the way back."""

    @staticmethod
    def forward(ctx, upstream, *tensors):
        return tuple(None if g is None else g.view_as(g) for g in tensors[len(tensors) // 2 :])

    @staticmethod
    def backward(ctx, *_):
        raise TiramisuError("log Z has no second derivatives: its gradient, once computed, is a constant")
