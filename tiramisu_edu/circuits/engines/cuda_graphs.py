"""Queries as CUDA graphs: the launches of a query recorded once, and from then on made all together.

On a card a query is a few short kernels for each level, and launching them one by one can take longer than running
them. All marginals of a hidden tree of 256 variables with 32 units took 3.7 ms called and 0.12 to 0.16 ms as a graph
(1 and 64 rows on an H100, with kernels older than these, nothing copied in or out).

    first call of a shape   as ever: kernels are compiled
    second                  as ever, on a copy of the evidence; then its launches are recorded, and nothing runs
    later                   the evidence is copied in, the graph launched, its results are copied out

A graph holds addresses. So it is kept for the evidence's shape and strides, and for the addresses of all else the query
reads or adds to: parameters, and the counts of EM. Numbers changed in place are seen. Other memory is another graph.
Graphs belong to a plan and go with it, as after `Circuit.to`.

    memory   up to MOST graphs of a plan, the one used longest ago goes first. Each has a copy of its evidence and its
             results; all between lies in one pool of the card, of the size that the largest query needs. So graphs
             take turns: one lock, and one stream, the default one.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from . import fast, safe
from .plan import Plan

MOST = 8
Tensors = Sequence[Tensor]
Query = Callable[[Tensor], Tensors]
_turns = threading.Lock()


def by_graph(engine: ModuleType, plan: Plan, name: str, query: Query, rows: Tensor, others: Tensors) -> Tensors:
    """query(rows), from a CUDA graph where there can be one.

    Args:
        engine: what the query calls.
        name: of the kind of query.
        query: launches kernels without waiting for them; returns new tensors.
        rows: evidence, (B, ...).
        others: everything else that the query reads, or changes in place.
    """
    if not is_possible(engine, rows, others):
        return query(rows)
    return plan.__dict__.setdefault("_cuda_graphs", Graphs())(name, query, rows, others)


def is_possible(engine: ModuleType, rows: Tensor, others: Tensors) -> bool:
    """Whether the engine never waits for the card, all lies there, no gradient is wanted, and nobody else records."""
    if rows.device.type != "cuda" or engine in (fast, safe) or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    is_default = torch.cuda.current_stream(rows.device) == torch.cuda.default_stream(rows.device)  # records nothing
    return is_default and rows.numel() > 0 and all(tensor.device == rows.device for tensor in others)


class Recorded:
    """A query whose kernels are launched together, on evidence and into results of its own."""

    def __init__(self, query: Query, own: Tensor):
        self.own, self.graph = own, torch.cuda.CUDAGraph()
        side, pool = _side(own.device)
        recording = torch.cuda.graph(self.graph, pool, side, "thread_local")  # other threads are not disturbed
        with torch.cuda.stream(side), recording:  # the outer one leaves the stream also where recording fails
            self.results = query(own)

    def __call__(self, rows: Tensor) -> Tensors:
        self.own.copy_(rows)
        self.graph.replay()
        return tuple(result.clone() for result in self.results)


class Graphs:
    """The graphs of one plan; what a query returns belongs to the caller."""

    def __init__(self) -> None:
        self.kept: dict[Any, Recorded | None] = {}  # in the order of their last use; None: called once
        self.failed: set[Any] = set()  # kinds of query that could not be recorded

    def __reduce__(self) -> tuple[type[Graphs], tuple[()]]:
        return Graphs, ()  # a copy starts empty

    def __call__(self, name: str, query: Query, rows: Tensor, others: Tensors) -> Tensors:
        kind = name, _layout(rows), torch.is_inference_mode_enabled()  # its tensors change in that mode only
        key = kind, *((tensor.data_ptr(), *_layout(tensor)) for tensor in others)
        with _turns:
            is_known, recorded = key in self.kept, self.kept.pop(key, None)
            self.kept[key] = recorded
            if len(self.kept) > MOST:
                del self.kept[next(iter(self.kept))]
            if recorded is not None:
                return recorded(rows)
            if is_known and kind not in self.failed:
                own = rows.clone()
                results = query(own)  # a fault of the query itself is raised here
                try:
                    self.kept[key] = Recorded(query, own)
                except RuntimeError as error:
                    self.failed.add(kind)
                    warnings.warn(f"{name} of this shape stay without a CUDA graph: {error}", stacklevel=4)
                return results
        return query(rows)


@lru_cache
def _side(device: torch.device) -> tuple[torch.cuda.Stream, Any]:
    """The stream that a card's graphs are recorded on, and the memory that they share."""
    return torch.cuda.Stream(device), torch.cuda.graph_pool_handle()


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride()
