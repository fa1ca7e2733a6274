"""The circuit in log space, as one would write it first: slow, short, and exact for any evidence.

    sum or input    log u_k = logsumexp_m (log theta_km + x_m)
    product         x_m = sum of the children's log u_m; at an input the categories are the products, x_v = log w(v)

The gradient is autograd's. By log theta it is the expected use of an edge (its flow); by log w it is the posterior
marginals. All sums are made in float64. With the maximum in place of logsumexp, the walk down from the root along the
largest terms finds the most probable explanation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .messages import Evidence, Parameters
from .plan import Plan, unit_weight

NEVER = -1e30  # log 0, finite so that no gradient is inf - inf
TERMS = 2**16  # of a level that are held at once: they stay in the cache


@dataclass(frozen=True)
class LogMessages:
    """log Z without the constants taken out of the evidence, (B,) each; and what the other functions need."""

    log_root: Tensor
    constants: Tensor
    root: Tensor  # log_root as autograd recorded it, NEVER for -inf
    products: list[Tensor]  # x of each level, (R, M, B)
    log_theta: list[Tensor]
    log_weights: Tensor
    may_be_impossible = True


def forward(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    *,
    keep: bool = False,
    tapes: object = None,
    mix: Callable[[Tensor, int], Tensor] = torch.logsumexp,
) -> LogMessages:
    """log u of all regions, children before parents; the root's is log Z(w).

    Args:
        keep: record what the gradient needs.
        tapes: of the fast engine; this one needs none.
        mix: how a sum reduces its terms.
    """
    log_theta = [_finite(theta.detach().double().log()).requires_grad_(keep) for theta in parameters]
    log_weights, constants = _log_weights(evidence, plan.levels[0].child_units)
    log_weights = _finite(log_weights).requires_grad_(keep)
    products = []
    with torch.set_grad_enabled(keep):
        one = torch.zeros_like(constants)
        log_u = {k: [one.expand(k, -1)] * (rows + 1) for k, rows in plan.num_rows.items()}  # (K, B) by row
        for level in plan.levels:
            below = list(log_weights) if level.is_input else log_u[level.child_units]
            slots = [torch.stack([below[i] for i in rows]) for rows in level.children.tolist()]
            x = torch.stack(slots).sum(0).view(level.num_regions, level.num_products, -1)
            theta = log_theta[level.parameter]  # (R, K, M)
            theta = theta if level.parameter_rows is None else theta[level.parameter_rows]
            log_u[level.num_units][level.rows] = _mixed(theta, x, mix).unbind(0)
            products.append(x)
        root = log_u[1][plan.levels[-1].start][0]
    log_root = root.detach().masked_fill(root < NEVER / 2, -torch.inf)
    return LogMessages(log_root, constants, root, products, log_theta, log_weights)


def log_partition(plan: Plan, messages: LogMessages) -> Tensor:
    """log Z(w) of each sample, (B,) in float64."""
    return messages.log_root + messages.constants


def backward(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    messages: LogMessages,
    *,
    root_flow: Tensor | None = None,
    gradients: list[Tensor] | None = None,
    marginals: Tensor | None = None,
) -> None:
    """The gradient of log Z, added to what is asked for.

    Args:
        messages: what `forward` returned for the same evidence, kept.
        root_flow: (B,), 1 by default; a sample's flows scale with it, so it carries an upstream gradient or a weight.
        gradients: per parameter d(sum of log Z)/d theta is added, flow / theta, 0 where theta is; times theta it is
            the edge flow.
        marginals: (D, C, B) zeros, to which the posterior marginals p(X_i = v | w) are written; soft evidence only.
    """
    is_possible = (messages.log_root > -torch.inf).double()
    upstream = is_possible if root_flow is None else is_possible * root_flow
    leaves = [] if gradients is None else messages.log_theta
    leaves = leaves if marginals is None else [*leaves, messages.log_weights]
    flows = torch.autograd.grad(messages.root, leaves, upstream, retain_graph=True, allow_unused=True)
    if marginals is not None:
        marginals.copy_(flows[-1])
    for gradient, theta, flow in zip(gradients or [], parameters, flows):
        if flow is not None:
            gradient += torch.where(theta > 0, flow / theta, 0.0)


def odds(
    plan: Plan, parameters: Parameters, messages: LogMessages, number: int, reached: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """theta_km exp(x_m) up to a factor, (n, M): how likely each product below a unit is, given the evidence.

    Args:
        number: of the level.
        reached: region within the level, sample and unit, (n,) each.
    """
    region, sample, unit = reached
    log_theta = unit_weight(plan.levels[number], messages.log_theta, region, unit)
    log_odds = log_theta + messages.products[number][region, :, sample]
    return (log_odds - log_odds.amax(-1, keepdim=True)).exp()


def _log_weights(evidence: Evidence, num_categories: int) -> tuple[Tensor, Tensor]:
    """Any evidence as log weights (D, C, B) with maximum 0, and the sum of the maxima taken out, (B,)."""
    if evidence.log_weights is not None:
        return Evidence(evidence.log_weights.detach().double()).without_maxima()
    values = evidence.given[:, None]
    allowed = (values < 0) | (values == torch.arange(num_categories, device=values.device)[:, None])
    return torch.where(allowed, 0.0, NEVER).double(), values.new_zeros(values.shape[-1], dtype=torch.float64)


def _finite(log_x: Tensor) -> Tensor:
    return log_x.clamp_min(NEVER)


def _mixed(log_theta: Tensor, x: Tensor, mix: Callable[[Tensor, int], Tensor]) -> Tensor:
    """mix over m of (log theta_km + x_m), (R, K, B): few terms at a time, made again for the gradient."""

    def units(theta: Tensor, x: Tensor) -> Tensor:
        return mix(theta[..., None] + x[:, None], 2)

    run: Any = partial(checkpoint, units, use_reentrant=False, preserve_rng_state=False)
    run = run if torch.is_grad_enabled() else units
    of_unit = max(1, x[0].numel())
    by_region = zip(*(tensor.split(max(1, TERMS // (of_unit * log_theta.shape[1]))) for tensor in (log_theta, x)))
    pieces = ((theta.split(max(1, TERMS // of_unit), 1), x) for theta, x in by_region)
    return torch.cat([torch.cat([run(theta, x) for theta in some], 1) for some, x in pieces])
