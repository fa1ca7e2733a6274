"""What a query gives to an engine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = list[Tensor]


@dataclass(frozen=True)
class Evidence:
    """Soft evidence `log_weights` (D, C, B), or hard evidence `values` (D, B) long with -1 for missing; one of them."""

    log_weights: Tensor | None = None
    values: Tensor | None = None

    @classmethod
    def of(cls, rows: Tensor) -> Evidence:
        """Soft evidence from log weights (B, D, C), hard evidence from values (B, D)."""
        return cls(log_weights=rows.permute(1, 2, 0)) if rows.is_floating_point() else cls(values=rows.T)

    @property
    def given(self) -> Tensor:
        """The one that is given; samples are its last dimension."""
        given = self.values if self.log_weights is None else self.log_weights
        assert given is not None
        return given

    def rows(self, index: Tensor) -> Evidence:
        """The samples `index`; soft evidence in float64."""
        if self.log_weights is not None:
            return Evidence(log_weights=self.log_weights[..., index].double())
        return Evidence(values=self.given[..., index])

    def without_maxima(self) -> tuple[Tensor, Tensor]:
        """Log weights with maximum 0 for each variable, and the sum of the maxima, (B,) in float64."""
        assert self.log_weights is not None
        maxima = self.log_weights.amax(1, keepdim=True)
        return self.log_weights - maxima, maxima.sum((0, 1), dtype=torch.float64)
