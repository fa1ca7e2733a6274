"""What passes between the levels of a circuit, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .plan import Level, Plan
from .tape import Tape

Parameters = list[Tensor]


@dataclass(frozen=True)
class Evidence:
    """Soft evidence `log_weights` (D, C, B), or hard evidence `values` (D, B) long with -1 for missing; one of them."""

    log_weights: Tensor | None = None
    values: Tensor | None = None


class LevelState(NamedTuple):
    """What the backward pass needs of a level: linear (R, M, B) and u (R, K, B) of its step, and the units left out."""

    linear: Tensor | None  # None under hard evidence at an input, where u is f_k(x_i) in rows, (R * B, K)
    u: Tensor
    thin: Thin | None


class Workspace:
    """Buffers that a query leaves to the next one: fresh memory costs more than the arithmetic done in it.

    What a query returns lives in the workspace it was given, until the next query with the same workspace.
    """

    def __init__(self) -> None:
        self._made_for: object = None
        self._buffers: dict[object, Tensor] = {}
        self._tapes: dict[tuple[bool, bool], Tape] = {}

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()  # a copy starts empty

    def start(self, batch: int, like: Tensor) -> None:
        """Make ready for a query; buffers of another batch size, dtype or device are given up."""
        if self._made_for != (batch, like.dtype, like.device):
            self._made_for = (batch, like.dtype, like.device)
            self._buffers.clear()
            self._tapes.clear()

    def get(self, key: object, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor of this shape holding anything, the same one at every call with the same key and shape."""
        held = self._buffers.get((key, shape))
        if held is None:
            held = self._buffers[key, shape] = like.new_empty(shape)
        return held

    def tape(self, plan: Plan, batch: int, like: Tensor, keep: bool, is_hard: bool) -> Tape:
        """The tape of the linear engine for this batch size and kind of evidence."""
        self.start(batch, like)
        if (keep, is_hard) not in self._tapes:
            self._tapes[keep, is_hard] = Tape(plan, batch, like.detach(), keep, is_hard)
        return self._tapes[keep, is_hard]

    def products(self, key: object, level: Level, batch: int, like: Tensor) -> Tensor:
        """(R, M, B) for the product units of a level; categories innermost in memory, as log weights come."""
        if level.is_input:
            return self.get(key, (batch, level.num_regions, level.num_products), like).permute(1, 2, 0)
        return self.get(key, (level.num_regions, level.num_products, batch), like)


@dataclass(frozen=True)
class Messages:
    """Per unit count K: log u = log_units + log_scale, of shapes (rows, K, B) and (rows, 1, B).

    Both have one more row than there are regions: log 1 = 0. `states` has an entry per level if they were kept.
    """

    log_units: dict[int, Tensor]
    log_scale: dict[int, Tensor]
    workspace: Workspace
    states: list[LevelState] = field(default_factory=list)

    @classmethod
    def of_ones(cls, plan: Plan, like: Tensor, batch: int, workspace: Workspace | None = None) -> Messages:
        """All log 1, to be overwritten level by level; device and dtype those of `like`."""
        workspace = workspace or Workspace()
        workspace.start(batch, like)
        rows = {k: n + 1 for k, n in plan.num_rows.items()}
        log_units = {k: workspace.get(("log units", k), (n, k, batch), like) for k, n in rows.items()}
        for units in log_units.values():
            units[-1] = 0.0
        return cls(log_units, {k: like.new_zeros(n, 1, batch) for k, n in rows.items()}, workspace)


class Thin(NamedTuple):
    """Entries (region, unit, sample) of a level whose linear value is too small for the floats, but not zero."""

    at: tuple[Tensor, Tensor, Tensor]  # each (n,)
    log_terms: Tensor  # (n, M), log theta_km + x_m

    @classmethod
    def find(cls, weight: Tensor, x: Tensor, is_thin: Tensor) -> Thin:
        possible = torch.bmm((weight > 0).to(x.dtype), (x > -torch.inf).to(x.dtype)) > 0
        region, unit, sample = (is_thin & possible).nonzero(as_tuple=True)
        return cls((region, unit, sample), weight[region, unit].log() + x[region, :, sample])

    def add_flows(self, log_u: Tensor, flow: Tensor, product_flow: Tensor, weight: Tensor) -> Tensor:
        """Add, term by term, the flows (n,) that the matrix products left out; return their gradient (R, K, M)."""
        region, unit, sample = self.at
        passed = flow[:, None] * (self.log_terms - log_u[self.at][:, None]).exp()
        product_flow.mT.index_put_((region, sample), passed, accumulate=True)
        edge_flow = torch.zeros_like(weight).index_put_((region, unit), passed, accumulate=True)
        return torch.where(weight > 0, edge_flow / weight, 0.0)
