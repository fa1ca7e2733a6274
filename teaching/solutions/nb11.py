"""Notebook 11: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tiramisu_edu.course.tiles import launch, tl

from ..chance import distribution, normal, shaped, simplices
from . import Answers

Array = np.ndarray


# 1: distillation by counting.


def _distilled(parent: Sequence[int], child: Sequence[int], K: int, M: int, pseudocount: float) -> Array:
    table = np.full((K, M), pseudocount / M)
    for k, m in zip(parent, child):
        table[k, m] += 1
    return table / table.sum(1)[:, None]


def _counts(parent: Sequence[int], child: Sequence[int], K: int, M: int, pseudocount: float) -> Array:
    table = np.full((K, M), pseudocount / M)
    np.add.at(table, (np.asarray(parent), np.asarray(child)), 1)
    return table


def _marked(parent: Sequence[int], child: Sequence[int], K: int, M: int, pseudocount: float) -> Array:
    table = np.full((K, M), pseudocount / M)
    table[np.asarray(parent), np.asarray(child)] += 1
    return table / table.sum(1)[:, None]


def _over_all(*case: Any) -> Array:
    return _counts(*case) / _counts(*case).sum()


def _columns(*case: Any) -> Array:
    return _counts(*case) / _counts(*case).sum(0)


def _random_states(rng: np.random.Generator, size: int) -> tuple:
    K, M, N = size + 1, size + int(rng.integers(1, 3)), 4 * size
    return rng.integers(K, size=N).tolist(), rng.integers(M, size=N).tolist(), K, M, float(rng.choice([0.3, 1.2]))


check_table = Answers(
    name="distilled",
    task="return the table of p(child | parent), from the states of all pictures and the imagined ones",
    solution=_distilled,
    cases={"three pictures": ([0, 0, 1], [1, 1, 0], 2, 2, 0.5)},
    random=_random_states,
    fair=lambda parent, child, K, M, pseudocount: (
        len(parent) == len(child) > 0
        and min(*parent, *child) >= 0
        and max(parent) < K
        and max(child) < M
        and pseudocount > 0
    ),
    traits={"a state that no picture has": lambda parent, child, K, M, _: len(set(parent)) < K},
    mistakes={
        "a row says what follows given its parent's state: divide each row by its sum, not the table by the total": (
            _over_all
        ),
        "θ is over children given the parent: rows sum to one, not columns": _columns,
        "table[parent, child] += 1 counts a repeated pair once: use np.add.at, or a loop": _marked,
        "a row shares out `pseudocount` among its M entries": lambda parent, child, K, M, pseudocount: _distilled(
            parent, child, K, M, M * pseudocount
        ),
        "the imagined pictures are part of each row before it is divided by its sum": lambda *case: (
            _counts(*case) / np.maximum(_counts(*case).sum(1, keepdims=True) - case[-1], 1)
        ),
        "the imagined pictures are missing: a state that no picture has gets no distribution": lambda *case: (
            _distilled(case[0], case[1], case[2], case[3], 1e-9) * np.isin(range(case[2]), case[0])[:, None]
        ),
    },
)


# 2: a matrix product between logarithms.


def _log_matmul(theta: Array, log_x: Array) -> Array:
    top = log_x.max(0)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(theta @ np.exp(log_x - top)) + top


def _under(top: Callable[[Array], Any]) -> Callable[[Array, Array], Array]:
    def answer(theta: Array, log_x: Array) -> Array:
        with np.errstate(all="ignore"):
            out = top(log_x)
            return np.log(theta @ np.exp(log_x - out)) + out

    return answer


def _random_layer(rng: np.random.Generator, size: int) -> tuple:
    """Weights, and logarithms far apart from column to column, some of them -inf."""
    K, M, B = (int(rng.integers(1, size + 2)) for _ in range(3))
    log_x = normal(rng, M, B) - rng.choice([0.0, 3000.0, -800.0], B)
    log_x[rng.random((M, B)) < 0.15] = -np.inf
    return simplices(rng, K, M), log_x


_TINY = np.array([[0.2, 0.8]]), np.array([[0.0], [-1.0]])
_LAYER_TRAITS = {
    "a column that is all -inf": lambda theta, log_x, *_: np.isinf(log_x).all(0).any(),
    "numbers far below what a float holds": lambda theta, log_x, *_: (log_x < -1000).any(),
    "columns of different scale": lambda theta, log_x, *_: np.ptp(np.maximum(log_x, -1e4).max(0)) > 100,
}

check_gemm = Answers(
    name="log_matmul",
    task="return log(θ @ exp(log_x)), whatever the scale of each column",
    solution=_log_matmul,
    cases={"one sample": _TINY, "a column that is impossible": (_TINY[0], np.full((2, 1), -np.inf))},
    random=_random_layer,
    fair=lambda theta, log_x: shaped("KM MB", theta, log_x) and distribution(theta) and log_x.max() < np.inf,
    equivalent={
        "number off by one: 0.0": "in a column that is all -inf any finite number may be taken out",
        "option left out: np.errstate(divide='ignore')": "a warning more, the same numbers",
    },
    traits=_LAYER_TRAITS,
    mistakes={
        "exp(-3000) is 0 to a computer: take the largest of each column out first": _under(lambda x: 0.0),
        "every sample, a column, has a scale of its own: one maximum for all loses the smaller ones": _under(np.max),
        "a mean leaves numbers above it, whose exponentials grow without bound: take the largest out": _under(
            lambda x: x.mean(0)
        ),
        "θ weighs probabilities, not their logarithms: exp before the product, log after it": lambda theta, log_x: (
            np.nan_to_num(theta @ np.nan_to_num(log_x, neginf=-1e9))
        ),
    },
)


# 3: a run time.

Layers = Sequence[tuple[int, int, int]]


def _seconds(layers: Layers, B: int, bandwidth: float, peak: float, passes: int) -> float:
    total = 0.0
    for count, K, M in layers:
        total += count * max(4 * (K * M + M * B + K * B) / bandwidth, 2 * K * M * B / peak)
        if passes == 2:
            total += count * max(4 * (2 * K * M + 2 * M * B + K * B) / bandwidth, 4 * K * M * B / peak)
    return total


def _never(B: float) -> float:
    """A bandwidth or a peak that sets no pace."""
    return B * 1e30


def _maximum_of_sums(layers: Layers, B: int, bandwidth: float, peak: float, passes: int) -> float:
    return max(
        _seconds(layers, B, bandwidth, _never(peak), passes), _seconds(layers, B, _never(bandwidth), peak, passes)
    )


def _one_after_the_other(layers: Layers, B: int, bandwidth: float, peak: float, passes: int) -> float:
    return _seconds(layers, B, bandwidth, _never(peak), passes) + _seconds(layers, B, _never(bandwidth), peak, passes)


def _random_layers(rng: np.random.Generator, size: int) -> tuple:
    layers = [(int(rng.integers(1, 5)), *map(int, rng.choice([8, 64, 512], 2))) for _ in range(size)]
    return layers, int(rng.choice([1, 16, 256])), 1e9, float(rng.choice([1e10, 1e11])), int(rng.integers(1, 3))


check_seconds = Answers(
    name="seconds",
    task="return the least seconds of one pass, or of both, over all layers",
    solution=_seconds,
    cases={
        "bytes set the pace": ([(1, 64, 64)], 1, 1e9, 1e12, 1),
        "arithmetic sets the pace": ([(2, 64, 64)], 1024, 1e12, 1e9, 1),
        "bytes in the one pass, arithmetic in the other": ([(1, 8, 1)], 1, 1.0, 0.25, 2),
    },
    random=_random_layers,
    fair=lambda layers, B, bandwidth, peak, passes: (
        bool(layers)
        and all(len(layer) == 3 and min(layer) > 0 for layer in layers)
        and min(B, bandwidth, peak) > 0
        and passes in (1, 2)
    ),
    traits={
        "both passes": lambda *case: case[-1] == 2,
        "several kinds of layers": lambda layers, *_: len(layers) > 1,
    },
    mistakes={
        "each layer, and each pass, has a bottleneck of its own: the maximum belongs inside the sum": _maximum_of_sums,
        "bytes travel while numbers are multiplied: a layer takes the longer of the two, not both": (
            _one_after_the_other
        ),
        "layers follow each other: count each as often as it occurs": lambda layers, *more: _seconds(
            [(1, K, M) for _, K, M in layers], *more
        ),
        "the backward pass does twice the work of the forward pass: it is no second forward pass": (
            lambda layers, B, bandwidth, peak, passes: passes * _seconds(layers, B, bandwidth, peak, 1)
        ),
        "a multiplication and an addition are two operations": lambda layers, B, bandwidth, peak, passes: _seconds(
            layers, B, bandwidth, 2 * peak, passes
        ),
        "a number has 4 bytes": lambda layers, B, bandwidth, *more: _seconds(layers, B, 4 * bandwidth, *more),
    },
    slack=1e-15,
)


# 4: the kernel.


def _tiled(theta: Array, log_x: Array, blocks: tuple[int, int, int]) -> Array | None:
    def kernel(theta, log_x, out, K, M, B, BLOCK_K, BLOCK_M, BLOCK_B):
        k = (tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K))[:, None]
        b = (tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B))[None, :]
        u = tl.zeros([BLOCK_K, BLOCK_B], tl.float32)
        best = tl.full([BLOCK_B], -1e30, tl.float32)
        for start in range(0, M, BLOCK_M):
            m = start + tl.arange(0, BLOCK_M)
            w = tl.load(theta + k * M + m[None, :], mask=(k < K) & (m[None, :] < M), other=0.0)
            x = tl.load(log_x + m[:, None] * B + b, mask=(m[:, None] < M) & (b < B), other=-1e30)
            larger = tl.maximum(best, tl.max(x, 0))
            u = u * tl.exp(best - larger)[None, :] + tl.dot(w, tl.exp(x - larger[None, :]))
            best = larger
        tl.store(out + k * B + b, tl.log(u) + best[None, :], mask=(k < K) & (b < B))

    return launch(kernel, theta, log_x, blocks)


def _swept(fault: str, theta: Array, log_x: Array, blocks: tuple[int, int, int]) -> Array:
    """What a kernel with a fault in its sweep gives."""
    M, (_, tile, _) = len(log_x), blocks
    u, best = np.zeros((len(theta), log_x.shape[1])), np.full(log_x.shape[1], -1e30)
    with np.errstate(all="ignore"):
        for start in range(0, M - M % tile if fault == "rest" else M, tile):
            x, w = log_x[start : start + tile], theta[:, start : start + tile]
            larger = x.max(0) if fault == "own" else np.maximum(best, x.max(0))
            kept = 1.0 if fault == "kept" else np.exp(best - larger)
            u = u * (0.0 if fault == "last" else kept) + w @ np.exp(x - larger)
            best = larger
        return np.log(u) + best


def _random_tiles(rng: np.random.Generator, size: int) -> tuple:
    K, M, B = (int(rng.integers(1, 2 * size + 3)) for _ in range(3))
    log_x = normal(rng, M, B) - rng.choice([0.0, 500.0], (M, 1)) - rng.choice([0.0, 3000.0], B)
    return simplices(rng, K, M, zeros=M > 20), log_x, tuple(rng.choice([2, 4], 3).tolist())


check_kernel = Answers(
    name="tiled",
    task="sweep over M in tiles with a running maximum, and store the tile's logarithms",
    solution=_tiled,
    cases={
        "one tile": (*_TINY, (2, 2, 2)),
        "two tiles, the larger one first": (
            np.array([[0.25, 0.25, 0.25, 0.25]]),
            np.array([[5.0], [4.0], [0.0], [1.0]]),
            (2, 2, 2),
        ),
    },
    random=_random_tiles,
    fair=lambda theta, log_x, blocks: (
        shaped("KM MB", theta, log_x)
        and distribution(theta)
        and {*blocks} <= {1, 2, 4}
        and bool(np.isfinite(log_x).all())
    ),
    equivalent={
        "number off by one: 1e+30": "any number far below every logarithm does",
        "number off by one: 0.0": "where theta is masked, exp of the masked logarithm is 0",
    },
    traits={
        "M that BLOCK_M does not divide": lambda theta, log_x, blocks: len(log_x) % blocks[1] > 0,
        "several tiles of M": lambda theta, log_x, blocks: len(log_x) > blocks[1],
        **_LAYER_TRAITS,
    },
    mistakes={
        "when a larger maximum comes, what was summed has to be scaled down to it": lambda *case: _swept("kept", *case),
        "the sum goes over all tiles: add to u, do not overwrite it": lambda *case: _swept("last", *case),
        "the last tile of M may be shorter than BLOCK_M: sweep to the end and mask": lambda *case: _swept(
            "rest", *case
        ),
    },
)
