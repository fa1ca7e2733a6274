"""Checks of what enters a query, made once at the public surface; every message says where and what to do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checks import instance
from ..errors import EvidenceError


def checked_values(x: Tensor, num_variables: int, num_categories: int, name: str = "x") -> Tensor:
    """x as torch.long; raise EvidenceError unless it is (B, D) of integers in -1 … C - 1."""
    instance(name, x, Tensor)
    if x.ndim != 2 or x.shape[1] != num_variables:
        raise EvidenceError(f"{name} must have shape (B, {num_variables}), not {tuple(x.shape)}")
    if x.dtype.is_floating_point or x.dtype == torch.bool or x.dtype.is_complex:
        raise EvidenceError(f"{name} must hold integer categories (torch.long), not {x.dtype}")
    x = x.long()
    if x.numel() and not -1 <= x.amin() <= x.amax() < num_categories:
        row, variable = ((x < -1) | (x >= num_categories)).nonzero()[0].tolist()
        raise EvidenceError(
            f"{name}[{row}, {variable}] = {int(x[row, variable])} is not a category: "
            f"use 0 … {num_categories - 1}, or -1 for a missing value"
        )
    return x


def check_log_weights(log_weights: Tensor, num_variables: int, num_categories: int, dtype: torch.dtype) -> Tensor:
    """Raise EvidenceError unless the weights are (B, D, C) floats below +inf, each row with one above -inf.

    Args:
        dtype: the circuit's floats; what counts is what the weights are when they have become these.

    Returns:
        the largest log weight of each variable, (B, D), as given.
    """
    instance("log_weights", log_weights, Tensor)
    expected = f"(B, {num_variables}, {num_categories})"
    if log_weights.ndim != 3 or tuple(log_weights.shape[1:]) != (num_variables, num_categories):
        raise EvidenceError(f"log_weights must have shape {expected}, not {tuple(log_weights.shape)}")
    if not log_weights.dtype.is_floating_point:
        raise EvidenceError(f"log_weights must be floating point, not {log_weights.dtype}")
    largest = log_weights.amax(-1)  # NaN where any entry is
    cast = largest.to(dtype)
    if cast.isfinite().all():
        return largest
    row, variable = (~cast.isfinite()).nonzero()[0].tolist()
    value = float(cast[row, variable])
    kind = str(dtype).removeprefix("torch.")
    if value == -torch.inf:
        raise EvidenceError(
            f"all log weights of batch row {row}, variable {variable} are -inf in {kind}: "
            "the evidence excludes every category. Use zeros for a variable nothing is known about"
        )
    what = "NaN" if value != value else "+inf"
    raise EvidenceError(f"log weights of batch row {row}, variable {variable} contain {what} in {kind}")


def check_possible(log_z: Tensor, first_row: int = 0, *, may_be_zero: bool = False) -> None:
    """Raise EvidenceError naming the batch rows, counted from `first_row`, where Z is zero or no finite number."""
    if math.isfinite(float(log_z.sum())):
        return
    for is_wrong, why in (
        (log_z.isnan() | (log_z == torch.inf), "log Z is NaN or out of the range of the floats in batch rows"),
        ((log_z == -torch.inf) & (not may_be_zero), "the evidence contradicts the circuit: Z(w) = 0 in batch rows"),
    ):
        wrong = (is_wrong.nonzero()[:, 0] + first_row).tolist()
        if wrong:
            rows = ", ".join(map(str, wrong[:8])) + (" …" if len(wrong) > 8 else "")
            raise EvidenceError(f"{why} {rows}")
