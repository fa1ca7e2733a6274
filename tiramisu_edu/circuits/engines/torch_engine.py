"""The tensor engine: every level of the circuit is one batched matrix product between log-space messages.

One step, used for inputs and sums alike (an input is a sum over the indicators of its variable's categories):

    forward    log u_k = log sum_m theta_km e_m,    log e_m = sum of the children's log messages (or log weights)
    backward   flow of product m = e_m sum_k theta_km flow_k / u_k,   flow of edge (k, m) summed over the batch

Between levels messages stay in log space, because children that disagree would underflow in a product of linear
values; inside one step they are linear, scaled by their maximum over m. That maximum is kept apart, one scale per
region and sample, so that the messages stay small numbers with all their digits; the flows never need it. The few
units that even then fall below the range of the floats are recomputed term by term in log space (`Thin`), so the
result is exact for any evidence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .messages import Evidence, LevelState, Messages, Parameters, Thin, Workspace
from .plan import Level, Plan, Rows


def forward(
    plan: Plan, parameters: Parameters, evidence: Evidence, *, keep: bool = False, workspace: Workspace | None = None
) -> Messages:
    """Messages of all regions, children before parents; the root's is log Z(w).

    Args:
        keep: what the backward pass needs.
        workspace: buffers to use; new ones if None.
    """
    given = evidence.log_weights if evidence.log_weights is not None else evidence.values
    assert given is not None
    batch, like = given.shape[-1], parameters[0]
    messages = Messages.of_ones(plan, like, batch, workspace)
    for number, level in enumerate(plan.levels):
        place = number if keep else None  # without a backward pass all levels share one buffer
        out = messages.log_units[level.num_units][level.rows]
        if level.is_input and evidence.values is not None:
            values, table = evidence.values[level.children[0]], parameters[level.parameter]
            state = LevelState(None, _look_up(level, table, values, out, messages.workspace, ("u", place)), None)
        else:
            weight = level_weight(level, parameters)
            u = messages.workspace.get(("u", place), (level.num_regions, level.num_units, batch), like)
            x, messages.log_scale[level.num_units][level.rows] = level_input(level, messages, evidence)
            linear = torch.exp(x, out=messages.workspace.products(("linear", place), level, batch, like))
            state = LevelState(linear, u, log_matmul(weight, x, linear, u, out))
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
    flows = {
        k: messages.workspace.get(("flows", k), tuple(units.shape), units) for k, units in messages.log_units.items()
    }
    if not plan.is_tree:
        for units in flows.values():
            units.zero_()
    flows[1][plan.levels[-1].start, 0] = 1.0 if root_flow is None else root_flow
    for level, state in zip(reversed(plan.levels), reversed(messages.states)):
        flow = flows[level.num_units][level.rows]
        if state.linear is None:
            if gradients is not None:
                assert evidence.values is not None
                values = evidence.values[level.children[0]]
                _count(level, flow, state.u, values, gradients, messages.workspace)
        elif not level.is_input or gradients is not None or marginals is not None:
            target = marginals if level.is_input else flows[level.child_units]
            log_u = messages.log_units[level.num_units][level.rows]
            weight = level_weight(level, parameters)
            product_flow = log_matmul_backward(level, weight, state, log_u, flow, gradients, messages.workspace)
            if target is not None:
                _to_children(level, product_flow, target)


def level_weight(level: Level, parameters: Parameters) -> Tensor:
    """(R, K_out, M): the parameters of a level's regions; a copy only where several are tied to several."""
    parameter = parameters[level.parameter]
    if level.shared_row is not None:
        return parameter[level.shared_row].expand(level.num_regions, -1, -1)
    return parameter if level.parameter_rows is None else parameter[level.parameter_rows]


def level_input(level: Level, messages: Messages, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """What a level mixes: sums of its children's messages, or the log weights of its variables.

    Returns:
        x (R, M, B) with maximum 0 over m (all -inf where nothing is possible), in a buffer of the workspace, and the
        log scale taken out, (R, 1, B).
    """
    batch = messages.log_units[1].shape[-1]
    x = messages.workspace.products("x", level, batch, messages.log_units[1])
    if level.is_input:
        assert evidence.log_weights is not None
        return _take_maximum_out(_read(evidence.log_weights, level.children[0]), x)
    rows = x.view(level.num_regions * level.num_partitions, level.child_units, batch)
    _add_up(messages.log_units[level.child_units], level.children, rows)
    scale = rows.new_empty(len(rows), 1, batch)
    _add_up(messages.log_scale[level.child_units], level.children, scale)
    if level.num_partitions > 1:  # bring the units of a region's partitions to one scale
        per_region = scale.view(level.num_regions, level.num_partitions, batch)
        relative, scale = _take_maximum_out(per_region, torch.empty_like(per_region))
        rows += relative.reshape(len(rows), 1, batch)
    x, maximum = _take_maximum_out(x, x)
    return x, maximum + scale


def log_matmul(weight: Tensor, x: Tensor, linear: Tensor, u: Tensor, out: Tensor) -> Thin | None:
    """u = weight @ linear and out = log u, exact also where u underflows; such units are returned.

    Args:
        weight: (R, K, M), non-negative.
        x: (R, M, B), maximum 0 over m, -inf allowed.
        linear: exp(x).
        u: (R, K, B), written; infinite at the units returned, so that the backward products pass them over.
        out: (R, K, B), written.
    """
    torch.bmm(weight, linear, out=u)
    torch.log(u, out=out)
    if not u.numel() or u.amin() >= _thin_below(u.dtype):
        return None
    is_thin = u < _thin_below(u.dtype)
    thin = Thin.find(weight, x, is_thin)
    out[thin.at] = thin.log_terms.logsumexp(-1)
    u.masked_fill_(is_thin, torch.inf)
    return thin


def log_matmul_backward(
    level: Level,
    weight: Tensor,
    state: LevelState,
    log_u: Tensor,
    flow: Tensor,
    gradients: list[Tensor] | None,
    workspace: Workspace,
) -> Tensor:
    """Flow of the M product units, (R, M, B); adds gradient_km = sum_b e_m flow_k / u_k where asked for.

    `flow` is used up: it becomes flow / u.
    """
    assert state.linear is not None
    thin_flow = None if state.thin is None else flow[state.thin.at]
    ratio = flow.div_(state.u)
    size = (level.num_regions, level.num_products, flow.shape[-1])
    if level.is_input:  # categories innermost in memory, as in `linear`
        product_flow = workspace.get("product flow", (size[0], size[2], size[1]), flow).mT
        torch.bmm(ratio.mT, weight, out=product_flow.mT)
    else:
        product_flow = workspace.get("product flow", size, flow)
        torch.bmm(weight.mT, ratio, out=product_flow)
    product_flow *= state.linear
    if gradients is not None:
        _add_product(gradients[level.parameter], level.parameter_rows, ratio, state.linear.mT)
    if state.thin is not None and thin_flow is not None:
        gradient = state.thin.add_flows(log_u, thin_flow, product_flow, weight)
        if gradients is not None:
            rows = torch.arange(len(weight)) if level.parameter_rows is None else level.parameter_rows
            gradients[level.parameter].index_add_(0, rows.to(gradient.device), gradient)
    return product_flow


def _thin_below(dtype: torch.dtype) -> float:
    """Below it a scaled sum may have lost terms to underflow; above it those terms are below rounding."""
    return torch.finfo(dtype).tiny ** 0.5


def _read(source: Tensor, rows: Rows) -> Tensor:
    return source[rows] if isinstance(rows, slice) else source.index_select(0, rows)


def _add_up(source: Tensor, slots: tuple[Rows, ...], out: Tensor) -> None:
    """out = the sum over the slots of the rows each names."""
    if len(slots) == 1:
        out.copy_(_read(source, slots[0]))
        return
    torch.add(_read(source, slots[0]), _read(source, slots[1]), out=out)
    for rows in slots[2:]:
        out += _read(source, rows)


def _take_maximum_out(x: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """out = x minus its maximum over dimension 1, and that maximum; the least float where all are -inf (they stay)."""
    maximum = x.amax(1, keepdim=True).clamp_(min=torch.finfo(x.dtype).min)
    return torch.sub(x, maximum, out=out), maximum


def _look_up(level: Level, table: Tensor, values: Tensor, out: Tensor, workspace: Workspace, key: object) -> Tensor:
    """out = log f_k(x_i), (R, K, B), for values (R, B), 0 where missing; returns f_k(x_i) as rows, (R * B, K).

    Whole rows of K units are read, not single numbers: a table with its units innermost in memory is read in place.
    """
    R, K, B = out.shape
    f = torch.index_select(
        table.mT.reshape(-1, K), 0, _table_rows(level, table, values), out=workspace.get(key, (R * B, K), out)
    )
    is_missing = (values < 0).flatten()
    if is_missing.any():
        f[is_missing] = 1.0
    log_f = torch.log(f, out=workspace.get("rows", (R * B, K), out))
    out.copy_(log_f.view(R, B, K).mT)
    return f


def _count(
    level: Level, flow: Tensor, f: Tensor, values: Tensor, gradients: list[Tensor], workspace: Workspace
) -> None:
    """Add d log Z / d table under hard evidence: flow_k / f_k at the observed value, flow_k everywhere if missing."""
    gradient = gradients[level.parameter]
    R, K, B = flow.shape
    share = workspace.get("rows", (R * B, K), flow)
    share.view(R, B, K).copy_(flow.mT)
    share.div_(f.clamp_min_(torch.finfo(f.dtype).tiny))
    is_missing = values < 0
    if is_missing.any():
        unseen = (flow * is_missing[:, None, :]).sum(-1, keepdim=True)  # (R, K, 1)
        rows = torch.arange(R, device=flow.device) if level.parameter_rows is None else level.parameter_rows
        gradient.index_add_(0, rows, unseen.expand(-1, -1, gradient.shape[2]))
        share[is_missing.flatten()] = 0.0
    by_row = gradient.mT.reshape(-1, K)
    by_row.index_add_(0, _table_rows(level, gradient, values), share)
    if by_row.data_ptr() != gradient.data_ptr():  # units not innermost: the sum was made in a copy
        gradient.copy_(by_row.view_as(gradient.mT).mT)


def _table_rows(level: Level, table: Tensor, values: Tensor) -> Tensor:
    """Row of (region, category) in the table seen as (all regions * C, K), for values (R, B); (R * B,)."""
    region = level.parameter_rows
    if region is None:
        region = torch.arange(level.num_regions, device=values.device)
    return (region[:, None] * table.shape[2] + values.clamp_min(0)).flatten()


def _to_children(level: Level, product_flow: Tensor, target: Tensor) -> None:
    num_products = level.num_regions * level.num_partitions
    product_flow = product_flow.view(num_products, level.child_units, product_flow.shape[-1])
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
