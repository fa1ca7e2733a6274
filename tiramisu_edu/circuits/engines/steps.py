"""One level of the fast engine: the products of a sum level, and what input levels read and count."""

from __future__ import annotations

import torch
from torch import Tensor

from .plan import WIDEST
from .tape import InputStep, SumStep

LEAST = torch.finfo(torch.float64).tiny ** 0.75  # the smallest product of many factors that is trusted


def multiply(step: SumStep) -> None:
    """p = product of the children's units, scaled to the sum 1 where the step says so; s is the scale taken out."""
    if step.log_scale is not None:
        _multiply_apart(step, step.log_scale)
    elif step.wide_scale is not None:
        step.wide_scale.copy_(_multiply_many(step))
        step.scale.copy_(_trust(step.wide_scale, step.scale))
    else:
        product, *others = (place.read() for place in step.factors)
        for other in others:
            product = torch.mul(product, other, out=step.product)
        if step.is_scaled:
            torch.sum(product, -1, keepdim=True, out=step.scale)
            torch.div(product, step.scale.clamp_min_(torch.finfo(product.dtype).tiny), out=step.product)
        elif not others:
            step.product.copy_(product)


def _multiply_apart(step: SumStep, log_scale: Tensor) -> None:
    """p of children with scales of their own: the product in each partition, then all partitions to one scale."""
    if len(step.factors) > WIDEST:
        scale = _multiply_many(step)
        lowest = _trust(scale, step.product)
    else:
        step.parts.copy_(step.factors[0].read())
        for place in step.factors[1:]:
            step.parts.mul_(place.read())
        lowest = scale = step.parts.amax(-1, keepdim=True).clamp_min_(torch.finfo(step.product.dtype).tiny)
        step.parts.div_(scale)
    total = scale.log() + sum(place.read() for place in step.log_factors)
    if step.level.num_partitions > 1:
        top = total.amax(1, keepdim=True)
        share = (total - top).exp().to(lowest)
        step.parts.mul_(share)
        total, lowest = top[:, 0], (lowest / share).amin(1).clamp_max(1)
    log_scale.copy_(total)
    step.scale.copy_(lowest)


def _multiply_many(step: SumStep) -> Tensor:
    """p of many factors, multiplied in float64, and its scale; a product that is 1e77 times too small counts for 0."""
    product = step.factors[0].read().to(torch.float64, copy=True)
    for place in step.factors[1:]:
        product *= place.read()
    scale = product.amax(-1, keepdim=True).clamp_min_(torch.finfo(torch.float64).tiny)
    step.parts.copy_(product.div_(scale))
    return scale


def _trust(scale: Tensor, like: Tensor) -> Tensor:
    """What `Tape.lowest` multiplies units by: 1, or tiny where the product of many factors is too small."""
    return torch.where(scale > LEAST, 1.0, torch.finfo(like.dtype).tiny).to(like)


def whole(parts: Tensor, step: SumStep) -> Tensor:
    """Something of each product by partition, (R, P, B, J) or (R, B, J), as (R, B, M)."""
    return parts if step.level.num_partitions == 1 else parts.transpose(1, 2).reshape(step.product.shape)


def look_up(step: InputStep, columns: Tensor, values: Tensor) -> None:
    """u = f_k(x_i), 1 where x_i is missing, for columns (all regions, C, K) and values (R, B)."""
    _, C, K = columns.shape
    step.table_rows = (step.parameter_rows[:, None] * C + values.clamp_min(0)).flatten()
    by_row = step.units.view(-1, K)
    torch.index_select(columns.reshape(-1, K), 0, step.table_rows, out=by_row)
    is_missing = (values < 0).flatten()
    step.is_missing = is_missing if is_missing.any() else None
    if step.is_missing is not None:
        by_row[step.is_missing] = 1.0


def weights_of(step: InputStep, weights: Tensor) -> Tensor:
    """(R, B, C), the soft evidence of the level's variables."""
    rows = step.level.children[0]
    return weights[rows] if isinstance(rows, slice) else weights.index_select(0, rows)


def write_marginals(step: InputStep, weights: Tensor, ratio: Tensor, table: Tensor, marginals: Tensor) -> None:
    """p(X_i = v | w) = w_v sum_k f_k(v) flow_k / u_k, into the variables' rows of (D, C, B)."""
    rows = step.level.children[0]
    if not step.level.exclusive:  # several input regions of a variable
        marginals.index_add_(0, step.variables, torch.bmm(ratio, table).mul_(weights).mT)
    elif isinstance(rows, slice):
        torch.bmm(ratio, table, out=marginals[rows].mT).mul_(weights)
    else:
        marginals[rows] = torch.bmm(ratio, table).mul_(weights).mT


def count_values(step: InputStep, gradients: list[Tensor]) -> None:
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


def add_product(step: SumStep | InputStep, gradients: list[Tensor], ratio: Tensor, product: Tensor) -> None:
    """Add gradient_km = sum_b p_m flow_k / u_k, (R, K, M)."""
    level, total = step.level, gradients[step.level.parameter]
    if level.parameter_rows is None:
        total.baddbmm_(ratio.mT, product)
    else:
        total.index_add_(0, level.parameter_rows, torch.bmm(ratio.mT, product))
