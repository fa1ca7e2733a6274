"""The fast path of the tensor engine: the messages of a tree as scaled linear values, without a logarithm.

Where every region has one partition and one parent, a level is four calls. Per region and sample:

    forward    p_m = product of the children's u_m,   p = p / s with s = max_m p_m,   u = theta p
    backward   flow of product m = p_m sum_k theta_km flow_k / u_k

and log Z = log u_root + sum of all log s. Units lie innermost in memory, (R, B, K), so that hard evidence reads and
counts whole rows of units and no message is ever transposed.

Linear values can leave the range of the floats. An underflow loses less than the smallest normal number of a product,
so u = theta p is exact as long as every u s stays far above that number (`LOWEST`). It nearly always does; where it
does not (a unit that the evidence excludes, children that contradict each other, zeros among the parameters), and
where a region has several partitions or parents, `torch_engine` answers in log space instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import torch_engine
from .messages import Evidence, Messages, Parameters, Workspace
from .plan import Plan
from .tape import InputStep, SumStep, Tape
from .torch_engine import level_weight

LOWEST = 0.75  # the smallest unit that is trusted, as a power of the smallest normal number: 4e-29 in float32


@dataclass(frozen=True)
class LinearMessages:
    """What a forward pass leaves: the tape with its messages, and the evidence. Never of Z(w) = 0."""

    tape: Tape
    log_weights: Tensor | None  # soft evidence, (D, C, B)
    weights: Tensor | None  # the same as weights, (D, B, C), each row summing to one


def forward(
    plan: Plan, parameters: Parameters, evidence: Evidence, *, keep: bool = False, workspace: Workspace | None = None
) -> LinearMessages | Messages:
    """Messages of all regions, children before parents: linear if they can be, else those of `torch_engine`.

    Args:
        keep: what the backward pass needs.
        workspace: buffers to use; new ones if None.
    """
    workspace = workspace or Workspace()
    linear = _forward(plan, parameters, evidence, keep, workspace) if plan.is_scalable else None
    return linear or torch_engine.forward(plan, parameters, evidence, keep=keep, workspace=workspace)


def log_partition(plan: Plan, messages: LinearMessages | Messages) -> Tensor:
    """log Z(w) of each sample, (B,)."""
    if isinstance(messages, Messages):
        return torch_engine.log_partition(plan, messages)
    log_z = messages.tape.log_root(plan)
    if messages.log_weights is not None and messages.weights is not None:
        log_sums = messages.log_weights.amax(1) - messages.weights.amax(-1).log()  # (D, B), log of sum_v w_v
        log_z += log_sums.sum(0, dtype=log_z.dtype)
    return log_z.to(messages.tape.dtype)


def backward(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    messages: LinearMessages | Messages,
    *,
    root_flow: Tensor | None = None,
    gradients: list[Tensor] | None = None,
    marginals: Tensor | None = None,
) -> None:
    """Flows of all regions, from the root down, added to what is asked for; arguments as in `torch_engine`."""
    if isinstance(messages, Messages):
        torch_engine.backward(
            plan, parameters, evidence, messages, root_flow=root_flow, gradients=gradients, marginals=marginals
        )
        return
    tape = messages.tape
    tape.flows[1][plan.levels[-1].start, :, 0] = 1.0 if root_flow is None else root_flow
    for step in reversed(tape.sums):
        ratio = step.flow.div_(step.units)  # (R, B, K)
        _pass_down(step, torch.bmm(ratio, level_weight(step.level, parameters), out=step.product_flow))
        if gradients is not None:
            _add_product(step, gradients, ratio, step.product)
    for inputs in tape.inputs:
        if messages.weights is None:
            if gradients is not None:
                _count(inputs, gradients)
        elif gradients is not None or marginals is not None:
            weights, ratio = _weights_of(inputs, messages.weights), inputs.flow.div_(inputs.units)
            if marginals is not None:
                _write_marginals(inputs, weights, ratio, level_weight(inputs.level, parameters), marginals)
            if gradients is not None:
                _add_product(inputs, gradients, ratio, weights)


def _forward(
    plan: Plan, parameters: Parameters, evidence: Evidence, keep: bool, workspace: Workspace
) -> LinearMessages | None:
    """None where a number leaves the range in which linear messages are exact."""
    given = evidence.log_weights if evidence.log_weights is not None else evidence.values
    assert given is not None
    if not given.shape[-1]:
        return None
    tape = workspace.tape(plan, given.shape[-1], parameters[0], keep, evidence.values is not None)
    columns = [table.mT for table in parameters]  # (R, M, K)
    weights = None if evidence.log_weights is None else _normalised(evidence.log_weights, workspace)
    for inputs in tape.inputs:
        if weights is None:
            assert evidence.values is not None
            _look_up(inputs, columns[inputs.level.parameter], evidence.values[inputs.variables])
        else:
            torch.bmm(_weights_of(inputs, weights), level_weight(inputs.level, columns), out=inputs.units)
    for step in tape.sums:
        product = _multiply(step)
        torch.amax(product, -1, keepdim=True, out=step.scale)
        product.div_(step.scale)
        torch.bmm(product, level_weight(step.level, columns), out=step.units)
    if not tape.lowest() > torch.finfo(parameters[0].dtype).tiny ** LOWEST:
        return None
    return LinearMessages(tape, evidence.log_weights, weights)


def _normalised(log_weights: Tensor, workspace: Workspace) -> Tensor:
    """w / sum_v w_v of soft evidence (D, C, B), as (D, B, C); one call that reads and writes memory once."""
    rows = log_weights.permute(2, 0, 1)
    return torch.softmax(rows, -1, out=workspace.get("weights", tuple(rows.shape), rows)).transpose(0, 1)


def _look_up(step: InputStep, columns: Tensor, values: Tensor) -> None:
    """u = f_k(x_i), 1 where x_i is missing, for columns (all regions, C, K) and values (R, B)."""
    _, C, K = columns.shape
    step.table_rows = (step.parameter_rows[:, None] * C + values.clamp_min(0)).flatten()
    by_row = step.units.view(-1, K)
    torch.index_select(columns.reshape(-1, K), 0, step.table_rows, out=by_row)
    is_missing = (values < 0).flatten()
    step.is_missing = is_missing if is_missing.any() else None
    if step.is_missing is not None:
        by_row[step.is_missing] = 1.0


def _weights_of(step: InputStep, weights: Tensor) -> Tensor:
    """(R, B, C), the soft evidence of the level's variables."""
    rows = step.level.children[0]
    return weights[rows] if isinstance(rows, slice) else weights.index_select(0, rows)


def _multiply(step: SumStep) -> Tensor:
    """p (R, B, M), the product of the children's units."""
    first, *others = (place.read() for place in step.factors)
    if not others:
        return step.product.copy_(first)
    torch.mul(first, others[0], out=step.product)
    for other in others[1:]:
        step.product.mul_(other)
    return step.product


def _pass_down(step: SumStep, product_flow: Tensor) -> None:
    """Finish the flows of the products, (R, B, M), and write them to every child."""
    product_flow.mul_(step.product)
    for place in step.targets:
        place.write(product_flow)


def _write_marginals(step: InputStep, weights: Tensor, ratio: Tensor, table: Tensor, marginals: Tensor) -> None:
    """p(X_i = v | w) = w_v sum_k f_k(v) flow_k / u_k, into the variables' rows of (D, C, B)."""
    rows = step.level.children[0]
    if isinstance(rows, slice):
        torch.bmm(ratio, table, out=marginals[rows].mT).mul_(weights)
    else:
        marginals[rows] = torch.bmm(ratio, table).mul_(weights).mT


def _count(step: InputStep, gradients: list[Tensor]) -> None:
    """Add d log Z / d table under hard evidence: flow_k / f_k at the observed value, flow_k everywhere if missing."""
    assert step.table_rows is not None
    gradient = gradients[step.level.parameter]
    K = gradient.shape[1]
    flow = step.flow.view(-1, K)
    if step.is_missing is not None:
        unseen = torch.where(step.is_missing[:, None], flow, 0.0).view_as(step.flow).sum(1)  # (R, K)
        gradient.index_add_(0, step.parameter_rows, unseen[:, :, None].expand(-1, -1, gradient.shape[2]))
        flow[step.is_missing] = 0.0
    by_row = gradient.mT.reshape(-1, K)
    by_row.index_add_(0, step.table_rows, flow.div_(step.units.view(-1, K)))
    if by_row.data_ptr() != gradient.data_ptr():  # units not innermost: the sum was made in a copy
        gradient.copy_(by_row.view_as(gradient.mT).mT)


def _add_product(step: SumStep | InputStep, gradients: list[Tensor], ratio: Tensor, product: Tensor) -> None:
    """Add gradient_km = sum_b p_m flow_k / u_k, (R, K, M)."""
    level, total = step.level, gradients[step.level.parameter]
    if level.parameter_rows is None:
        total.baddbmm_(ratio.mT, product)
    else:
        total.index_add_(0, level.parameter_rows, torch.bmm(ratio.mT, product))
