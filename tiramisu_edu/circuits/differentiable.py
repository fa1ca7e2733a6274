"""log Z as a differentiable function of log weights and parameters: the circuit's own backward pass is its gradient."""

from __future__ import annotations

import torch

from ..errors import TiramisuError
from .engines.cuda_graphs import by_graph
from .engines.messages import Evidence
from .threads import few_threads


class LogPartition(torch.autograd.Function):
    """log Z with the circuit's own backward pass as its gradient, of values (B, D) or log weights (B, D, C).

    `is_recorded` is False under `torch.no_grad`, where nothing is kept.
    """

    @staticmethod
    def forward(ctx, circuit, is_recorded, rows, *parameters):
        ctx.evidence, ctx.engine, ctx.plan = Evidence.of(rows), circuit.engine, circuit.plan
        engine, plan, keep = ctx.engine, ctx.plan, is_recorded and any(ctx.needs_input_grad)

        def query(rows):
            messages = engine.forward(plan, list(parameters), Evidence.of(rows), keep=keep, tapes=circuit.tapes)
            ctx.messages = messages if keep else None
            return (engine.log_partition(plan, messages).to(circuit.dtype),)

        ctx.save_for_backward(rows, *parameters)
        return (query(rows) if keep else by_graph(engine, plan, "log Z", query, rows, parameters))[0]

    @staticmethod
    def backward(ctx, grad):
        rows, *parameters = ctx.saved_tensors
        with torch.no_grad(), few_threads(ctx.plan, len(rows), rows.is_floating_point()):
            marginals = torch.zeros_like(ctx.evidence.given) if ctx.needs_input_grad[2] else None
            gradients = [torch.zeros_like(p) for p in parameters] if any(ctx.needs_input_grad[3:]) else None
            asked = {"root_flow": grad, "gradients": gradients, "marginals": marginals}
            ctx.engine.backward(ctx.plan, parameters, ctx.evidence, ctx.messages, **asked)
        found = [None if marginals is None else marginals.permute(2, 0, 1), *(gradients or (None for _ in parameters))]
        return None, None, *_Once.apply(grad, rows, *parameters, *found)


class _Once(torch.autograd.Function):
    """Hands on the gradients, the second half of its arguments; what they are gradients of only marks the way back."""

    @staticmethod
    def forward(ctx, upstream, *tensors):
        return tuple(None if g is None else g.view_as(g) for g in tensors[len(tensors) // 2 :])

    @staticmethod
    def backward(ctx, *_):
        raise TiramisuError("log Z has no second derivatives: its gradient, once computed, is a constant")
