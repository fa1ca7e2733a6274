"""The tensor engine's step as five fused Triton kernels: what `fast` writes to memory stays in registers.

    sum_forward      (a, b)  log u_k = log sum_m theta_km exp(x_m),   x_m = sum of the children's log messages
    sum_backward     (c, e)  flow of product m = exp(x_m) sum_k theta_km flow_k / u_k, handed to its children
    sum_gradient     (d)     gradient_km = sum over the batch of exp(x_m) flow_k / u_k
    hard_forward             u_k = f_k(value), a gather
    hard_gradient            gradient_kv = sum over the samples with value v of flow_k / f_k(v), a scatter

An input under soft evidence is a sum over the indicators of its categories: the categories are the products m, the log
weights the messages, and what sum_backward hands down is p(X_i = v | w), which sums to one over v by construction,
u_k being the sum of the same theta_kv w(v). So three kernels do both inputs and sums.

Arguments common to the kernels. A level has R regions of K = num_units units, each with P = num_partitions partitions;
partition p of region r is product vector n = r P + p of N = num_vectors, of J = child_units units (m = p J + j). Its
s-th child is the row children[s, n] of `units`, log messages of any strides, and of `scales` (rows, B), the log scales
taken out of them; a child of -1 is log 1. Parameters theta (owners, K, P J) are read at the row theta_rows[r].
`log_u`, `u`, `flows`, `out_units` and `out_u` are those of the level itself, (R, K, B) contiguous. A program is one
tile of the result; sizes need not divide. Tiles are at least 16 wide, for tl.dot: a root of one unit is a padded tile.

Exactness. x is taken relative to its maximum over m. A unit is *thin* where its linear value lies below THIN: there
terms may have underflowed, and its tile is done again term by term in log space (rare, and slow). The backward pass
knows these units by u = inf, which takes them, and impossible ones, out of the matrix product.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_tiles import (
    add_terms,
    best_scale,
    column,
    entry,
    find_tile,
    load_weights,
    log_of,
    log_product,
    log_scale,
    row,
)

INF = tl.constexpr(float("inf"))
TINY = tl.constexpr(1.1754943508222875e-38)  # the smallest normal float32
THIN = tl.constexpr(1.0842021724855044e-19)  # its square root: a sum below it may have lost terms


@triton.jit
def sum_forward(
    theta, theta_rows, units, scales, children, out_units, out_scales, out_maxima, out_u,
    num_units, child_units, num_partitions, num_vectors, batch, stride_row, stride_unit, stride_sample,
    S: tl.constexpr, KEEP: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_B: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """log u_k = log sum_m theta_km exp(x_m - max x), in one sweep over m with a running maximum.

    A tile is (units k, samples b). Log u is relative to out_scales (R, B), the maximum plus the children's scales.
    With KEEP the maximum goes to out_maxima (R, B) and u to out_u, for the backward pass.
    """
    region, k, b = find_tile(num_units, batch, BLOCK_K, BLOCK_B)
    is_unit, is_sample = k < num_units, b < batch
    row_length = num_partitions * child_units
    theta += tl.load(theta_rows + region).to(tl.int64) * num_units * row_length
    best = best_scale(scales, children, region, b, num_partitions, num_vectors, batch, S)
    u = tl.full((BLOCK_K, BLOCK_B), 0.0, tl.float32)
    maximum = tl.full((BLOCK_B,), -INF, tl.float32)
    for p in range(num_partitions):
        n = region * num_partitions + p
        relative = log_scale(scales, children, n, b, num_vectors, batch, S) - best
        for start in range(0, child_units, BLOCK_J):
            j = start + tl.arange(0, BLOCK_J)
            w = load_weights(theta, k, p * child_units + j, is_unit, j < child_units, row_length)
            x = relative[None, :] + log_product(
                units, children, n, j, b, child_units, num_vectors, batch, stride_row, stride_unit, stride_sample, S
            )
            larger = tl.maximum(maximum, tl.max(x, 0))
            anchor = tl.where(larger == -INF, 0.0, larger)
            u *= tl.exp(maximum - anchor)[None, :]
            u = tl.dot(w, tl.exp(x - anchor[None, :]), u, input_precision=PRECISION)
            maximum = larger

    log_u = log_of(u)
    anchor = tl.where(maximum == -INF, 0.0, maximum)
    is_thin = (u < THIN) & (maximum > -INF)[None, :] & is_unit[:, None]
    if tl.max(is_thin.to(tl.int32)) == 1:
        top = tl.full((BLOCK_K, BLOCK_B), -INF, tl.float32)
        total = tl.full((BLOCK_K, BLOCK_B), 0.0, tl.float32)
        for p in range(num_partitions):
            n = region * num_partitions + p
            relative = log_scale(scales, children, n, b, num_vectors, batch, S) - best - anchor
            for start in range(0, child_units, BLOCK_J):
                j = start + tl.arange(0, BLOCK_J)
                w = load_weights(theta, k, p * child_units + j, is_unit, j < child_units, row_length)
                x = relative[None, :] + log_product(
                    units, children, n, j, b, child_units, num_vectors, batch, stride_row, stride_unit, stride_sample, S
                )
                top, total = add_terms(top, total, log_of(w), x, BLOCK_J)
        log_u = tl.where(is_thin, top + log_of(total), log_u)

    is_out = is_unit[:, None] & is_sample[None, :]
    out = entry(region, k, b, num_units, batch)
    tl.store(out_units + out, log_u, mask=is_out)
    is_first = b < tl.where(tl.min(k) == 0, batch, 0)  # one program writes what all programs of a region find
    of_region = region.to(tl.int64) * batch + b
    tl.store(out_scales + of_region, best + anchor, mask=is_first)
    if KEEP:
        tl.store(out_u + out, tl.where(u < THIN, INF, u), mask=is_out)
        tl.store(out_maxima + of_region, anchor, mask=is_first)


@triton.jit
def sum_backward(
    theta, theta_rows, units, scales, children, maxima, log_u, u, flows, target,
    num_units, child_units, num_partitions, num_vectors, batch, stride_row, stride_unit, stride_sample,
    target_row, target_unit, target_sample,
    S: tl.constexpr, EXCLUSIVE: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_B: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """flow of product m = exp(x_m) sum_k theta_km flow_k / u_k, to the row children[s, n] of `target` for every s.

    A tile is (products j of one partition, samples b); x is computed again. Written where the level's children have no
    other parent (EXCLUSIVE), else added atomically.
    """
    n, j, b = find_tile(child_units, batch, BLOCK_J, BLOCK_B)
    region, p = n // num_partitions, n % num_partitions
    is_child, is_sample = j < child_units, b < batch
    row_length = num_partitions * child_units
    theta += tl.load(theta_rows + region).to(tl.int64) * num_units * row_length
    relative = log_scale(scales, children, n, b, num_vectors, batch, S)
    relative -= best_scale(scales, children, region, b, num_partitions, num_vectors, batch, S)
    relative -= tl.load(maxima + region.to(tl.int64) * batch + b, mask=is_sample, other=0.0)
    x = relative[None, :] + log_product(
        units, children, n, j, b, child_units, num_vectors, batch, stride_row, stride_unit, stride_sample, S
    )
    linear = tl.full((BLOCK_J, BLOCK_B), 0.0, tl.float32)
    by_term = tl.full((BLOCK_J, BLOCK_B), 0.0, tl.float32)
    for start in range(0, num_units, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        w = load_weights(theta, k, p * child_units + j, k < num_units, is_child, row_length)
        own = entry(region, k, b, num_units, batch)
        is_own = (k < num_units)[:, None] & is_sample[None, :]
        flow = tl.load(flows + own, mask=is_own, other=0.0)
        divisor = tl.load(u + own, mask=is_own, other=1.0)
        linear = tl.dot(tl.trans(w), flow / divisor, linear, input_precision=PRECISION)
        if tl.max(divisor) == INF:
            log_divisor = tl.load(log_u + own, mask=is_own, other=-INF)
            is_thin = (divisor == INF) & (log_divisor > -INF) & (flow != 0.0)
            if tl.max(is_thin.to(tl.int32)) == 1:
                log_w = log_of(w)
                log_divisor = tl.where(is_thin, log_divisor, INF)
                for i in range(BLOCK_K):
                    term = tl.exp(row(log_w, i, BLOCK_K)[:, None] + x - row(log_divisor, i, BLOCK_K)[None, :])
                    by_term += term * row(flow, i, BLOCK_K)[None, :]

    passed = linear * tl.exp(x) + by_term
    to = target + j[:, None] * target_unit + b[None, :].to(tl.int64) * target_sample
    for s in range(S):
        child = tl.load(children + s * num_vectors + n).to(tl.int64)
        inside = (j < tl.where(child >= 0, child_units, 0))[:, None] & is_sample[None, :]
        if EXCLUSIVE:
            tl.store(to + child * target_row, passed, mask=inside)
        else:
            tl.atomic_add(to + child * target_row, passed, mask=inside, sem="relaxed")


@triton.jit
def sum_gradient(
    theta, theta_rows, units, scales, children, maxima, log_u, u, flows, gradient,
    num_units, child_units, num_partitions, num_vectors, batch, stride_row, stride_unit, stride_sample,
    S: tl.constexpr, TIED: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_B: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """gradient_km += sum_b exp(x_mb) flow_kb / u_kb, at the row theta_rows[r]; times theta it is the edge flow.

    A tile is (units k, products j of one partition), the sum over the batch a matrix product. Regions that share their
    parameters (TIED) add atomically.
    """
    n, k, j = find_tile(num_units, child_units, BLOCK_K, BLOCK_J)
    region, p = n // num_partitions, n % num_partitions
    row_length = num_partitions * child_units
    owner = tl.load(theta_rows + region).to(tl.int64) * num_units * row_length
    total = tl.full((BLOCK_K, BLOCK_J), 0.0, tl.float32)
    for start in range(0, batch, BLOCK_B):
        b = start + tl.arange(0, BLOCK_B)
        relative = log_scale(scales, children, n, b, num_vectors, batch, S)
        relative -= best_scale(scales, children, region, b, num_partitions, num_vectors, batch, S)
        relative -= tl.load(maxima + region.to(tl.int64) * batch + b, mask=b < batch, other=0.0)
        x = relative[None, :] + log_product(
            units, children, n, j, b, child_units, num_vectors, batch, stride_row, stride_unit, stride_sample, S
        )
        own = entry(region, k, b, num_units, batch)
        is_own = (k < num_units)[:, None] & (b < batch)[None, :]
        flow = tl.load(flows + own, mask=is_own, other=0.0)
        divisor = tl.load(u + own, mask=is_own, other=1.0)
        total = tl.dot(flow / divisor, tl.trans(tl.exp(x)), total, input_precision=PRECISION)
        if tl.max(divisor) == INF:
            log_divisor = tl.load(log_u + own, mask=is_own, other=-INF)
            is_thin = (divisor == INF) & (log_divisor > -INF) & (flow != 0.0)
            if tl.max(is_thin.to(tl.int32)) == 1:
                w = load_weights(theta + owner, k, p * child_units + j, k < num_units, j < child_units, row_length)
                log_w, per_w = log_of(w), 1 / tl.maximum(w, TINY)
                log_divisor = tl.where(is_thin, log_divisor, INF)
                for i in range(BLOCK_B):
                    term = tl.exp(log_w + column(x, i, BLOCK_B)[None, :] - column(log_divisor, i, BLOCK_B)[:, None])
                    total += term * per_w * column(flow, i, BLOCK_B)[:, None]

    to = gradient + owner + k[:, None].to(tl.int64) * row_length + (p * child_units + j)[None, :]
    inside = (k < num_units)[:, None] & (j < child_units)[None, :]
    if TIED:
        tl.atomic_add(to, total, mask=inside, sem="relaxed")
    else:
        tl.store(to, tl.load(to, mask=inside, other=0.0) + total, mask=inside)


@triton.jit
def hard_forward(
    theta, theta_rows, values, variables, out_units, out_u,
    num_units, num_categories, batch, stride_variable, stride_sample,
    KEEP: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """u_k = theta[k, value], 1 where the value of the region's variable is missing (-1). A tile is (k, samples b)."""
    region, k, b = find_tile(num_units, batch, BLOCK_K, BLOCK_B)
    variable = tl.load(variables + region).to(tl.int64)
    value = tl.load(values + variable * stride_variable + b * stride_sample, mask=b < batch, other=-1)
    theta += (tl.load(theta_rows + region).to(tl.int64) * num_units + k[:, None]) * num_categories
    is_out = (k < num_units)[:, None] & (b < batch)[None, :]
    f = tl.load(theta + value[None, :], mask=is_out & (value >= 0)[None, :], other=1.0)
    out = entry(region, k, b, num_units, batch)
    tl.store(out_units + out, log_of(f), mask=is_out)
    if KEEP:
        tl.store(out_u + out, f, mask=is_out)


@triton.jit
def hard_gradient(
    theta_rows, values, variables, u, flows, gradient,
    num_units, num_categories, batch, stride_variable, stride_sample,
    BLOCK_K: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """gradient[k, value] += flow_k / f_k(value); flow_k everywhere where the value is missing. A tile is units k."""
    region, k, c = find_tile(num_units, 1, BLOCK_K, BLOCK_C)
    variable = tl.load(variables + region).to(tl.int64)
    to = gradient + (tl.load(theta_rows + region).to(tl.int64) * num_units + k[:, None]) * num_categories
    of_missing = tl.full((BLOCK_K,), 0.0, tl.float32)
    num_missing = 0
    for start in range(0, batch, BLOCK_B):
        b = start + tl.arange(0, BLOCK_B)
        value = tl.load(values + variable * stride_variable + b * stride_sample, mask=b < batch, other=0)
        own = entry(region, k, b, num_units, batch)
        is_own = (k < num_units)[:, None] & (b < batch)[None, :]
        flow = tl.load(flows + own, mask=is_own, other=0.0)
        f = tl.load(u + own, mask=is_own, other=1.0)
        is_known = is_own & (value >= 0)[None, :]
        tl.atomic_add(to + value[None, :], flow / tl.maximum(f, TINY), mask=is_known, sem="relaxed")
        of_missing += tl.sum(tl.where(is_known, 0.0, flow), 1)
        num_missing += tl.sum((value < 0).to(tl.int32))
    if num_missing > 0:
        for start in range(0, num_categories, BLOCK_C):
            inside = (k < num_units)[:, None] & (start + c < num_categories)[None, :]
            everywhere = tl.broadcast_to(of_missing[:, None], (BLOCK_K, BLOCK_C))
            tl.atomic_add(to + (start + c)[None, :], everywhere, mask=inside, sem="relaxed")
