"""How many threads a query takes: one where a level of the circuit is too little work to be shared.

Threads meet at the end of every matrix product. Where a level takes microseconds the meeting costs more than the work,
and on a busy machine, where one of them waits for its turn on a core, hundreds of times more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from .engines.plan import Plan

SHARED = 2**24  # multiplications of a level, on average, from which threads share them: about 0.3 ms of one core


def work(plan: Plan, num_rows: int, is_soft: bool) -> float:
    """Multiplications of a level in one pass, on average; inputs multiply under soft evidence only."""
    levels = [level for level in plan.levels if is_soft or not level.is_input]
    return num_rows * sum(level.num_regions * level.num_units * level.num_products for level in levels) / len(levels)


@contextmanager
def few_threads(plan: Plan, num_rows: int, is_soft: bool) -> Iterator[None]:
    """PyTorch on one thread for so little work, and as before afterwards.

    PyTorch counts the threads of each calling thread on its own: other queries keep theirs. A Python thread whose first
    tensor is made meanwhile starts with one.
    """
    before = torch.get_num_threads()
    is_small = before > 1 and work(plan, num_rows, is_soft) < SHARED
    try:
        if is_small:
            torch.set_num_threads(1)
        yield
    finally:
        if is_small:
            torch.set_num_threads(before)


def by_work(query: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a circuit that runs within `few_threads`, for the rows of its first tensor."""

    @wraps(query)
    def run(circuit: Any, *arguments: Any, **options: Any) -> Any:
        rows = next((x for x in (*arguments, *options.values()) if isinstance(x, Tensor) and x.ndim), torch.zeros(1))
        with few_threads(circuit.plan, len(rows), rows.is_floating_point()):
            return query(circuit, *arguments, **options)

    return run
