"""The tensor engine on the GPU: one fused kernel per level and pass, in float32. Same functions as `fast`.

    launches         forward 1 per level; backward 1 per level for the flows, 1 more where gradients are asked for;
                     beside them only fills of new memory
    synchronisation  none: the host only queues, so both passes can be captured in a CUDA graph
    memory           per sample the messages, sum over regions of K + 1 floats; kept for the backward pass the same
                     again; the flows the same once more. At the peak about 3 (K + 1) floats per region and sample:
                     the exponentials of the products, R M floats per level in `fast`, are never stored

Matrix products use 3xTF32 (three TF32 products for one of nearly float32 accuracy; the single TF32 product truncates,
a bias that adds up over the variables), or plain float32 where a card has no TF32. Where regions share children or
parameters, sums are made by atomic additions in no fixed order: the last digits differ from run to run.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from . import triton_kernels as kernels
from .messages import Evidence, Parameters
from .plan import Level, Plan, unit_weight
from .plan import indices as rows_of


class Kept(NamedTuple):
    """What the backward pass needs of a level: the maximum taken out (R, B), and u (R, K, B), inf where thin."""

    maximum: Tensor | None  # None under hard evidence
    u: Tensor


@dataclass(frozen=True)
class LogMessages:
    """Per unit count K: log u = log_units + log_scale, of shapes (rows, K, B) and (rows, 1, B).

    Both have one more row than there are regions: log 1 = 0. `kept` has an entry per level if they were kept.
    """

    log_units: dict[int, Tensor]
    log_scale: dict[int, Tensor]
    log_root: Tensor  # log Z without the constants taken out of the evidence, (B,)
    constants: Tensor  # (B,) float64
    weights: Tensor | None  # soft evidence without those, (D, C, B)
    kept: list[Kept] = field(default_factory=list)
    may_be_impossible = True


class Indices(NamedTuple):
    """Where the regions of a level find theirs, int32 on the device; see `triton_kernels` for the letters."""

    theta_rows: Tensor  # (R,)
    children: Tensor  # (S, N), -1 for the constant log 1


class Source(NamedTuple):
    """What a level mixes: log units (rows, J, B) of any strides, and the log scales (rows, 1, B) taken out of them."""

    units: Tensor
    scales: Tensor


@torch.no_grad()
def forward(
    plan: Plan, parameters: Parameters, evidence: Evidence, *, keep: bool = False, tapes: object = None
) -> LogMessages:
    """Messages of all regions, children before parents; arguments as in `safe`, all in float32."""
    like, batch = parameters[0].detach(), evidence.given.shape[-1]
    constants, weights = torch.zeros(batch, dtype=torch.float64, device=like.device), None
    if evidence.log_weights is not None:
        weights, constants = evidence.without_maxima()
    rows = {k: n + 1 for k, n in plan.num_rows.items()}
    log_units = {k: like.new_empty(n, k, batch) for k, n in rows.items()}
    for units in log_units.values():
        units[-1] = 0.0
    log_scale, root = {k: like.new_zeros(n, 1, batch) for k, n in rows.items()}, plan.levels[-1].start
    kept = []
    with _on(like.device):
        for level, indices in zip(plan.levels, _indices(plan, like.device)) if batch else ():
            theta = parameters[level.parameter].detach().contiguous()
            out, scale = log_units[level.num_units][level.rows], log_scale[level.num_units][level.rows]
            if level.is_input and evidence.values is not None:
                kept.append(hard_forward(level, indices, theta, evidence.values, out, keep))
            else:
                source = _source(level, weights, log_units, log_scale)
                kept.append(sum_forward(level, indices, theta, source, out, scale, keep))
    log_root = (log_units[1][root, 0] + log_scale[1][root, 0]).double()
    return LogMessages(log_units, log_scale, log_root, constants, weights, kept if keep else [])


def log_partition(plan: Plan, messages: LogMessages) -> Tensor:
    """log Z(w) of each sample, (B,) in float64."""
    return messages.log_root + messages.constants


def odds(
    plan: Plan, parameters: Parameters, messages: LogMessages, number: int, reached: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """theta_km exp(x_m) up to a factor, (n, M): how likely each product below a unit is; arguments as in `safe`."""
    (region, sample, unit), level = reached, plan.levels[number]
    source = _source(level, messages.weights, messages.log_units, messages.log_scale)
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
    device, batch = flows[1].device, flows[1].shape[-1]
    if batch == 0:
        return
    sums = None if gradients is None else [g if g.is_contiguous() else torch.zeros(g.shape).to(g) for g in gradients]
    with _on(device):
        for level, indices, kept in zip(plan.levels[::-1], _indices(plan, device)[::-1], messages.kept[::-1]):
            theta = parameters[level.parameter].detach().contiguous()
            flow = flows[level.num_units][level.rows]
            gradient = None if sums is None else sums[level.parameter]
            if kept.maximum is None:
                if gradient is not None:
                    assert evidence.values is not None
                    hard_gradient(level, indices, evidence.values, kept.u, flow, gradient)
                continue
            source = _source(level, messages.weights, messages.log_units, messages.log_scale)
            log_u = messages.log_units[level.num_units][level.rows]
            target = marginals if level.is_input else flows[level.child_units]
            if target is not None:
                sum_backward(level, indices, theta, source, kept, log_u, flow, target)
            if gradient is not None:
                sum_gradient(level, indices, theta, source, kept, log_u, flow, gradient)
    for total, made in zip(gradients or [], sums or []):
        if made is not total:  # a table of the processor's layout, as under the interpreter
            total += made


def sum_forward(
    level: Level, indices: Indices, theta: Tensor, source: Source, out: Tensor, scale: Tensor, keep: bool
) -> Kept:
    """Write the log messages of a level, `out` (R, K, B) relative to `scale` (R, 1, B)."""
    R, K, B = out.shape
    maximum, u = (scale.new_empty(R, B), torch.empty_like(out)) if keep else (scale, out)
    block_k, block_j, block_b = _width(K, 64), _width(level.child_units, 32), _width(B, 64)
    while block_k > 16 and R * _tiles(K, block_k) * _tiles(B, block_b) < _multiprocessors(out.device):
        block_k //= 2
    kernels.sum_forward[(R * _tiles(K, block_k) * _tiles(B, block_b),)](
        theta, indices.theta_rows, *source, indices.children, out, scale, maximum, u,
        *_sizes(level, source), S=len(indices.children), KEEP=keep,
        BLOCK_K=block_k, BLOCK_J=block_j, BLOCK_B=block_b, **_options(out.device, block_k * block_b),
    )  # fmt: skip
    return Kept(maximum, u)


def sum_backward(
    level: Level, indices: Indices, theta: Tensor, source: Source, kept: Kept, log_u: Tensor, flow: Tensor, to: Tensor
) -> None:
    """Write or add the flows of the product units to the children's rows of `to` (rows, J, B), of any strides."""
    N, J, B = indices.children.shape[1], level.child_units, flow.shape[-1]
    block_k, block_j, block_b = _width(level.num_units, 32), _width(J, 64), _width(B, 64)
    while block_j > 16 and N * _tiles(J, block_j) * _tiles(B, block_b) < _multiprocessors(flow.device):
        block_j //= 2
    kernels.sum_backward[(N * _tiles(J, block_j) * _tiles(B, block_b),)](
        theta, indices.theta_rows, *source, indices.children, kept.maximum, log_u, kept.u, flow, to,
        *_sizes(level, source), *to.stride(), S=len(indices.children), EXCLUSIVE=level.exclusive,
        BLOCK_K=block_k, BLOCK_J=block_j, BLOCK_B=block_b, **_options(flow.device, block_j * block_b),
    )  # fmt: skip


def sum_gradient(
    level: Level, indices: Indices, theta: Tensor, source: Source, kept: Kept, log_u: Tensor, flow: Tensor, to: Tensor
) -> None:
    """Add d(sum of log Z)/d theta of a level to `to`, of the shape of its parameter."""
    assert to.is_contiguous()
    N, K, J = indices.children.shape[1], level.num_units, level.child_units
    block_k, block_j, block_b = _width(K, 64), _width(J, 64), _width(flow.shape[-1], 32)
    kernels.sum_gradient[(N * _tiles(K, block_k) * _tiles(J, block_j),)](
        theta, indices.theta_rows, *source, indices.children, kept.maximum, log_u, kept.u, flow, to,
        *_sizes(level, source), S=len(indices.children), TIED=level.parameter_rows is not None,
        BLOCK_K=block_k, BLOCK_J=block_j, BLOCK_B=block_b, **_options(flow.device, block_k * block_j),
    )  # fmt: skip


def hard_forward(level: Level, indices: Indices, theta: Tensor, values: Tensor, out: Tensor, keep: bool) -> Kept:
    """Write log f_k of the observed values (D, B) to `out` (R, K, B), 0 where missing."""
    R, K, B = out.shape
    f = torch.empty_like(out) if keep else out
    block_k, block_b = _width(K, 64), _width(B, 32)
    kernels.hard_forward[(R * _tiles(K, block_k) * _tiles(B, block_b),)](
        theta, indices.theta_rows, values, indices.children, out, f,
        K, level.child_units, B, *values.stride(), KEEP=keep, BLOCK_K=block_k, BLOCK_B=block_b, enable_fp_fusion=True,
    )  # fmt: skip
    return Kept(None, f)


def hard_gradient(level: Level, indices: Indices, values: Tensor, f: Tensor, flow: Tensor, to: Tensor) -> None:
    """Add d(sum of log Z)/d table of an input level to `to`: flow_k / f_k at the observed values."""
    assert to.is_contiguous()
    R, K, B = flow.shape
    block_k, block_c, block_b = _width(K, 32), _width(level.child_units, 128), _width(B, 32)
    kernels.hard_gradient[(R * _tiles(K, block_k),)](
        indices.theta_rows, values, indices.children, f, flow, to,
        K, level.child_units, B, *values.stride(),
        BLOCK_K=block_k, BLOCK_C=block_c, BLOCK_B=block_b, enable_fp_fusion=True,
    )  # fmt: skip


def _source(level: Level, weights: Tensor | None, log_units: dict[int, Tensor], log_scale: dict[int, Tensor]) -> Source:
    if not level.is_input:
        return Source(log_units[level.child_units], log_scale[level.child_units])
    assert weights is not None
    return Source(weights, torch.zeros(len(weights), 1, weights.shape[-1], device=weights.device))


def _sizes(level: Level, source: Source) -> tuple[int, ...]:
    """The integers that every sum kernel takes."""
    num_vectors = level.num_regions * level.num_partitions
    sizes = (level.num_units, level.child_units, level.num_partitions, num_vectors, source.units.shape[-1])
    return sizes + source.units.stride()


def _indices(plan: Plan, device: torch.device) -> list[Indices]:
    """Per level the rows its kernels read, made once per plan and device and remembered with the plan."""
    cache: dict[torch.device, list[Indices]] = plan.__dict__.setdefault("_triton_indices", {})
    if device not in cache:
        constants = [plan.num_rows.get(level.child_units, -1) for level in plan.levels]
        cache[device] = [level_indices(level, row, device) for level, row in zip(plan.levels, constants)]
    return cache[device]


def level_indices(level: Level, constant: int, device: torch.device) -> Indices:
    """The rows that a level's kernels read; `constant` is the row of log 1 among the children's messages."""
    children = torch.stack([rows_of(rows) for rows in level.children])
    if not level.is_input:
        children = children.masked_fill(children == constant, -1)
    rows = level.parameter_rows
    theta_rows = torch.arange(level.num_regions) if rows is None else rows
    return Indices(theta_rows.to(device, torch.int32), children.to(device, torch.int32))


def _width(size: int, largest: int) -> int:
    """Width of a tile: a power of two, at least 16 for tl.dot, no wider than needed."""
    return min(max(16, triton.next_power_of_2(size)), largest)


def _tiles(size: int, width: int) -> int:
    return -(-size // width)


def _options(device: torch.device, tile: int) -> dict[str, Any]:
    """Precision and, by the numbers in a tile of the result, warps: with fewer the registers overflow."""
    num_warps = 8 if tile >= 64 * 64 else 4
    return {"PRECISION": _precision(device), "num_warps": num_warps, "num_stages": 3, "enable_fp_fusion": True}


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device: make it the tensors'."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@lru_cache
def _precision(device: torch.device) -> str:
    """Of tl.dot: 3xTF32 on NVIDIA cards since Ampere, else float32 throughout; never the default, plain TF32."""
    has_tf32 = device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device)[0] >= 8
    return "tf32x3" if has_tf32 else "ieee"
