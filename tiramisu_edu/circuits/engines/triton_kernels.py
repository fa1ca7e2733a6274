"""The tensor engine's step as five fused Triton kernels: what `fast` writes to memory stays in registers.

    sum_forward      (a, b)  log u_k = log sum_m theta_km exp(x_m),   x_m = sum of the children's log messages
    sum_backward     (c, e)  flow of product m = exp(x_m) sum_k theta_km flow_k / u_k, handed to its children
    sum_gradient     (d)     gradient_km = sum over the batch of exp(x_m) flow_k / u_k
    hard_forward             u_k = f_k(value), a gather
    hard_gradient            gradient_kv = sum over the samples with value v of flow_k / f_k(v), a scatter

An input under soft evidence is a sum over the indicators of its categories: the categories are the products m, the log
weights the messages, and what sum_backward hands down is p(X_i = v | w), which sums to one over v by construction,
u_k being the sum of the same theta_kv w(v). So three kernels do both inputs and sums.

The records among the arguments stand in `triton_tiles`. Partition p of region r is product vector n = r P + p, its unit
j is product m = p J + j. A child of -1 is log 1. A program is one tile of the result, of the sizes that HOW names;
sizes need not divide. Tiles are at least 16 wide, for tl.dot: a root of one unit is a padded tile.

Compilation. Triton compiles anew for arguments equal to 1, divisible by 16 or aligned. So a `Shape`, the same for every
batch, is an argument, and N and B are others, for which nothing is compiled.

Exactness. x is taken relative to its maximum over m. A unit is *thin* where its linear value lies below THIN: there
terms may have underflowed, and its tile is done again term by term in log space (rare, and slow). The backward pass
knows these units by u = inf, which takes them, and impossible ones, out of the matrix product.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_tiles import (
    INF,
    TINY,
    Sizes,
    add_terms,
    best_scale,
    column,
    entry,
    find_tile,
    first_weight,
    load_weights,
    log_of,
    log_product,
    log_scale,
    offsets,
    relative_product,
    row,
    row_stride,
)

THIN = tl.constexpr(1.0842021724855044e-19)  # the root of the smallest normal float32: a sum below may have lost terms


@triton.jit(do_not_specialize=["N", "B"], do_not_specialize_on_alignment=["scales"])
def sum_forward(weights, source, scales, own, shape, N, B, HOW: tl.constexpr):
    """log u_k = log sum_m theta_km exp(x_m - max x), in one sweep over m with a running maximum.

    A tile is (units k, samples b). own.log_u is relative to `scales` (R, B), the maximum plus the children's scales.
    With FLAG the maximum and u are kept in own.maxima and own.u for the backward pass.
    """
    sizes = Sizes(shape.K, shape.J, shape.P, N, B)
    region, k, b = find_tile(sizes.K, sizes.B, HOW.K, HOW.B)
    is_unit, is_sample = k < sizes.K, b < sizes.B
    theta = weights.theta + first_weight(weights, region, sizes)
    best = best_scale(source, region, b, sizes, HOW.S)
    u = tl.full((HOW.K, HOW.B), 0.0, tl.float32)
    maximum = tl.full((HOW.B,), -INF, tl.float32)
    for p in range(sizes.P):
        n = region * sizes.P + p
        relative = log_scale(source, n, b, sizes, HOW.S) - best
        for start in range(0, sizes.J, HOW.J):
            j = start + tl.arange(0, HOW.J)
            w = load_weights(theta, k, j, p, sizes)
            x = relative[None, :] + log_product(source, n, j, b, sizes, HOW.S)
            larger = tl.maximum(maximum, tl.max(x, 0))
            anchor = tl.where(larger == -INF, 0.0, larger)
            u *= tl.exp(maximum - anchor)[None, :]
            u = tl.dot(w, tl.exp(x - anchor[None, :]), u, input_precision=HOW.PRECISION)
            maximum = larger

    anchor = tl.where(maximum == -INF, 0.0, maximum)
    is_thin = (u < THIN) & (maximum > -INF)[None, :] & is_unit[:, None]
    log_u = log_of(u)
    if tl.max(is_thin.to(tl.int32)) == 1:
        log_u = tl.where(is_thin, thin_units(theta, source, (region, k, b), (best, anchor), sizes, HOW), log_u)

    is_out = is_unit[:, None] & is_sample[None, :]
    out = entry(region, k, b, sizes)
    tl.store(own.log_u + out, log_u, mask=is_out)
    is_first = b < tl.where(tl.min(k) == 0, sizes.B, 0)  # one program writes what all programs of a region find
    of_region = region.to(tl.int64) * sizes.B + b
    tl.store(scales + of_region, best + anchor, mask=is_first)
    if HOW.FLAG:
        tl.store(own.u + out, tl.where(u < THIN, INF, u), mask=is_out)
        tl.store(own.maxima + of_region, anchor, mask=is_first)


@triton.jit
def thin_units(theta, source, tile, scale, sizes, HOW: tl.constexpr):
    """log u of a tile (region, k, b) relative to the sum of two scales, term by term."""
    region, k, b = tile
    top = tl.full((HOW.K, HOW.B), -INF, tl.float32)
    total = tl.full((HOW.K, HOW.B), 0.0, tl.float32)
    for p in range(sizes.P):
        n = region * sizes.P + p
        relative = log_scale(source, n, b, sizes, HOW.S) - scale[0] - scale[1]
        for start in range(0, sizes.J, HOW.J):
            j = start + tl.arange(0, HOW.J)
            x = relative[None, :] + log_product(source, n, j, b, sizes, HOW.S)
            top, total = add_terms(top, total, log_of(load_weights(theta, k, j, p, sizes)), x, HOW.J)
    return top + log_of(total)


@triton.jit(do_not_specialize=["N", "B"])
def sum_backward(weights, source, own, target, shape, N, B, HOW: tl.constexpr):
    """flow of product m = exp(x_m) sum_k theta_km flow_k / u_k, to the row children[s, n] of `target` for every s.

    A tile is (products j of one partition, samples b); x is computed again. Written where the level's children have no
    other parent (FLAG), else added atomically.
    """
    sizes = Sizes(shape.K, shape.J, shape.P, N, B)
    n, j, b = find_tile(sizes.J, sizes.B, HOW.J, HOW.B)
    region, p = n // sizes.P, n % sizes.P
    theta = weights.theta + first_weight(weights, region, sizes)
    x = relative_product(source, own, n, j, b, sizes, HOW.S)
    linear = tl.full((HOW.J, HOW.B), 0.0, tl.float32)
    by_term = tl.full((HOW.J, HOW.B), 0.0, tl.float32)
    for start in range(0, sizes.K, HOW.K):
        k = start + tl.arange(0, HOW.K)
        w = load_weights(theta, k, j, p, sizes)
        flow, divisor, at, is_own = load_flows(own, region, k, b, sizes)
        linear = tl.dot(tl.trans(w), flow / divisor, linear, input_precision=HOW.PRECISION)
        if tl.max(divisor) == INF:
            log_divisor, is_any = thin_divisors(own, flow, divisor, at, is_own)
            if is_any:
                log_w = log_of(w)
                for i in range(HOW.K):
                    term = tl.exp(row(log_w, i, HOW.K)[:, None] + x - row(log_divisor, i, HOW.K)[None, :])
                    by_term += term * row(flow, i, HOW.K)[None, :]

    passed = linear * tl.exp(x) + by_term
    to = target.flows + offsets(target, j, b, sizes)
    for s in range(HOW.S):
        child = tl.load(source.children + s * sizes.N + n).to(tl.int64)
        inside = (j < tl.where(child >= 0, sizes.J, 0))[:, None] & (b < sizes.B)[None, :]
        if HOW.FLAG:
            tl.store(to + child * row_stride(target, sizes), passed, mask=inside)
        else:
            tl.atomic_add(to + child * row_stride(target, sizes), passed, mask=inside, sem="relaxed")


@triton.jit
def load_flows(own, region, k, b, sizes):
    """flow_k and u_k of a tile, 0 and 1 outside; their offsets, and whether they are inside."""
    at = entry(region, k, b, sizes)
    is_own = (k < sizes.K)[:, None] & (b < sizes.B)[None, :]
    return tl.load(own.flows + at, mask=is_own, other=0.0), tl.load(own.u + at, mask=is_own, other=1.0), at, is_own


@triton.jit
def thin_divisors(own, flow, divisor, at, is_own):
    """log u of the thin units that have a flow, inf elsewhere; whether there are any."""
    log_divisor = tl.load(own.log_u + at, mask=is_own, other=-INF)
    is_thin = (divisor == INF) & (log_divisor > -INF) & (flow != 0.0)
    return tl.where(is_thin, log_divisor, INF), tl.max(is_thin.to(tl.int32)) == 1


@triton.jit(do_not_specialize=["N", "B"])
def sum_gradient(weights, source, own, gradient, shape, N, B, HOW: tl.constexpr):
    """gradient_km += sum_b exp(x_mb) flow_kb / u_kb, at the row rows[r]; times theta it is the edge flow.

    A tile is (units k, products j of one partition), the sum over the batch a matrix product. Regions that share their
    parameters (FLAG) add atomically.
    """
    sizes = Sizes(shape.K, shape.J, shape.P, N, B)
    n, k, j = find_tile(sizes.K, sizes.J, HOW.K, HOW.J)
    region, p = n // sizes.P, n % sizes.P
    first = first_weight(weights, region, sizes)
    total = tl.full((HOW.K, HOW.J), 0.0, tl.float32)
    for start in range(0, sizes.B, HOW.B):
        b = start + tl.arange(0, HOW.B)
        x = relative_product(source, own, n, j, b, sizes, HOW.S)
        flow, divisor, at, is_own = load_flows(own, region, k, b, sizes)
        total = tl.dot(flow / divisor, tl.trans(tl.exp(x)), total, input_precision=HOW.PRECISION)
        if tl.max(divisor) == INF:
            log_divisor, is_any = thin_divisors(own, flow, divisor, at, is_own)
            if is_any:
                w = load_weights(weights.theta + first, k, j, p, sizes)
                log_w, per_w = log_of(w), 1 / tl.maximum(w, TINY)
                for i in range(HOW.B):
                    term = tl.exp(log_w + column(x, i, HOW.B)[None, :] - column(log_divisor, i, HOW.B)[:, None])
                    total += term * per_w * column(flow, i, HOW.B)[:, None]

    to = gradient + first + k[:, None].to(tl.int64) * (sizes.P * sizes.J) + (p * sizes.J + j)[None, :]
    inside = (k < sizes.K)[:, None] & (j < sizes.J)[None, :]
    if HOW.FLAG:
        tl.atomic_add(to, total, mask=inside, sem="relaxed")
    else:
        tl.store(to, tl.load(to, mask=inside, other=0.0) + total, mask=inside)


@triton.jit(do_not_specialize=["N", "B"])
def hard_forward(weights, given, own, shape, N, B, HOW: tl.constexpr):
    """u_k = theta[k, value], 1 where the value of the region's variable is missing (-1). A tile is (k, samples b).

    With FLAG u is kept beside log u.
    """
    sizes = Sizes(shape.K, shape.J, shape.P, N, B)
    region, k, b = find_tile(sizes.K, sizes.B, HOW.K, HOW.B)
    value = load_values(given, region, b, -1, sizes)
    theta = weights.theta + first_weight(weights, region, sizes) + k[:, None] * sizes.J
    is_out = (k < sizes.K)[:, None] & (b < sizes.B)[None, :]
    f = tl.load(theta + value[None, :], mask=is_out & (value >= 0)[None, :], other=1.0)
    out = entry(region, k, b, sizes)
    tl.store(own.log_u + out, log_of(f), mask=is_out)
    if HOW.FLAG:
        tl.store(own.u + out, f, mask=is_out)


@triton.jit
def load_values(given, region, b, OUTSIDE: tl.constexpr, sizes):
    """The values of the region's variable."""
    at = tl.load(given.variables + region).to(tl.int64) * given.stride_variable + b * given.stride_sample
    return tl.load(given.x + at, mask=b < sizes.B, other=OUTSIDE)


@triton.jit(do_not_specialize=["N", "B"])
def hard_gradient(weights, given, own, gradient, shape, N, B, HOW: tl.constexpr):
    """gradient[k, value] += flow_k / f_k(value); flow_k everywhere where the value is missing. A tile is units k."""
    sizes = Sizes(shape.K, shape.J, shape.P, N, B)
    region, k, c = find_tile(sizes.K, 1, HOW.K, HOW.J)
    to = gradient + first_weight(weights, region, sizes) + k[:, None] * sizes.J
    of_missing = tl.full((HOW.K,), 0.0, tl.float32)
    num_missing = 0
    for start in range(0, sizes.B, HOW.B):
        b = start + tl.arange(0, HOW.B)
        value = load_values(given, region, b, 0, sizes)
        flow, f, _, is_own = load_flows(own, region, k, b, sizes)
        is_known = is_own & (value >= 0)[None, :]
        tl.atomic_add(to + value[None, :], flow / tl.maximum(f, TINY), mask=is_known, sem="relaxed")
        of_missing += tl.sum(tl.where(is_known, 0.0, flow), 1)
        num_missing += tl.sum((value < 0).to(tl.int32))
    if num_missing > 0:
        for start in range(0, sizes.J, HOW.J):
            inside = (k < sizes.K)[:, None] & (start + c < sizes.J)[None, :]
            everywhere = tl.broadcast_to(of_missing[:, None], (HOW.K, HOW.J))
            tl.atomic_add(to + (start + c)[None, :], everywhere, mask=inside, sem="relaxed")
