"""One level of the fast engine: where its operands lie, and what is done to them on the way up and down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .messages import Evidence, Parameters
from .plan import WIDEST, Level

LEAST = torch.finfo(torch.float64).tiny ** 0.75  # the smallest product of many factors that is trusted


class Place(NamedTuple):
    """Some regions' messages or flows: a view (R, B, K) of them, or rows of a tensor (rows, B, K) that are no run."""

    source: Tensor
    rows: Tensor | None
    num_partitions: int = 1  # P > 1: seen as (R, P, B, K)
    is_shared: bool = False  # other regions write there too

    @classmethod
    def of(cls, source: Tensor, rows: Tensor, num_partitions: int, is_shared: bool = False) -> Place:
        if run := run_of(rows):
            return cls(_by_region(source[run], num_partitions), None, num_partitions, is_shared)
        return cls(source, rows.to(source.device), num_partitions, is_shared)

    def read(self) -> Tensor:
        if self.rows is None:
            return self.source
        return _by_region(self.source.index_select(0, self.rows), self.num_partitions)

    def write(self, values: Tensor) -> None:
        if self.rows is None:
            self.source.add_(values) if self.is_shared else self.source.copy_(values)
            return
        values = values if self.num_partitions == 1 else values.flatten(0, 1)
        write = self.source.index_add_ if self.is_shared else self.source.index_copy_
        write(0, self.rows, values)


def run_of(rows: Tensor) -> slice | None:
    """The rows (n,) as a slice, where they follow one another."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if bool((rows.diff() == 1).all()) else None


def _by_region(rows: Tensor, num_partitions: int) -> Tensor:
    return rows if num_partitions == 1 else rows.unflatten(0, (-1, num_partitions))


def by_partition(product: Tensor, num_partitions: int) -> Tensor:
    """Products (R, B, M) seen as (R, P, B, J); as they are if P is 1."""
    return product if num_partitions == 1 else product.unflatten(2, (num_partitions, -1)).transpose(1, 2)


def theta_of(level: Level, parameters: Parameters) -> Tensor:
    """The parameters of a level's regions, (R, K_out, M) as given or transposed; a copy where several share several."""
    parameter = parameters[level.parameter]
    if level.shared_row is not None:
        return parameter[level.shared_row].expand(level.num_regions, -1, -1)
    return parameter if level.parameter_rows is None else parameter[level.parameter_rows]


def add_gradient(level: Level, gradients: Parameters, ratio: Tensor, product: Tensor) -> None:
    """Add d(sum of log Z)/d theta_km = sum_b p_m flow_k / u_k, (R, K, M)."""
    if level.parameter_rows is None:
        gradients[level.parameter].baddbmm_(ratio.mT, product)
    else:
        gradients[level.parameter].index_add_(0, level.parameter_rows, torch.bmm(ratio.mT, product))


@dataclass
class InputStep:
    """An input level: its messages and flows, (R, B, K).

    `product` (R, B, C) is the soft evidence that was read last. Of hard evidence it is `table_rows` (R * B,) long, of
    the table seen as (all regions * C, K), and `is_missing` (R * B,) bool, None where nothing is.
    """

    level: Level
    units: Tensor
    flow: Tensor
    variables: Tensor  # (R,) long, in the order of the messages
    parameter_rows: Tensor  # (R,) long, likewise
    run: slice | None  # the variables, where they follow one another
    product: Tensor
    table_rows: Tensor | None = None
    is_missing: Tensor | None = None

    def look_up(self, columns: Parameters, values: Tensor) -> None:
        """u = f_k(x_i), 1 where x_i is missing, for tables (regions, C, K) and values (D, B)."""
        table, values = columns[self.level.parameter], values[self.run or self.variables]
        _, C, K = table.shape
        self.is_missing = (values < 0).flatten() if values.numel() and values.amin() < 0 else None
        values = values if self.is_missing is None else values.clamp_min(0)
        self.table_rows = torch.add(values, self.parameter_rows[:, None], alpha=C).flatten()
        by_row = self.units.view(-1, K)
        torch.index_select(table.reshape(-1, K), 0, self.table_rows, out=by_row)
        if self.is_missing is not None:
            by_row[self.is_missing] = 1.0

    def mix(self, columns: Parameters, weights: Tensor) -> None:
        """u_k = sum_v f_k(v) w_v, for tables (regions, C, K) and weights (D, B, C)."""
        self.product = weights[self.run] if self.run else weights.index_select(0, self.variables)
        torch.bmm(self.product, theta_of(self.level, columns), out=self.units)

    def support(self, evidence: Evidence) -> Tensor | None:
        """Which categories are possible, (R, B, C) bool; None under hard evidence."""
        return None if evidence.log_weights is None else (evidence.log_weights[self.variables] > -torch.inf).mT

    def count_values(self, gradients: Parameters) -> None:
        """Add d log Z / d table of hard evidence: flow_k / f_k at the observed value, flow_k everywhere if missing."""
        assert self.table_rows is not None
        gradient = gradients[self.level.parameter]
        K = gradient.shape[1]
        flow = self.flow.view(-1, K)
        if self.is_missing is not None:
            unseen = torch.where(self.is_missing[:, None], flow, 0.0).view_as(self.flow).sum(1)  # (R, K)
            gradient.index_add_(0, self.parameter_rows, unseen[:, :, None].expand(-1, -1, gradient.shape[2]))
            flow[self.is_missing] = 0.0
        by_row = gradient.mT.reshape(-1, K)
        by_row.index_add_(0, self.table_rows, flow.div_(self.units.view(-1, K)))
        if by_row.data_ptr() != gradient.data_ptr():  # units not innermost: the sum was made in a copy
            gradient.copy_(by_row.view_as(gradient.mT).mT)

    def down(self, parameters: Parameters, gradients: Parameters | None, marginals: Tensor | None) -> None:
        """Under soft evidence: gradients, and p(X_i = v | w) = w_v sum_k f_k(v) flow_k / u_k."""
        ratio = self.flow.div_(self.units)
        if marginals is not None and self.run and self.level.exclusive:
            torch.bmm(ratio, theta_of(self.level, parameters), out=marginals[self.run].mT).mul_(self.product)
        elif marginals is not None:  # of a variable with several input regions the sum
            found = torch.bmm(ratio, theta_of(self.level, parameters)).mul_(self.product).mT
            Place(marginals, self.variables, is_shared=not self.level.exclusive).write(found)
        if gradients is not None:
            add_gradient(self.level, gradients, ratio, self.product)


class SumStep(NamedTuple):
    """A sum level: its messages and flows (R, B, K), its products (R, B, M), and the places of its children.

    `parts` and `part_flow` are the same products and their flows by partition, (R, P, B, J), or (R, B, J) if P is 1.
    """

    level: Level
    units: Tensor
    flow: Tensor
    product: Tensor
    product_flow: Tensor  # the flows of the first children themselves, where the children's rows are runs
    parts: Tensor
    part_flow: Tensor
    is_scaled: bool
    scale: Tensor  # (R, B, 1), what the products were divided by; in plans that are not simple how far they are trusted
    factors: tuple[Place, ...]  # the children's units
    targets: tuple[Place, ...]  # the children's flows, other than `product_flow`
    log_scale: Tensor | None  # (R, B, 1) float64, the log of all that was divided by so far; None in simple plans
    log_factors: tuple[Place, ...]  # the children's log scales

    def multiply(self) -> None:
        """p = product of the children's units, scaled to the sum 1 where the step says so; s is the scale taken out."""
        if self.log_scale is not None:
            self._multiply_apart(self.log_scale)
            return
        product, *others = (place.read() for place in self.factors)
        for other in others:
            product = torch.mul(product, other, out=self.product)
        if self.is_scaled:
            torch.sum(product, -1, keepdim=True, out=self.scale)
            torch.div(product, self.scale.clamp_min_(torch.finfo(product.dtype).tiny), out=self.product)
        elif not others:
            self.product.copy_(product)

    def _multiply_apart(self, log_scale: Tensor) -> None:
        """p of children with scales of their own: the product in each partition, then all partitions to one scale.

        Many factors are multiplied in float64; a product that is 1e77 times too small counts for 0.
        """
        is_wide, own = len(self.factors) > WIDEST, self.product.dtype
        product = torch.empty_like(self.parts, dtype=torch.float64) if is_wide else self.parts
        product.copy_(self.factors[0].read())
        for place in self.factors[1:]:
            product *= place.read()
        lowest = scale = product.amax(-1, keepdim=True).clamp_min_(torch.finfo(product.dtype).tiny)
        product /= scale
        if is_wide:
            self.parts.copy_(product)
            lowest = torch.where(scale > LEAST, 1.0, torch.finfo(own).tiny).to(own)
        total = scale.log() + sum(place.read() for place in self.log_factors)
        if self.level.num_partitions > 1:
            top = total.amax(1, keepdim=True)
            share = (total - top).exp().to(own)
            self.parts.mul_(share)
            total, lowest = top[:, 0], (lowest / share).amin(1).clamp_max(1)
        log_scale.copy_(total)
        self.scale.copy_(lowest)

    def support(self, evidence: Evidence) -> Tensor:
        """Which products are possible, (R, B, M) bool."""
        is_possible = torch.ones_like(self.parts, dtype=torch.bool)
        for place in self.factors:
            is_possible &= place.read() > 0
        return is_possible if self.level.num_partitions == 1 else is_possible.transpose(1, 2).flatten(2)

    def mix(self, columns: Parameters) -> None:
        """u = theta p, for theta (regions, M, K)."""
        torch.bmm(self.product, theta_of(self.level, columns), out=self.units)

    def down(self, parameters: Parameters, gradients: Parameters | None) -> None:
        """Flow of product m = p_m sum_k theta_km flow_k / u_k, written to all its children."""
        ratio = self.flow.div_(self.units)  # (R, B, K)
        torch.bmm(ratio, theta_of(self.level, parameters), out=self.product_flow).mul_(self.product)
        for place in self.targets:
            place.write(self.part_flow)
        if gradients is not None:
            add_gradient(self.level, gradients, ratio, self.product)
