"""The engine of the processor: messages as scaled linear values, without a logarithm.

Per region and sample, with one batched matrix product for all regions of a level:

    forward    p_m = product of the children's u_m,   p = p / s with s = sum_m p_m,   u = theta p
    backward   flow of product m = p_m sum_k theta_km flow_k / u_k

and log Z = log u_root + the logs of all s below it. Several partitions of a region are brought to the scale of the
largest, and products of many factors are made in float64. Units lie innermost in memory, (R, B, K), so that hard
evidence reads and counts whole rows of units and no message is ever transposed.

Linear values can leave the range of the floats. An underflow loses less than the smallest normal number of a product,
so u = theta p is exact as long as every u s stays far above that number (`LOWEST`), or no product supports the unit and
u is 0. Where a smaller unit is found, the products that support it are counted. Only a sample with a supported unit
that is too small (children that contradict each other) is computed again: in float64, and what leaves that range too
by `safe`, in log space.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import safe
from .messages import Evidence, Parameters
from .plan import Plan, unit_weight
from .steps import theta_of
from .tape import Tape, Tapes

LOWEST = 0.75  # the smallest unit that is trusted, as a power of the smallest normal number: 4e-29 in float32


class Rest(NamedTuple):
    """The samples that left the range of the floats, and what another pass made of them."""

    samples: Tensor  # (n,) long, which they are
    engine: ModuleType  # this one or `safe`
    parameters: Parameters  # in float64
    evidence: Evidence
    messages: Any


@dataclass(frozen=True)
class LinearMessages:
    """What a forward pass leaves: the tape with the messages, and the samples computed again.

    `may_be_impossible`: Z(w) can be 0 for some sample. The tape goes back to `tapes` when the messages are gone.
    """

    tapes: Tapes
    tape: Tape
    evidence: Evidence
    may_be_impossible: bool
    rest: Rest | None

    def __del__(self) -> None:
        self.tapes.give_back(self.tape)

    @cached_property
    def log_root(self) -> Tensor:
        """log Z without the constants of the evidence, (B,) in float64."""
        log_root = self.tape.log_root()
        if self.may_be_impossible:
            log_root.masked_fill_(log_root == torch.inf, -torch.inf)
        if self.rest is not None:
            log_root[self.rest.samples] = self.rest.messages.log_root
        return log_root


def forward(
    plan: Plan, parameters: Parameters, evidence: Evidence, *, keep: bool = False, tapes: Tapes | None = None
) -> LinearMessages:
    """Messages of all regions, children before parents.

    Args:
        keep: what the backward pass needs.
        tapes: where to take a tape from, and to put it back when the messages are gone; a new tape if None.
    """
    tapes, batch = tapes or Tapes(), evidence.given.shape[-1]
    tape = tapes.take(plan, batch, parameters[0], keep, evidence.values is not None)
    tape.up(parameters, evidence)
    bound, rest = torch.finfo(parameters[0].dtype).tiny ** LOWEST, None
    is_low = batch > 0 and not tape.is_above(bound) and bool((~(tape.lowest() > bound)).any())
    if is_low:
        _mark_impossible(tape, parameters, evidence)
        samples = (~(tape.lowest() > bound)).nonzero()[:, 0]
        if len(samples):
            rest = _computed_again(plan, parameters, evidence, samples, keep)
            tape.forget(samples)
    return LinearMessages(tapes, tape, evidence, is_low, rest)


def log_partition(plan: Plan, messages: LinearMessages) -> Tensor:
    """log Z(w) of each sample, (B,) in float64."""
    log_z = messages.log_root
    if messages.evidence.log_weights is not None:  # add log sum_v w_v of all variables
        log_z = log_z + messages.evidence.log_weights.amax(1).sum(0, dtype=torch.float64)
        log_z -= messages.tape.weights.amax(-1).log().sum(1, dtype=torch.float64)
    if rest := messages.rest:
        log_z[rest.samples] = rest.engine.log_partition(plan, rest.messages)
    return log_z


def backward(
    plan: Plan,
    parameters: Parameters,
    evidence: Evidence,
    messages: LinearMessages,
    *,
    root_flow: Tensor | None = None,
    gradients: list[Tensor] | None = None,
    marginals: Tensor | None = None,
) -> None:
    """Flows of all regions, from the root down, added to what is asked for.

    Args:
        messages: what `forward` returned for the same evidence, kept.
        root_flow: (B,), 1 by default; a sample's flows scale with it, so it carries an upstream gradient or a weight.
        gradients: per parameter d(sum of log Z)/d theta is added; times theta it is the edge flow.
        marginals: (D, C, B) zeros, to which the posterior marginals p(X_i = v | w) are written; soft evidence only.
    """
    tape = messages.tape
    for flows in [] if plan.is_tree else tape.flows.values():
        flows.zero_()
    own_flow = tape.sums[-1].flow[0, :, 0]
    own_flow.copy_(torch.ones_like(own_flow) if root_flow is None else root_flow)
    if messages.rest:
        own_flow[messages.rest.samples] = 0.0
    tape.down(parameters, gradients, marginals)
    if messages.rest:
        _add_rest(plan, messages.rest, root_flow, gradients, marginals)


def odds(
    plan: Plan, parameters: Parameters, messages: LinearMessages, number: int, reached: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """theta_km p_m up to a factor, (n, M): how likely each product below a unit is; arguments as in `safe`."""
    region, sample, unit = reached
    product = messages.tape.steps[number].product
    found = unit_weight(plan.levels[number], parameters, region, unit).mul_(product[region, sample])
    if rest := messages.rest:
        place = torch.full((product.shape[1],), -1, device=region.device)
        place[rest.samples] = torch.arange(len(rest.samples), device=region.device)
        mine = place[sample] >= 0
        reached = region[mine], place[sample[mine]], unit[mine]
        again = rest.engine.odds(plan, rest.parameters, rest.messages, number, reached)
        found[mine] = again.div_(again.amax(-1, keepdim=True)).to(found)
    return found


def _mark_impossible(tape: Tape, parameters: Parameters, evidence: Evidence) -> None:
    """Set units to infinity that are 0 because no product supports them: their flows become zero."""
    found = []
    for step in tape.steps:
        is_zero = step.units == 0
        if is_zero.any():
            if (support := step.support(evidence)) is not None:
                theta = theta_of(step.level, parameters) > 0
                is_zero &= torch.bmm(support.to(step.units), theta.mT.to(step.units)) == 0
            found.append((step.units, is_zero))
    for units, is_impossible in found:
        units.masked_fill_(is_impossible, torch.inf)


def _computed_again(plan: Plan, parameters: Parameters, evidence: Evidence, samples: Tensor, keep: bool) -> Rest:
    """The samples in float64: by this engine, or by `safe` if this one was in float64 before."""
    engine = safe if parameters[0].dtype == torch.float64 else sys.modules[__name__]
    wide, some = [table.detach().double() for table in parameters], evidence.rows(samples)
    return Rest(samples, engine, wide, some, engine.forward(plan, wide, some, keep=keep))


def _add_rest(
    plan: Plan, rest: Rest, root_flow: Tensor | None, gradients: list[Tensor] | None, marginals: Tensor | None
) -> None:
    """The backward pass of the samples computed again."""
    flow = None if root_flow is None else root_flow[rest.samples].double()
    own = None if gradients is None else [torch.zeros_like(table) for table in rest.parameters]
    found = None if marginals is None else torch.zeros_like(rest.evidence.given)
    rest.engine.backward(
        plan, rest.parameters, rest.evidence, rest.messages, root_flow=flow, gradients=own, marginals=found
    )
    for total, made, table in zip(gradients or [], own or [], rest.parameters):
        total += made.masked_fill_(table == 0, 0.0)  # as in `safe`: beyond the floats, and no flow passes there
    if marginals is not None and found is not None:
        marginals[..., rest.samples] = found.to(marginals)
