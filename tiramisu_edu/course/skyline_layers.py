"""The skylines of `skyline` as a layered circuit, for whole batches of evidence at a time and for a choice of dtype.

A column of pixels hangs from one region of S + 1 units, one per height, and a sum region per house chooses among them:

    circuit = skyline_layers(4, 4)    # 16 pixels; its p(x) is that of list_pictures(4, 4)
"""

from __future__ import annotations

import numpy as np
import torch

from ..circuits.circuit import Circuit
from ..circuits.regions import Region, RegionGraph
from .skyline import first_height, next_height


def skyline_layers(storeys: int, houses: int, *, dtype: torch.dtype = torch.float64) -> Circuit:
    """p(x) of skylines of S storeys and H houses, with fixed parameters.

    Args:
        storeys, houses: S and H; pixel i = row · H + column.
        dtype: of the parameters and of all answers.
    """
    K = storeys + 1
    regions: list[Region] = []
    tables: list[np.ndarray] = []
    heights = np.arange(K)
    for k in reversed(range(houses)):
        later = [len(regions) - 1] if regions else []
        for row in range(storeys):
            bright = row < storeys - heights  # a house of height h is dark from row S − h on
            regions.append(Region((row * houses + k,), K))
            tables.append(np.stack([~bright, bright], -1).astype(float))  # (K, 2)
        column = tuple(range(len(regions) - storeys, len(regions)))
        scope = tuple(row * houses + j for row in range(storeys) for j in range(k, houses))
        regions.append(Region(scope, K if k else 1, ((*column, *later),)))
        tables.append(next_height(storeys) if k else first_height(storeys)[None])
    circuit = Circuit(RegionGraph(tuple(regions), storeys * houses, 2), dtype=dtype)
    with torch.no_grad():
        for (parameter, row), table in zip(circuit.plan.region_parameter, tables):
            circuit.parameter_list[parameter][row] = torch.as_tensor(table, dtype=dtype)
    return circuit.requires_grad_(False)
