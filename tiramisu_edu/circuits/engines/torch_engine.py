"""The tensor engine: every level of the circuit is one batched matrix product between log-space messages.

One step, used for inputs and sums alike (an input is a sum over the indicators of its variable's categories):

    forward    log u_k = log sum_m theta_km exp(x_m),    x_m = sum of the children's log messages (or log weights)
    backward   flow of product m = sum_k flow_k theta_km exp(x_m) / u_k,   flow of edge (k, m) summed over the batch

Messages stay in log space between levels, because children that disagree would underflow in a product of linear
values; inside one step they are linear, scaled by their maximum over m. The few units that even then fall below the
range of the floats are recomputed term by term in log space (`_Thin`), so the result is exact for any evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .plan import Level, Plan

Parameters = list[Tensor]


@dataclass(frozen=True)
class Evidence:
    """Soft evidence `log_weights` (D, C, B), or hard evidence `values` (D, B) long with -1 for missing; one of them."""

    log_weights: Tensor | None = None
    values: Tensor | None = None


class Flows(NamedTuple):
    """What the backward pass finds.

    gradients: per parameter d(sum of log Z)/d theta, the parameter's shape; times theta they are the edge flows.
    evidence: (D, C, B), the posterior marginals p(X_i = v | w), or None where they were not asked for.
    """

    gradients: list[Tensor] | None
    evidence: Tensor | None


def forward(plan: Plan, parameters: Parameters, evidence: Evidence) -> dict[int, Tensor]:
    """Log messages of all regions, per unit count K a tensor (rows, K, B). The root is the last row of K = 1."""
    given = evidence.log_weights if evidence.log_weights is not None else evidence.values
    assert given is not None
    like = parameters[0]
    messages = {k: like.new_empty(rows + 1, k, given.shape[-1]) for k, rows in plan.num_rows.items()}
    for message in messages.values():
        message[-1] = 0.0
    for level in plan.levels:
        weight = level_weight(level, parameters)
        out = messages[level.num_units][level.rows]
        if level.is_input and evidence.values is not None:
            out.copy_(_look_up(weight, evidence.values[level.children[0]]))
        else:
            log_matmul(weight, level_input(level, messages, evidence), out)
    return messages


def log_partition(plan: Plan, messages: dict[int, Tensor]) -> Tensor:
    """log Z(w) of each sample, (B,)."""
    return messages[1][plan.levels[-1].start, 0]


def backward(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    messages: dict[int, Tensor],
    *,
    root_flow: Tensor | None = None,
    want_gradients: bool = False,
    want_marginals: bool = False,
) -> Flows:
    """Flows of all regions, from the root down.

    Args:
        messages: what `forward` returned for the same evidence.
        root_flow: (B,), 1 by default; a sample's flows scale with it, so it carries an upstream gradient or a weight.
    """
    gradients = [torch.zeros_like(p) for p in parameters] if want_gradients else None
    marginals = None
    if want_marginals:
        assert evidence.log_weights is not None
        marginals = torch.zeros_like(evidence.log_weights)
    flows = {k: torch.zeros_like(message) for k, message in messages.items()}
    flows[1][plan.levels[-1].start, 0] = 1.0 if root_flow is None else root_flow
    for level in reversed(plan.levels):
        weight = level_weight(level, parameters)
        flow, log_u = flows[level.num_units][level.rows], messages[level.num_units][level.rows]
        if level.is_input and evidence.values is not None:
            if gradients is not None:
                _add_gradient(gradients, level, _count(weight, flow, evidence.values[level.children[0]]))
            continue
        if level.is_input and not (want_gradients or want_marginals):
            continue
        x = level_input(level, messages, evidence)
        product_flow, gradient = log_matmul_backward(weight, x, log_u, flow, want_gradients)
        if gradients is not None and gradient is not None:
            _add_gradient(gradients, level, gradient)
        target = marginals if level.is_input else flows[level.child_units]
        if target is not None:
            _to_children(level, product_flow, target)
    return Flows(gradients, marginals)


def level_weight(level: Level, parameters: Parameters) -> Tensor:
    """(R, K_out, M): the parameters of a level's regions; a copy only where some are tied."""
    parameter = parameters[level.parameter]
    return parameter if level.parameter_rows is None else parameter[level.parameter_rows]


def level_input(level: Level, messages: dict[int, Tensor], evidence: Evidence) -> Tensor:
    """x (R, M, B): sums of the children's log messages, or the log weights of an input level's variables."""
    if level.is_input:
        assert evidence.log_weights is not None
        return evidence.log_weights[level.children[0]]
    source = messages[level.child_units]
    x = source.index_select(0, level.children[0])
    for factor in level.children[1:]:
        x += source.index_select(0, factor)
    return x.view(level.num_regions, level.num_products, x.shape[-1])


def log_matmul(weight: Tensor, x: Tensor, out: Tensor) -> None:
    """out = log(weight @ exp(x)) without overflow or underflow.

    Args:
        weight: (R, K, M), non-negative.
        x: (R, M, B) in log space, -inf allowed; overwritten.
        out: (R, K, B).
    """
    shift = _shift(x)
    thin_at = _thin_threshold(x.dtype)
    log_x = x
    u = torch.bmm(weight, (x - shift).exp_())
    torch.log(u, out=out)
    out += shift
    if u.numel() and u.amin() < thin_at:
        thin = _Thin.find(weight, log_x, u < thin_at)
        out[thin.at] = thin.log_terms.logsumexp(-1)


def log_matmul_backward(
    weight: Tensor, x: Tensor, log_u: Tensor, flow: Tensor, want_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Flow of the M product units, (R, M, B), and the gradient summed over the batch, (R, K, M).

    flow_m = exp(x_m) sum_k theta_km flow_k / u_k,    gradient_km = sum_b exp(x_m) flow_k / u_k.
    """
    shift = _shift(x)
    thin_at = _thin_threshold(x.dtype)
    scaled = (x - shift).exp_()
    inverse = (shift - log_u).exp_()  # 1 / u in the level's own scale; huge where u is thin, inf where u = 0
    has_thin = bool(inverse.numel() and inverse.amax() > 1 / thin_at)
    if has_thin:
        thin = _Thin.find(weight, x, inverse > 1 / thin_at)
        inverse.masked_fill_(inverse > 1 / thin_at, 0.0)
    ratio = inverse.mul_(flow)
    product_flow = torch.bmm(weight.mT, ratio).mul_(scaled)
    gradient = torch.bmm(ratio, scaled.mT) if want_gradient else None
    if has_thin:
        thin.add_flows(log_u, flow, product_flow, gradient)
    return product_flow, gradient


class _Thin(NamedTuple):
    """Entries (region, unit, sample) of a level whose linear value is too small for the floats, but not zero."""

    at: tuple[Tensor, Tensor, Tensor]  # each (n,)
    log_weight: Tensor  # (n, M)
    log_terms: Tensor  # (n, M), log theta_km + x_m

    @classmethod
    def find(cls, weight: Tensor, x: Tensor, is_thin: Tensor) -> _Thin:
        possible = torch.bmm((weight > 0).to(x.dtype), (x > -torch.inf).to(x.dtype)) > 0
        region, unit, sample = (is_thin & possible).nonzero(as_tuple=True)
        log_weight = weight[region, unit].log()
        return cls((region, unit, sample), log_weight, log_weight + x[region, :, sample])

    def add_flows(self, log_u: Tensor, flow: Tensor, product_flow: Tensor, gradient: Tensor | None) -> None:
        """Add, term by term, the flows that the matrix products of the level left out."""
        region, unit, sample = self.at
        passed = flow[self.at][:, None] * (self.log_terms - log_u[self.at][:, None]).exp()
        product_flow.mT.index_put_((region, sample), passed, accumulate=True)
        if gradient is not None:
            by_weight = torch.where(passed > 0, passed / self.log_weight.exp(), 0.0)
            gradient.index_put_((region, unit), by_weight, accumulate=True)


def _shift(x: Tensor) -> Tensor:
    """Maximum over m, (R, 1, B); 0 where all are -inf, so that -inf - shift stays -inf."""
    shift = x.amax(1, keepdim=True)
    return shift.masked_fill_(shift == -torch.inf, 0.0)


def _thin_threshold(dtype: torch.dtype) -> float:
    """Below it a scaled sum may have lost terms to underflow; above it they are below rounding."""
    return torch.finfo(dtype).tiny ** 0.5


def _look_up(table: Tensor, values: Tensor) -> Tensor:
    """log f_k(x_i), (R, K, B), for values (R, B); 0 where missing."""
    index = values.clamp_min(0)[:, None, :].expand(-1, table.shape[1], -1)
    return table.gather(2, index).log_().masked_fill_((values < 0)[:, None, :], 0.0)


def _count(table: Tensor, flow: Tensor, values: Tensor) -> Tensor:
    """d log Z / d table under hard evidence, (R, K, C): flow_k / f_k at the observed value, flow_k where missing."""
    one_hot = torch.nn.functional.one_hot(values.clamp_min(0), table.shape[2]).to(flow.dtype)  # (R, B, C)
    is_missing = values < 0
    counts = torch.bmm(flow.masked_fill(is_missing[:, None, :], 0.0), one_hot)
    gradient = torch.where(counts > 0, counts / table, 0.0)
    if is_missing.any():
        gradient += (flow * is_missing[:, None, :]).sum(-1, keepdim=True)
    return gradient


def _to_children(level: Level, product_flow: Tensor, target: Tensor) -> None:
    product_flow = product_flow.view(level.children.shape[1], level.child_units, product_flow.shape[-1])
    for factor in level.children:
        if level.exclusive and not level.is_input:
            target[factor] = product_flow
        else:
            target.index_add_(0, factor, product_flow)


def _add_gradient(gradients: list[Tensor], level: Level, gradient: Tensor) -> None:
    if level.parameter_rows is None:
        gradients[level.parameter] += gradient
    else:
        gradients[level.parameter].index_add_(0, level.parameter_rows, gradient)
