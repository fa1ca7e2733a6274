"""What the Triton kernels are made of: loads and sums over tiles that live in registers. Letters as there."""

from __future__ import annotations

import triton
import triton.language as tl

INF = tl.constexpr(float("inf"))
TINY = tl.constexpr(1.1754943508222875e-38)  # the smallest normal float32
SCALE = tl.constexpr(2.0**24)
LOG_SCALE = tl.constexpr(16.635532333438686)


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
def entry(region, k, b, num_units, batch):
    """Offset of [region, k, b] in a contiguous (R, K, B), for a tile of k and b; 64 bits wide."""
    return (region.to(tl.int64) * num_units + k[:, None]) * batch + b[None, :]


@triton.jit
def load_weights(theta, k, m, is_unit, is_product, row_length):
    """theta[k, m], (BLOCK_K, BLOCK_J), 0 outside."""
    at = theta + k[:, None].to(tl.int64) * row_length + m[None, :]
    return tl.load(at, mask=is_unit[:, None] & is_product[None, :], other=0.0)


@triton.jit
def log_product(
    units, children, n, j, b, child_units, num_vectors, batch, stride_row, stride_unit, stride_sample,
    S: tl.constexpr,
):  # fmt: skip
    """sum_s units[children[s, n], j, b], (BLOCK_J, BLOCK_B); -inf outside."""
    inside = (j < child_units)[:, None] & (b < batch)[None, :]
    at = j[:, None] * stride_unit + b[None, :].to(tl.int64) * stride_sample
    x = tl.where(inside, 0.0, -INF)
    if S <= 4:  # unrolled, so that the loop over tiles is the innermost one, which Triton pipelines
        for s in tl.static_range(S):
            x += load_child(units, children + s * num_vectors + n, j, b, at, child_units, batch, stride_row)
    else:
        for s in range(S):
            x += load_child(units, children + s * num_vectors + n, j, b, at, child_units, batch, stride_row)
    return x


@triton.jit
def load_child(units, child, j, b, at, child_units, batch, stride_row):
    """units[child[0]] at the offsets `at`; 0 outside, and where there is no child (-1)."""
    index = tl.load(child).to(tl.int64)
    is_unit = j < tl.where(index >= 0, child_units, 0)
    return tl.load(units + index * stride_row + at, mask=is_unit[:, None] & (b < batch)[None, :], other=0.0)


@triton.jit
def log_scale(scales, children, n, b, num_vectors, batch, S: tl.constexpr):
    """sum_s scales[children[s, n], b], (BLOCK_B,): the log scale of product vector n."""
    total = tl.full(b.shape, 0.0, tl.float32)
    for s in range(S):
        child = tl.load(children + s * num_vectors + n).to(tl.int64)
        total += tl.load(scales + child * batch + b, mask=b < tl.where(child >= 0, batch, 0), other=0.0)
    return total


@triton.jit
def best_scale(scales, children, region, b, num_partitions, num_vectors, batch, S: tl.constexpr):
    """The largest log scale of the region's partitions, (BLOCK_B,): their common scale."""
    first = region * num_partitions
    best = log_scale(scales, children, first, b, num_vectors, batch, S)
    for p in range(1, num_partitions):
        best = tl.maximum(best, log_scale(scales, children, first + p, b, num_vectors, batch, S))
    return best


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
