"""The parameters of a circuit: for every level of equal regions one table of probabilities; and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..checks import instance, integer
from ..errors import FileError, StructureError
from ..files import loaded, save_safetensors
from .engines.plan import compile_plan, laid_out
from .inputs import random_table
from .regions import RegionGraph

KIND, VERSION = "circuit", 1
FLOATS = (torch.float32, torch.float64, torch.bfloat16)
Own = TypeVar("Own", bound="Tables")


class Tables(nn.Module):
    """What a circuit holds, apart from what it can be asked; arguments as in `Circuit`."""

    def __init__(self, graph: RegionGraph, generator: torch.Generator | None, dtype: torch.dtype):
        super().__init__()
        instance("graph", graph, RegionGraph)
        if dtype not in (torch.float32, torch.float64):
            raise StructureError(f"a circuit computes in torch.float32 or torch.float64, not in {dtype}")
        self.graph, self.num_variables, self.num_categories = graph, graph.num_variables, graph.num_categories
        self.plan = compile_plan(graph)
        self.families = [parameter.family for parameter in self.plan.parameters]  # of input regions, None for sums
        self.parameter_list = nn.ParameterList()
        for parameter in self.plan.parameters:
            start = random_table(parameter.shape, parameter.family, generator, dtype)
            self.parameter_list.append(nn.Parameter(start, requires_grad=parameter.family != "indicator"))
        self._follow_parameters()
        self.facts: dict[str, Any] = {}  # what is known of its making: data, seed, likelihood

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
        return list(self.parameter_list)

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
            StructureError: for another shape, for rows that are no distributions, or a region of indicators.
        """
        parameter, row = self._owner(index)
        instance("table", table, Tensor)
        own = self.parameter_list[parameter]
        if self.families[parameter] == "indicator":
            raise StructureError(f"region {index} holds fixed indicators")
        if table.shape != own.shape[1:]:
            raise StructureError(f"region {index} needs a table of {tuple(own.shape[1:])}, not {tuple(table.shape)}")
        sums = table.double().sum(-1)
        if not (table >= 0).all() or not torch.allclose(sums, torch.ones_like(sums), atol=1e-5):
            raise StructureError(f"the table of region {index} must be non-negative, and each row sum to one")
        own[row] = table.to(own)

    def _owner(self, index: int) -> tuple[int, int]:
        return self.plan.region_parameter[integer("index", index, 0, len(self.graph.regions) - 1)]

    def save(self, path: str | Path, *, half: bool = False, **facts: object) -> None:
        """Write structure, parameters and any `facts` (JSON values: data, seed, likelihood) to one safetensors file.

        Args:
            half: probabilities in bfloat16, half the bytes; normalised again in float32 when they are read.
        """
        tensors = {f"theta.{i}": theta.bfloat16() if half else theta for i, theta in enumerate(self.parameter_list)}
        metadata = {"graph": self.graph.to_json(), "facts": facts}
        save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=metadata)

    @classmethod
    def load(cls: type[Own], path: str | Path) -> Own:
        """The circuit that `save` wrote, in float32 or float64 as saved; the facts are in `circuit.facts`.

        Raises:
            FileError: when the file is missing, truncated, or no circuit of this version.
        """
        with loaded(path, kind=KIND, version=VERSION) as (tensors, metadata):
            try:
                graph, facts = RegionGraph.from_json(metadata["graph"]), metadata["facts"]
            except StructureError as error:
                raise FileError(f"{path} does not hold a circuit: {error}") from error
        if graph.num_stored > sum(map(torch.numel, tensors.values())):
            raise FileError(f"{path}: its graph needs more parameters than the file holds")
        for name, theta in tensors.items():
            if theta.dtype not in FLOATS:
                raise FileError(f"{path}: its tensor {name} holds {theta.dtype}, no parameters")
            if not theta.isfinite().all():
                raise FileError(f"{path}: its tensor {name} contains NaN or an infinite number")
        is_double = any(theta.dtype == torch.float64 for theta in tensors.values())
        circuit = cls(graph, generator=torch.Generator(), dtype=torch.float64 if is_double else torch.float32)
        circuit.facts = facts
        circuit._fill(path, tensors)
        return circuit

    @torch.no_grad()
    def _fill(self, path: str | Path, tensors: dict[str, Tensor]) -> None:
        """Copy the tensors of a file to the parameters; probabilities in half precision are normalised again."""
        expected = {f"theta.{i}": tuple(theta.shape) for i, theta in enumerate(self.parameter_list)}
        found = {name: tuple(theta.shape) for name, theta in tensors.items()}
        if expected != found:
            raise FileError(f"{path}: its tensors have shapes {found}, its graph needs {expected}")
        for name, theta in zip(expected, self.parameter_list):
            theta.copy_(tensors[name])
            if tensors[name].dtype == torch.bfloat16:
                theta /= theta.sum(-1, keepdim=True)
            if (theta < 0).any():
                raise FileError(f"{path}: its tensor {name} holds negative probabilities")
