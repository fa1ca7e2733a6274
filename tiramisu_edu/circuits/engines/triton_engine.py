"""The tensor engine on the GPU: one fused kernel per level and pass, in float32. Same functions as `fast`.

    launches         forward 1 per level; backward 1 per level for the flows, 1 more where gradients are asked for;
                     beside them only fills of new memory
    synchronisation  none: the host only queues, so both passes can be recorded, see `cuda_graphs`
    memory           per sample the messages, sum over regions of K + 1 floats; kept for the backward pass the same
                     again; the flows the same once more. At the peak about 3 (K + 1) floats per region and sample:
                     the exponentials of the products, R M floats per level in `fast`, are never stored

    compilation      a few seconds for each kernel and shape of level, once per machine; the same kernels serve all
                     batches of up to 16, 17 to 32, and 33 or more samples

Matrix products use 3xTF32 (three TF32 products for one of nearly float32 accuracy; the single TF32 product truncates,
a bias that adds up over the variables), or plain float32 where a card has no TF32. Where regions share children or
parameters, sums are made by atomic additions in no fixed order: the last digits differ from run to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2

from . import triton_kernels as kernels
from .messages import Evidence, Parameters
from .plan import Level, Plan, unit_weight
from .triton_tiles import How, Own, Shape, Source, Target, Values, Weights

Rows = dict[int, Tensor]  # per unit count K


class Kept(NamedTuple):
    """What the backward pass needs of a level: the maximum taken out (R, B), and u (R, K, B), inf where thin."""

    maximum: Tensor  # anything under hard evidence
    u: Tensor


@dataclass(frozen=True)
class LogMessages:
    """Per unit count K: log u = log_units + log_scale, of shapes (rows, K, B) and (rows, 1, B).

    Both have one more row than there are regions: log 1 = 0. `kept` has an entry per level if they were kept.
    """

    log_units: Rows
    log_scale: Rows
    log_root: Tensor  # log Z without the constants taken out of the evidence, (B,)
    constants: Tensor  # (B,) float64
    weights: Tensor | None  # soft evidence without those, (D, C, B)
    kept: list[Kept]
    may_be_impossible = True


class Indices(NamedTuple):
    """Where the regions of a level find theirs, int32 on the device; see `triton_kernels` for the letters."""

    theta_rows: Tensor  # (R,)
    children: Tensor  # (S, N), -1 for the constant log 1


@torch.no_grad()
def forward(
    plan: Plan, parameters: Parameters, evidence: Evidence, *, keep: bool = False, tapes: object = None
) -> LogMessages:
    """Messages of all regions, children before parents; arguments as in `safe`, all in float32."""
    like, batch = parameters[0].detach(), evidence.given.shape[-1]
    constants, log_w = torch.zeros(batch, dtype=torch.float64, device=like.device), None
    if evidence.log_weights is not None:
        log_w, constants = evidence.without_maxima()
    rows = {k: n + 1 for k, n in plan.num_rows.items()}
    log_units = {k: like.new_empty(n, k, batch) for k, n in rows.items()}
    for units in log_units.values():
        units[-1] = 0.0
    log_scale, root = {k: like.new_zeros(n, 1, batch) for k, n in rows.items()}, plan.levels[-1].start
    kept = []
    with torch.cuda.device_of(like):  # Triton launches on the current device
        for level, indices in zip(plan.levels, _indices(plan, like.device)) if batch else ():
            weights = Weights(parameters[level.parameter].detach().contiguous(), indices.theta_rows)
            out, scale = log_units[level.num_units][level.rows], log_scale[level.num_units][level.rows]
            if level.is_input and evidence.values is not None:
                kept.append(hard_forward(level, weights, _given(evidence, indices), out, keep))
            else:
                source = _source(level, indices, log_w, log_units, log_scale)
                kept.append(sum_forward(level, weights, source, out, scale, keep))
    log_root = (log_units[1][root, 0] + log_scale[1][root, 0]).double()
    return LogMessages(log_units, log_scale, log_root, constants, log_w, kept if keep else [])


def log_partition(plan: Plan, messages: LogMessages) -> Tensor:
    """log Z(w) of each sample, (B,) in float64."""
    return messages.log_root + messages.constants


def odds(
    plan: Plan, parameters: Parameters, messages: LogMessages, number: int, reached: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """theta_km exp(x_m) up to a factor, (n, M): how likely each product below a unit is; arguments as in `safe`."""
    (region, sample, unit), level = reached, plan.levels[number]
    indices = _indices(plan, region.device)[number]
    source = _source(level, indices, messages.weights, messages.log_units, messages.log_scale)
    log_e = torch.stack([source.units[rows] for rows in level.children]).sum(0)
    relative = torch.stack([source.scales[rows] for rows in level.children]).sum(0, dtype=torch.float64)
    size = level.num_regions, level.num_partitions, -1, log_e.shape[-1]
    log_e, relative = log_e.view(size), relative.view(size)
    x = (log_e + (relative - relative.amax(1, keepdim=True)).to(log_e)).flatten(1, 2)  # (R, M, B)
    log_odds = unit_weight(level, parameters, region, unit).log() + x[region, :, sample]
    return (log_odds - log_odds.amax(-1, keepdim=True)).exp()


@torch.no_grad()
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
    """Flows of all regions, from the root down, added to what is asked for.

    Args:
        messages: what `forward` returned for the same evidence, kept.
        root_flow: (B,), 1 by default; a sample's flows scale with it, so it carries an upstream gradient or a weight.
        gradients: per parameter d(sum of log Z)/d theta is added; times theta it is the edge flow.
        marginals: (D, C, B) zeros, to which the posterior marginals p(X_i = v | w) are written; soft evidence only.
    """
    new = torch.empty_like if plan.is_tree else torch.zeros_like
    flows = {k: new(message) for k, message in messages.log_units.items()}
    flows[1][plan.levels[-1].start, 0] = 1.0 if root_flow is None else root_flow
    sums = None if gradients is None else [gradient.contiguous() for gradient in gradients]
    with torch.cuda.device_of(flows[1]):
        for level, indices, kept in zip(plan.levels[::-1], _indices(plan, flows[1].device)[::-1], messages.kept[::-1]):
            weights = Weights(parameters[level.parameter].detach().contiguous(), indices.theta_rows)
            gradient = None if sums is None else sums[level.parameter]
            log_u, flow = (of[level.num_units][level.rows] for of in (messages.log_units, flows))
            own = Own(kept.maximum, log_u, kept.u, flow)
            if level.is_input and evidence.values is not None:
                if gradient is not None:
                    hard_gradient(level, weights, _given(evidence, indices), own, gradient)
                continue
            source = _source(level, indices, messages.weights, messages.log_units, messages.log_scale)
            target = marginals if level.is_input else flows[level.child_units]
            if target is not None:
                sum_backward(level, weights, source, own, target)
            if gradient is not None:
                sum_gradient(level, weights, source, own, gradient)
    for total, made in zip(gradients or [], sums or []):
        total.copy_(made)  # nothing where they are one; under the interpreter tables have the processor's layout


def sum_forward(level: Level, weights: Weights, source: Source, out: Tensor, scale: Tensor, keep: bool) -> Kept:
    """Write the log messages of a level, `out` (R, K, B) relative to `scale` (R, 1, B)."""
    R, K, B = out.shape
    maximum, u = (scale.new_empty(R, B), torch.empty_like(out)) if keep else (out, out)
    block_k, block_j, block_b = _filling(R, K, out.device), _width(level.child_units, 32), _width(B, 64)
    how = How(block_k, block_j, block_b, len(source.children), keep, _precision(out.device))
    kernels.sum_forward[(R * cdiv(K, block_k) * cdiv(B, block_b),)](
        weights, source, scale, Own(maximum, out, u, out), *_sizes(level, B), how, **_options(block_k * block_b)
    )
    return Kept(maximum, u)


def sum_backward(level: Level, weights: Weights, source: Source, own: Own, to: Tensor) -> None:
    """Write or add the flows of the product units to the children's rows of `to` (rows, J, B)."""
    shape, N, B = _sizes(level, own.flows.shape[-1])
    block_k, block_j, block_b = _width(shape.K, 32), _filling(N, shape.J, to.device), _width(B, 64)
    how = How(block_k, block_j, block_b, len(source.children), level.exclusive, _precision(to.device))
    target = Target(to, *to.stride()) if level.is_input else Target(to)
    kernels.sum_backward[(N * cdiv(shape.J, block_j) * cdiv(B, block_b),)](
        weights, source, own, target, shape, N, B, how, **_options(block_j * block_b)
    )


def sum_gradient(level: Level, weights: Weights, source: Source, own: Own, to: Tensor) -> None:
    """Add d(sum of log Z)/d theta of a level to `to`, of the shape of its parameter."""
    (shape, N, B), is_tied = _sizes(level, own.flows.shape[-1]), level.parameter_rows is not None
    block_k, block_j, block_b = _width(shape.K, 64), _width(shape.J, 64), _width(B, 32)
    how = How(block_k, block_j, block_b, len(source.children), is_tied, _precision(to.device))
    kernels.sum_gradient[(N * cdiv(shape.K, block_k) * cdiv(shape.J, block_j),)](
        weights, source, own, to, shape, N, B, how, **_options(block_k * block_j)
    )


def hard_forward(level: Level, weights: Weights, given: Values, out: Tensor, keep: bool) -> Kept:
    """Write log f_k of the observed values (D, B) to `out` (R, K, B), 0 where missing."""
    R, K, B = out.shape
    f = torch.empty_like(out) if keep else out
    how = How(_width(K, 64), 1, _width(B, 32), 1, keep, "")
    grid = (R * cdiv(K, how.K) * cdiv(B, how.B),)
    kernels.hard_forward[grid](weights, given, Own(f, out, f, f), *_sizes(level, B), how, enable_fp_fusion=True)
    return Kept(f, f)


def hard_gradient(level: Level, weights: Weights, given: Values, own: Own, to: Tensor) -> None:
    """Add d(sum of log Z)/d table of an input level to `to`: flow_k / f_k at the observed values."""
    shape, N, B = _sizes(level, own.flows.shape[-1])
    how = How(_width(shape.K, 32), _width(shape.J, 128), _width(B, 32), 1, True, "")
    grid = (level.num_regions * cdiv(shape.K, how.K),)
    kernels.hard_gradient[grid](weights, given, own, to, shape, N, B, how, enable_fp_fusion=True)


def _source(level: Level, indices: Indices, log_w: Tensor | None, log_units: Rows, log_scale: Rows) -> Source:
    """What a level mixes: the messages of its children, or soft evidence."""
    if not level.is_input:
        return Source(log_units[level.child_units], log_scale[level.child_units], indices.children)
    assert log_w is not None
    scales = torch.zeros(len(log_w), 1, log_w.shape[-1], device=log_w.device)
    return Source(log_w, scales, indices.children, *log_w.stride())


def _given(evidence: Evidence, indices: Indices) -> Values:
    """Hard evidence, and where each region of an input level finds its own."""
    return Values(evidence.given, indices.children, *evidence.given.stride())


def _sizes(level: Level, batch: int) -> tuple[Shape, int, int]:
    shape = Shape(level.num_units, level.child_units, level.num_partitions)
    return shape, level.num_regions * level.num_partitions, batch


def _indices(plan: Plan, device: torch.device) -> list[Indices]:
    """Per level the rows its kernels read, made once per plan and device and remembered with the plan."""
    cache: dict[torch.device, list[Indices]] = plan.__dict__.setdefault("_triton_indices", {})
    if device not in cache:
        constants = [plan.num_rows.get(level.child_units, -1) for level in plan.levels]
        cache[device] = [level_indices(level, row, device) for level, row in zip(plan.levels, constants)]
    return cache[device]


def level_indices(level: Level, constant: int, device: torch.device) -> Indices:
    """The rows that a level's kernels read; `constant` is the row of log 1 among the children's messages."""
    children = level.children if level.is_input else level.children.masked_fill(level.children == constant, -1)
    rows = level.parameter_rows
    theta_rows = torch.arange(level.num_regions) if rows is None else rows
    return Indices(theta_rows.to(device, torch.int32), children.to(device, torch.int32))


def _width(size: int, largest: int) -> int:
    """Width of a tile: a power of two, at least 16 for tl.dot, no wider than needed."""
    return min(max(16, next_power_of_2(size)), largest)


def _filling(num_matrices: int, size: int, device: torch.device) -> int:
    """Width of tiles of the result, narrower where few matrices leave multiprocessors idle; the same for any batch."""
    width = _width(size, 64)
    while width > 16 and num_matrices * cdiv(size, width) < _multiprocessors(device):
        width //= 2
    return width


def _options(tile: int) -> dict[str, Any]:
    """By the numbers in a tile of the result, warps: with fewer the registers overflow."""
    return {"num_warps": 8 if tile >= 64 * 64 else 4, "num_stages": 3, "enable_fp_fusion": True}


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@lru_cache
def _precision(device: torch.device) -> str:
    """Of tl.dot: 3xTF32 on NVIDIA cards since Ampere, else float32 throughout; never the default, plain TF32."""
    has_tf32 = device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device)[0] >= 8
    return "tf32x3" if has_tf32 else "ieee"
