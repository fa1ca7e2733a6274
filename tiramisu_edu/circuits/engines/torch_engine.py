"""The tensor engine: every level of the circuit is one batched matrix product between log-space messages.

One step, used for inputs and sums alike (an input is a sum over the indicators of its variable's categories):

    forward    log u_k = log sum_m theta_km e_m,    log e_m = sum of the children's log messages (or log weights)
    backward   flow of product m = e_m sum_k theta_km flow_k / u_k,   flow of edge (k, m) summed over the batch

Between levels messages stay in log space, because children that disagree would underflow in a product of linear
values; inside one step they are linear, scaled by their maximum over m. That maximum is kept apart, one scale per
region and sample, so that the messages stay small numbers with all their digits; the flows never need it. The few
units that even then fall below the range of the floats are recomputed term by term in log space (`_Thin`), so the
result is exact for any evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .plan import Level, Plan, Rows

Parameters = list[Tensor]


@dataclass(frozen=True)
class Evidence:
    """Soft evidence `log_weights` (D, C, B), or hard evidence `values` (D, B) long with -1 for missing; one of them."""

    log_weights: Tensor | None = None
    values: Tensor | None = None


class LevelState(NamedTuple):
    """What the backward pass needs of a level: linear (R, M, B) and u (R, K, B) of its step, and the units left out."""

    linear: Tensor | None  # None under hard evidence at an input
    u: Tensor
    thin: _Thin | None


@dataclass(frozen=True)
class Messages:
    """Per unit count K: log u = log_units + log_scale, of shapes (rows, K, B) and (rows, 1, B).

    Both have one more row than there are regions: log 1 = 0. `states` has an entry per level if they were kept.
    """

    log_units: dict[int, Tensor]
    log_scale: dict[int, Tensor]
    states: list[LevelState] = field(default_factory=list)

    @classmethod
    def of_ones(cls, plan: Plan, like: Tensor, batch: int) -> Messages:
        """All log 1, to be overwritten level by level; device and dtype those of `like`."""
        rows = {k: n + 1 for k, n in plan.num_rows.items()}
        messages = cls(
            {k: like.new_empty(n, k, batch) for k, n in rows.items()},
            {k: like.new_zeros(n, 1, batch) for k, n in rows.items()},
        )
        for log_units in messages.log_units.values():
            log_units[-1] = 0.0
        return messages


def forward(plan: Plan, parameters: Parameters, evidence: Evidence, *, keep: bool = False) -> Messages:
    """Messages of all regions, children before parents; the root's is log Z(w).

    Args:
        keep: what the backward pass needs.
    """
    given = evidence.log_weights if evidence.log_weights is not None else evidence.values
    assert given is not None
    messages = Messages.of_ones(plan, parameters[0], given.shape[-1])
    for level in plan.levels:
        weight = level_weight(level, parameters)
        out = messages.log_units[level.num_units][level.rows]
        if level.is_input and evidence.values is not None:
            state = _look_up(weight, evidence.values[level.children[0]], out)
        else:
            x, messages.log_scale[level.num_units][level.rows] = level_input(level, messages, evidence)
            state = log_matmul(weight, x, out)
        if keep:
            messages.states.append(state)
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
    gradients: list[Tensor] | None = None,
    marginals: Tensor | None = None,
) -> None:
    """Flows of all regions, from the root down, added to what is asked for.

    Args:
        messages: what `forward` returned for the same evidence, states kept.
        root_flow: (B,), 1 by default; a sample's flows scale with it, so it carries an upstream gradient or a weight.
        gradients: per parameter d(sum of log Z)/d theta is added; times theta it is the edge flow.
        marginals: (D, C, B) zeros, to which the posterior marginals p(X_i = v | w) are written; soft evidence only.
    """
    new = torch.empty_like if plan.is_tree else torch.zeros_like
    flows = {k: new(message) for k, message in messages.log_units.items()}
    flows[1][plan.levels[-1].start, 0] = 1.0 if root_flow is None else root_flow
    for level, state in zip(reversed(plan.levels), reversed(messages.states)):
        flow = flows[level.num_units][level.rows]
        if state.linear is None:
            if gradients is not None:
                assert evidence.values is not None
                _count(level, flow, state.u, evidence.values[level.children[0]], gradients)
        elif not level.is_input or gradients is not None or marginals is not None:
            weight = level_weight(level, parameters)
            log_u = messages.log_units[level.num_units][level.rows]
            product_flow = log_matmul_backward(level, weight, state, log_u, flow, gradients)
            target = marginals if level.is_input else flows[level.child_units]
            if target is not None:
                _to_children(level, product_flow, target)


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
        return _take_maximum_out(_read(evidence.log_weights, level.children[0]))
    x = _add_up(messages.log_units[level.child_units], level.children)
    scale = _add_up(messages.log_scale[level.child_units], level.children)
    if level.num_partitions > 1:  # bring the units of a region's partitions to one scale
        relative, scale = _take_maximum_out(scale.view(level.num_regions, level.num_partitions, -1))
        x = x + relative.reshape(len(x), 1, -1)
    x, maximum = _take_maximum_out(x.view(level.num_regions, level.num_products, -1))
    return x, maximum + scale


def log_matmul(weight: Tensor, x: Tensor, out: Tensor) -> LevelState:
    """out = log(weight @ exp(x)), exact also where the linear value underflows.

    Args:
        weight: (R, K, M), non-negative.
        x: (R, M, B), maximum 0 over m, -inf allowed.
        out: (R, K, B).
    """
    linear = x.exp()
    u = torch.bmm(weight, linear)
    torch.log(u, out=out)
    thin = None
    if u.numel() and u.amin() < _thin_below(u.dtype):
        is_thin = u < _thin_below(u.dtype)
        thin = _Thin.find(weight, x, is_thin)
        out[thin.at] = thin.log_terms.logsumexp(-1)
        u.masked_fill_(is_thin, torch.inf)  # they take no part in the matrix products of the backward pass
    return LevelState(linear, u, thin)


def log_matmul_backward(
    level: Level, weight: Tensor, state: LevelState, log_u: Tensor, flow: Tensor, gradients: list[Tensor] | None
) -> Tensor:
    """Flow of the M product units, (R, M, B); adds gradient_km = sum_b e_m flow_k / u_k where asked for."""
    assert state.linear is not None
    ratio = flow / state.u
    if level.is_input:  # log weights come with the categories innermost, (B, D, C) in memory: keep that layout
        product_flow = torch.bmm(ratio.mT, weight).mT.mul_(state.linear)
    else:
        product_flow = torch.bmm(weight.mT, ratio).mul_(state.linear)
    if gradients is not None:
        _add_product(gradients[level.parameter], level.parameter_rows, ratio, state.linear.mT)
    if state.thin is not None:
        gradient = state.thin.add_flows(log_u, flow, product_flow, weight)
        if gradients is not None:
            rows = torch.arange(len(weight)) if level.parameter_rows is None else level.parameter_rows
            gradients[level.parameter].index_add_(0, rows.to(gradient.device), gradient)
    return product_flow


class _Thin(NamedTuple):
    """Entries (region, unit, sample) of a level whose linear value is too small for the floats, but not zero."""

    at: tuple[Tensor, Tensor, Tensor]  # each (n,)
    log_terms: Tensor  # (n, M), log theta_km + x_m

    @classmethod
    def find(cls, weight: Tensor, x: Tensor, is_thin: Tensor) -> _Thin:
        possible = torch.bmm((weight > 0).to(x.dtype), (x > -torch.inf).to(x.dtype)) > 0
        region, unit, sample = (is_thin & possible).nonzero(as_tuple=True)
        return cls((region, unit, sample), weight[region, unit].log() + x[region, :, sample])

    def add_flows(self, log_u: Tensor, flow: Tensor, product_flow: Tensor, weight: Tensor) -> Tensor:
        """Add, term by term, the flows that the matrix products left out; return their gradient (R, K, M)."""
        region, unit, sample = self.at
        passed = flow[self.at][:, None] * (self.log_terms - log_u[self.at][:, None]).exp()
        product_flow.mT.index_put_((region, sample), passed, accumulate=True)
        edge_flow = torch.zeros_like(weight).index_put_((region, unit), passed, accumulate=True)
        return torch.where(edge_flow > 0, edge_flow / weight, 0.0)


def _thin_below(dtype: torch.dtype) -> float:
    """Below it a scaled sum may have lost terms to underflow; above it those terms are below rounding."""
    return torch.finfo(dtype).tiny ** 0.5


def _read(source: Tensor, rows: Rows) -> Tensor:
    return source[rows] if isinstance(rows, slice) else source.index_select(0, rows)


def _add_up(source: Tensor, slots: tuple[Rows, ...]) -> Tensor:
    """Sum over the slots of the rows each names; a view where there is one slot and its rows are a run."""
    total = _read(source, slots[0])
    if len(slots) > 1:
        total = total + _read(source, slots[1])
    for rows in slots[2:]:
        total += _read(source, rows)
    return total


def _take_maximum_out(x: Tensor) -> tuple[Tensor, Tensor]:
    """x minus its maximum over dimension 1, and that maximum; 0 in its stead where all are -inf."""
    maximum = x.amax(1, keepdim=True)
    maximum.masked_fill_(maximum == -torch.inf, 0.0)
    return x - maximum, maximum


def _look_up(table: Tensor, values: Tensor, out: Tensor) -> LevelState:
    """out = log f_k(x_i), (R, K, B), for values (R, B); 0 where missing."""
    f = table.gather(2, values.clamp_min(0)[:, None, :].expand(-1, table.shape[1], -1))
    is_missing = values < 0
    if is_missing.any():
        f.masked_fill_(is_missing[:, None, :], 1.0)
    torch.log(f, out=out)
    return LevelState(None, f, None)


def _count(level: Level, flow: Tensor, f: Tensor, values: Tensor, gradients: list[Tensor]) -> None:
    """Add d log Z / d table under hard evidence: flow_k / f_k at the observed value, flow_k everywhere if missing."""
    gradient = gradients[level.parameter]
    added = gradient if level.parameter_rows is None else torch.zeros_like(gradient[level.parameter_rows])
    share = flow / f.clamp_min(torch.finfo(f.dtype).tiny)
    is_missing = values < 0
    if is_missing.any():
        added += (flow * is_missing[:, None, :]).sum(-1, keepdim=True)
        share.masked_fill_(is_missing[:, None, :], 0.0)
    added.scatter_add_(2, values.clamp_min(0)[:, None, :].expand_as(share), share)
    if level.parameter_rows is not None:
        gradient.index_add_(0, level.parameter_rows, added)


def _to_children(level: Level, product_flow: Tensor, target: Tensor) -> None:
    num_products = level.num_regions * level.num_partitions
    product_flow = product_flow.reshape(num_products, level.child_units, product_flow.shape[-1])
    for rows in level.children:
        if level.exclusive:
            target[rows] = product_flow
        elif isinstance(rows, slice):
            target[rows] += product_flow
        else:
            target.index_add_(0, rows, product_flow)


def _add_product(total: Tensor, rows: Tensor | None, a: Tensor, b: Tensor) -> None:
    """total += a @ b, batched; with `rows` the n-th product is added to total[rows[n]]."""
    if rows is None:
        total.baddbmm_(a, b)
    else:
        total.index_add_(0, rows, torch.bmm(a, b))
