"""Checks of what enters a query, made once at the public surface; every message says where and what to do."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import EvidenceError


def checked_values(x: Tensor, num_variables: int, num_categories: int, name: str = "x") -> Tensor:
    """x as torch.long; raise EvidenceError unless it is (B, D) of integers in -1 … C - 1."""
    if x.ndim != 2 or x.shape[1] != num_variables:
        raise EvidenceError(f"{name} must have shape (B, {num_variables}), not {tuple(x.shape)}")
    if x.dtype.is_floating_point or x.dtype == torch.bool or x.dtype.is_complex:
        raise EvidenceError(f"{name} must hold integer categories (torch.long), not {x.dtype}")
    x = x.long()
    wrong = (x < -1) | (x >= num_categories)
    if wrong.any():
        row, variable = wrong.nonzero()[0].tolist()
        raise EvidenceError(
            f"{name}[{row}, {variable}] = {int(x[row, variable])} is not a category: "
            f"use 0 … {num_categories - 1}, or -1 for a missing value"
        )
    return x


def check_log_weights(log_weights: Tensor, num_variables: int, num_categories: int) -> None:
    """Raise EvidenceError unless the weights are (B, D, C) floats below +inf, each row with one above -inf."""
    expected = f"(B, {num_variables}, {num_categories})"
    if log_weights.ndim != 3 or tuple(log_weights.shape[1:]) != (num_variables, num_categories):
        raise EvidenceError(f"log_weights must have shape {expected}, not {tuple(log_weights.shape)}")
    if not log_weights.dtype.is_floating_point:
        raise EvidenceError(f"log_weights must be floating point, not {log_weights.dtype}")
    largest = log_weights.amax(-1)  # NaN where any entry is
    if largest.isfinite().all():
        return
    row, variable = (~largest.isfinite()).nonzero()[0].tolist()
    value = float(largest[row, variable])
    if value == -torch.inf:
        raise EvidenceError(
            f"all log weights of batch row {row}, variable {variable} are -inf: the evidence excludes every category. "
            "Use zeros for a variable nothing is known about"
        )
    kind = "NaN" if value != value else "+inf"
    raise EvidenceError(f"log weights of batch row {row}, variable {variable} contain {kind}")


def check_possible(log_z: Tensor, first_row: int = 0) -> None:
    """Raise EvidenceError naming the batch rows, counted from `first_row`, whose evidence has probability zero."""
    impossible = ((log_z == -torch.inf).nonzero()[:, 0] + first_row).tolist()
    if impossible:
        rows = ", ".join(map(str, impossible[:8])) + (" …" if len(impossible) > 8 else "")
        raise EvidenceError(f"the evidence contradicts the circuit: Z(w) = 0 in batch rows {rows}")
