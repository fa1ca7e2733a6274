"""log Z as a differentiable function of log weights and parameters: the circuit's own backward pass is its gradient."""

from __future__ import annotations

import weakref

import torch

from .engines.messages import Evidence, Workspace


class LogPartition(torch.autograd.Function):
    """log Z with the circuit's own backward pass as its gradient; hard evidence or soft, the other one is None.

    `is_recorded` is False under `torch.no_grad`, where nothing is kept.
    """

    @staticmethod
    def forward(ctx, circuit, is_recorded, values, log_weights, *parameters):
        soft = None if log_weights is None else log_weights.permute(1, 2, 0)
        evidence = Evidence(log_weights=soft, values=None if values is None else values.T)
        ctx.engine = circuit.engine
        keep = is_recorded and any(ctx.needs_input_grad)
        workspace = circuit.workspace
        if keep:  # the messages live until the backward pass, whatever is asked in between
            workspace = circuit.spare_workspaces.pop() if circuit.spare_workspaces else Workspace()
        messages = ctx.engine.forward(circuit.plan, list(parameters), evidence, keep=keep, workspace=workspace)
        if keep:
            weakref.finalize(messages, _give_back, circuit.spare_workspaces, workspace)
        ctx.circuit, ctx.evidence, ctx.messages = circuit, evidence, messages
        ctx.save_for_backward(*parameters)
        return ctx.engine.log_partition(circuit.plan, messages)

    @staticmethod
    def backward(ctx, grad):
        parameters = list(ctx.saved_tensors)
        marginals = torch.zeros_like(ctx.evidence.log_weights) if ctx.needs_input_grad[3] else None
        gradients = [torch.zeros_like(p) for p in parameters] if any(ctx.needs_input_grad[4:]) else None
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
        return None, None, None, to_weights, *to_parameters


def _give_back(spares: list[Workspace], workspace: Workspace) -> None:
    """Keep one workspace whose graph is gone for the next graph."""
    if not spares:
        spares.append(workspace)
