"""The parameters of a circuit: for every level of equal regions one table of probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import StructureError
from .engines.plan import compile_plan, laid_out
from .evidence_checks import check_tensor
from .inputs import get_family
from .regions import RegionGraph


class Tables(nn.Module):
    """What a circuit holds, apart from what it can be asked; arguments as in `Circuit`."""

    def __init__(self, graph: RegionGraph, generator: torch.Generator | None, dtype: torch.dtype):
        super().__init__()
        if not isinstance(graph, RegionGraph):
            raise StructureError(f"a circuit is made from a RegionGraph, not from {type(graph).__name__}")
        if dtype not in (torch.float32, torch.float64):
            raise StructureError(f"a circuit computes in torch.float32 or torch.float64, not in {dtype}")
        self.graph, self.num_variables, self.num_categories = graph, graph.num_variables, graph.num_categories
        self.plan = compile_plan(graph)
        self.families = [parameter.family for parameter in self.plan.parameters]  # of input regions, None for sums
        self.parameter_list = nn.ParameterList()
        for parameter in self.plan.parameters:
            family = get_family(parameter.family or "categorical")  # sum weights are categorical over their products
            start = family.start(parameter.shape, generator, dtype)
            self.parameter_list.append(nn.Parameter(start, requires_grad=family.is_learned))
        self._follow_parameters()

    def extra_repr(self) -> str:
        return (
            f"{self.num_variables} variables, {self.num_categories} categories, {len(self.graph.regions)} regions in "
            f"{len(self.plan.levels)} levels, {self.graph.num_sum_edges:,} sum edges, "
            f"{self.graph.num_parameters:,} parameters"
        )

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._follow_parameters()
        return self

    def _follow_parameters(self) -> None:
        """Where the parameters are now: the plan's indices follow them, and tables have units innermost in memory."""
        self.device, self.dtype = self.parameter_list[0].device, self.parameter_list[0].dtype
        self.plan = self.plan.to(self.device)
        for own, family in zip(self.parameter_list, self.families):
            if family is not None:
                own.data = laid_out(own.data)

    def tables(self) -> list[Tensor]:
        """theta (R, K_out, M) of every level, probabilities that sum to one over M; differentiable."""
        own = zip(self.parameter_list, self.families)
        return [theta if name is None else get_family(name).table(theta, self.num_categories) for theta, name in own]

    def region_table(self, index: int) -> Tensor:
        """theta (K_out, M) of region `index` of the graph."""
        parameter, row = self._owner(index)
        return self.tables()[parameter][row]

    @torch.no_grad()
    def set_region_table(self, index: int, table: Tensor) -> None:
        """Give region `index` of the graph, and all regions tied to it, the probabilities theta.

        Args:
            index: of a sum or a categorical input.
            table: (K_out, M), non-negative, each row summing to one.

        Raises:
            StructureError: for another shape, for rows that are no distributions, or a region of another family.
        """
        parameter, row = self._owner(index)
        check_tensor("table", table)
        family, own = self.families[parameter], self.parameter_list[parameter]
        if family not in (None, "categorical"):
            raise StructureError(f"region {index} holds the parameters of its family {family!r}, not a table")
        if table.shape != own.shape[1:]:
            raise StructureError(f"region {index} needs a table of {tuple(own.shape[1:])}, not {tuple(table.shape)}")
        sums = table.double().sum(-1)
        if not (table >= 0).all() or not torch.allclose(sums, torch.ones_like(sums), atol=1e-5):
            raise StructureError(f"the table of region {index} must be non-negative, and each row sum to one")
        own[row] = table.to(own)

    def _owner(self, index: int) -> tuple[int, int]:
        if not isinstance(index, int) or not 0 <= index < len(self.graph.regions):
            raise StructureError(f"regions are numbered 0 … {len(self.graph.regions) - 1}; there is no {index!r}")
        return self.plan.region_parameter[index]
