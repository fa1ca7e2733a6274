"""What the Triton kernels are made of: their arguments, and loads and sums over tiles that live in registers.

A record of pointers and sizes is one argument of a kernel; a field of it is read as in Python.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

INF = tl.constexpr(float("inf"))
TINY = tl.constexpr(1.1754943508222875e-38)  # the smallest normal float32
SCALE = tl.constexpr(2.0**24)
LOG_SCALE = tl.constexpr(16.635532333438686)


class How(NamedTuple):
    """What a kernel is compiled for: the sizes of its tiles, S children of a product, and the kernel's own flag."""

    K: int
    J: int
    B: int
    S: int
    FLAG: bool
    PRECISION: str


class Shape(NamedTuple):
    """K units of a region, of P partitions, of J units each: of a level, the same for every batch."""

    K: Any
    J: Any
    P: Any


class Sizes(NamedTuple):
    """A shape, N = R P partitions of all R regions, and B samples; made inside a kernel, see `triton_kernels`."""

    K: Any
    J: Any
    P: Any
    N: Any
    B: Any


class Weights(NamedTuple):
    """theta (owners, K, P J), of which region r has the row rows[r]."""

    theta: Any
    rows: Any


class Source(NamedTuple):
    """Log units (rows, J, B) and their log scales (rows, B); the s-th child of n is children[s, n].

    Strides are None where the units are contiguous.
    """

    units: Any
    scales: Any
    children: Any
    stride_row: Any = None
    stride_unit: Any = None
    stride_sample: Any = None


class Own(NamedTuple):
    """Of the level itself: maxima taken out (R, B); log u, u and the flows, (R, K, B)."""

    maxima: Any
    log_u: Any
    u: Any
    flows: Any


class Values(NamedTuple):
    """Hard evidence x (D, B) of any strides, -1 where missing; region r has the variable variables[r]."""

    x: Any
    variables: Any
    stride_variable: Any
    stride_sample: Any


class Target(NamedTuple):
    """Flows (rows, J, B), to be written; strides as in `Source`."""

    flows: Any
    stride_row: Any = None
    stride_unit: Any = None
    stride_sample: Any = None


@triton.jit
def find_tile(num_rows, num_columns, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr):
    """Which tile this program computes: index of the matrix, its rows and its columns; columns vary fastest."""
    across = (num_columns + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS
    down = (num_rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    program = tl.program_id(0)
    rows = program // across % down * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    columns = program % across * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    return program // (across * down), rows, columns


@triton.jit
def entry(region, k, b, sizes):
    """Offset of [region, k, b] in a contiguous (R, K, B), for a tile of k and b; 64 bits wide."""
    return (region.to(tl.int64) * sizes.K + k[:, None]) * sizes.B + b[None, :]


@triton.jit
def row_stride(of, sizes):
    """From one row (J, B) of a source or target to the next, in 64 bits."""
    if of.stride_row is None:
        return tl.cast(sizes.J, tl.int64) * sizes.B
    else:
        return tl.cast(of.stride_row, tl.int64)


@triton.jit
def offsets(of, j, b, sizes):
    """Of the entries (j, b) in a row of a source or target."""
    if of.stride_row is None:
        return j[:, None] * sizes.B + b[None, :]
    else:
        return j[:, None] * of.stride_unit + b[None, :].to(tl.int64) * of.stride_sample


@triton.jit
def first_weight(weights, region, sizes):
    """Where the K x P J weights of a region begin among all."""
    return tl.load(weights.rows + region).to(tl.int64) * sizes.K * sizes.P * sizes.J


@triton.jit
def load_weights(theta, k, j, p, sizes):
    """theta[k, p J + j], (BLOCK_K, BLOCK_J), 0 outside."""
    at = theta + k[:, None].to(tl.int64) * (sizes.P * sizes.J) + (p * sizes.J + j)[None, :]
    return tl.load(at, mask=(k < sizes.K)[:, None] & (j < sizes.J)[None, :], other=0.0)


@triton.jit
def log_product(source, n, j, b, sizes, S: tl.constexpr):
    """sum_s units[children[s, n], j, b], (BLOCK_J, BLOCK_B); -inf outside."""
    inside = (j < sizes.J)[:, None] & (b < sizes.B)[None, :]
    at = offsets(source, j, b, sizes)
    x = tl.where(inside, 0.0, -INF)
    if S <= 4:  # unrolled, so that the loop over tiles is the innermost one, which Triton pipelines
        for s in tl.static_range(S):
            x += load_child(source, s * sizes.N + n, j, b, at, sizes)
    else:
        for s in range(S):
            x += load_child(source, s * sizes.N + n, j, b, at, sizes)
    return x


@triton.jit
def load_child(source, slot, j, b, at, sizes):
    """units[children[slot]] at the offsets `at`; 0 outside, and where there is no child (-1)."""
    index = tl.load(source.children + slot).to(tl.int64)
    is_unit = j < tl.where(index >= 0, sizes.J, 0)
    first = source.units + index * row_stride(source, sizes)
    return tl.load(first + at, mask=is_unit[:, None] & (b < sizes.B)[None, :], other=0.0)


@triton.jit
def log_scale(source, n, b, sizes, S: tl.constexpr):
    """sum_s scales[children[s, n], b], (BLOCK_B,): the log scale of product vector n."""
    total = tl.full(b.shape, 0.0, tl.float32)
    for s in range(S):
        child = tl.load(source.children + s * sizes.N + n).to(tl.int64)
        total += tl.load(source.scales + child * sizes.B + b, mask=b < tl.where(child >= 0, sizes.B, 0), other=0.0)
    return total


@triton.jit
def best_scale(source, region, b, sizes, S: tl.constexpr):
    """The largest log scale of the region's partitions, (BLOCK_B,): their common scale."""
    first = region * sizes.P
    best = log_scale(source, first, b, sizes, S)
    for p in range(1, sizes.P):
        best = tl.maximum(best, log_scale(source, first + p, b, sizes, S))
    return best


@triton.jit
def relative_product(source, own, n, j, b, sizes, S: tl.constexpr):
    """x of product vector n relative to the maximum that the forward pass took out, (BLOCK_J, BLOCK_B)."""
    region = n // sizes.P
    relative = log_scale(source, n, b, sizes, S)
    relative -= best_scale(source, region, b, sizes, S)
    relative -= tl.load(own.maxima + region.to(tl.int64) * sizes.B + b, mask=b < sizes.B, other=0.0)
    return relative[None, :] + log_product(source, n, j, b, sizes, S)


@triton.jit
def add_terms(top, total, log_w, x, BLOCK_J: tl.constexpr):
    """exp(top) total + sum_j exp(log_w_kj + x_jb) as a new pair (top, total), one j at a time: nothing underflows."""
    for i in range(BLOCK_J):
        term = column(log_w, i, BLOCK_J)[:, None] + row(x, i, BLOCK_J)[None, :]
        larger = tl.maximum(top, term)
        anchor = tl.where(larger == -INF, 0.0, larger)
        total = total * tl.exp(top - anchor) + tl.exp(term - anchor)
        top = larger
    return top, total


@triton.jit
def log_of(x):
    """log x; -inf at 0 without a warning; below the normal floats, which tl.log takes for 0 on a GPU, by scaling."""
    is_small = x < TINY
    scaled = tl.where(x > 0, tl.where(is_small, x * SCALE, x), 1.0)
    return tl.where(x > 0, tl.log(scaled) - tl.where(is_small, LOG_SCALE, 0.0), -INF)


@triton.jit
def row(x, i, NUM_ROWS: tl.constexpr):
    """x[i] of a tile in registers."""
    return tl.sum(tl.where((tl.arange(0, NUM_ROWS) == i)[:, None], x, 0.0), 0)


@triton.jit
def column(x, i, NUM_COLUMNS: tl.constexpr):
    """x[:, i] of a tile in registers."""
    return tl.sum(tl.where((tl.arange(0, NUM_COLUMNS) == i)[None, :], x, 0.0), 1)
