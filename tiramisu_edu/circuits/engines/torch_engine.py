"""The tensor engine: every level of the circuit is one batched matrix product between log-space messages.

One step, used for inputs and sums alike (an input is a sum over the indicators of its variable's categories):

    forward    log u_k = log sum_m theta_km exp(x_m),    x_m = sum of the children's log messages (or log weights)
    backward   flow of product m = sum_k flow_k theta_km exp(x_m) / u_k,   flow of edge (k, m) summed over the batch

Between levels messages stay in log space, because children that disagree would underflow in a product of linear
values; inside one step they are linear, scaled by their maximum over m. That maximum is kept apart, one scale per
region and sample, so that the messages stay small numbers with all their digits; the flows never need it. The few
units that even then fall below the range of the floats are recomputed term by term in log space (`_Thin`), so the
result is exact for any evidence.
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


class Messages(NamedTuple):
    """Per unit count K: log u_k = log_units + log_scale.

    log_units: (rows, K, B); log_scale: (rows, 1, B). Both have one more row than there are regions: log 1 = 0.
    """

    log_units: dict[int, Tensor]
    log_scale: dict[int, Tensor]

    @classmethod
    def of_ones(cls, plan: Plan, like: Tensor, batch: int) -> Messages:
        """All log 1, to be overwritten level by level; device and dtype those of `like`."""
        rows = {k: n + 1 for k, n in plan.num_rows.items()}
        return cls(
            {k: like.new_zeros(n, k, batch) for k, n in rows.items()},
            {k: like.new_zeros(n, 1, batch) for k, n in rows.items()},
        )


def forward(plan: Plan, parameters: Parameters, evidence: Evidence) -> Messages:
    """Messages of all regions, children before parents; the root's is log Z(w)."""
    given = evidence.log_weights if evidence.log_weights is not None else evidence.values
    assert given is not None
    messages = Messages.of_ones(plan, parameters[0], given.shape[-1])
    for level in plan.levels:
        weight = level_weight(level, parameters)
        out = messages.log_units[level.num_units][level.rows]
        if level.is_input and evidence.values is not None:
            _look_up(weight, evidence.values[level.children[0]], out)
            continue
        x, messages.log_scale[level.num_units][level.rows] = level_input(level, messages, evidence)
        log_matmul(weight, x, out)
    return messages


def log_partition(plan: Plan, messages: Messages) -> Tensor:
    """log Z(w) of each sample, (B,)."""
    root = plan.levels[-1].start
    return messages.log_units[1][root, 0] + messages.log_scale[1][root, 0]


def backward(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    messages: Messages,
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
    flows = {k: torch.zeros_like(message) for k, message in messages.log_units.items()}
    flows[1][plan.levels[-1].start, 0] = 1.0 if root_flow is None else root_flow
    for level in reversed(plan.levels):
        weight = level_weight(level, parameters)
        flow, log_u = flows[level.num_units][level.rows], messages.log_units[level.num_units][level.rows]
        if level.is_input and evidence.values is not None:
            if gradients is not None:
                _add_gradient(gradients, level, _count(weight, flow, evidence.values[level.children[0]]))
            continue
        if level.is_input and not (want_gradients or want_marginals):
            continue
        x, _ = level_input(level, messages, evidence)
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


def level_input(level: Level, messages: Messages, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """What a level mixes: sums of its children's messages, or the log weights of its variables.

    Returns:
        x (R, M, B) with maximum 0 over m (all -inf where nothing is possible), and the log scale taken out, (R, 1, B).
    """
    if level.is_input:
        assert evidence.log_weights is not None
        return _take_maximum_out(evidence.log_weights[level.children[0]])
    log_units, log_scale = messages.log_units[level.child_units], messages.log_scale[level.child_units]
    x = log_units.index_select(0, level.children[0])
    scale = log_scale.index_select(0, level.children[0])
    for factor in level.children[1:]:
        x += log_units.index_select(0, factor)
        scale += log_scale.index_select(0, factor)
    if len(x) > level.num_regions:  # several partitions a region: bring their units to one scale
        relative, scale = _take_maximum_out(scale.view(level.num_regions, -1, scale.shape[-1]))
        x += relative.view(len(x), 1, -1)
    x, shift = _take_maximum_out(x.view(level.num_regions, level.num_products, x.shape[-1]))
    return x, shift.add_(scale)


def _take_maximum_out(x: Tensor) -> tuple[Tensor, Tensor]:
    """x minus its maximum over dimension 1, in place, and that maximum; 0 in its stead where all are -inf."""
    maximum = x.amax(1, keepdim=True)
    maximum.masked_fill_(maximum == -torch.inf, 0.0)
    return x.sub_(maximum), maximum


def log_matmul(weight: Tensor, x: Tensor, out: Tensor) -> None:
    """out = log(weight @ exp(x)), exact also where the linear value underflows.

    Args:
        weight: (R, K, M), non-negative.
        x: (R, M, B), maximum 0 over m, -inf allowed.
        out: (R, K, B).
    """
    u = torch.bmm(weight, x.exp())
    torch.log(u, out=out)
    if u.numel() and u.amin() < _thin_below(u.dtype):
        thin = _Thin.find(weight, x, u < _thin_below(u.dtype))
        out[thin.at] = thin.log_terms.logsumexp(-1)


def log_matmul_backward(
    weight: Tensor, x: Tensor, log_u: Tensor, flow: Tensor, want_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Flow of the M product units, (R, M, B), and the gradient summed over the batch, (R, K, M).

    flow_m = exp(x_m) sum_k theta_km flow_k / u_k,    gradient_km = sum_b exp(x_m) flow_k / u_k.
    """
    thick_until = 1 / _thin_below(x.dtype)
    inverse = log_u.neg().exp_()
    has_thin = bool(inverse.numel() and inverse.amax() > thick_until)
    if has_thin:
        thin = _Thin.find(weight, x, inverse > thick_until)
        inverse.masked_fill_(inverse > thick_until, 0.0)
    linear = x.exp()
    ratio = inverse.mul_(flow)
    product_flow = torch.bmm(weight.mT, ratio).mul_(linear)
    gradient = torch.bmm(ratio, linear.mT) if want_gradient else None
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


def _thin_below(dtype: torch.dtype) -> float:
    """Below it a scaled sum may have lost terms to underflow; above it those terms are below rounding."""
    return torch.finfo(dtype).tiny ** 0.5


def _look_up(table: Tensor, values: Tensor, out: Tensor) -> None:
    """out = log f_k(x_i), (R, K, B), for values (R, B); 0 where missing."""
    index = values.clamp_min(0)[:, None, :].expand(-1, table.shape[1], -1)
    torch.gather(table, 2, index, out=out)
    out.log_().masked_fill_((values < 0)[:, None, :], 0.0)


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
