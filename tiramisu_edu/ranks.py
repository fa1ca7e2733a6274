"""The processes of `torchrun`: which rows each takes, and what all know. Without torchrun one process takes all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import TiramisuError

_Found = TypeVar("_Found")


def is_distributed() -> bool:
    """Whether this is one of several processes under `torchrun`."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def process_rank() -> int:
    """Its number among them, 0 for the first or only one."""
    return torch.distributed.get_rank() if is_distributed() else 0


def num_ranks() -> int:
    """How many they are."""
    return torch.distributed.get_world_size() if is_distributed() else 1


def share(rows: Tensor) -> Tensor:
    """This process's part of the rows."""
    return rows[process_rank() :: num_ranks()]


def summed(tensors: list[Tensor]) -> list[Tensor]:
    """The sums over all processes, in place."""
    for tensor in tensors if is_distributed() else ():
        torch.distributed.all_reduce(tensor)
    return tensors


def gathered(own: Tensor, count: int) -> Tensor:
    """All `count` rows, of which each process has its `share`."""
    if not is_distributed():
        return own
    rows = own.new_zeros(count, *own.shape[1:])
    share(rows).copy_(own)
    return summed([rows])[0]


def agreed(find: Callable[[], _Found]) -> _Found:
    """What the first process finds, in all of them: no other needs the same disk or clock.

    Raises:
        TiramisuError: the first process raises one.
    """
    if not is_distributed():
        return find()
    found: list[Any] = [None, None]
    if process_rank() == 0:
        try:
            found[0] = find()
        except TiramisuError as error:
            found[1] = error
    torch.distributed.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]
