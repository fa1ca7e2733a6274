"""A masked transformer as the teacher of latent variable distillation: what surrounds a region names its state.

For each region its codes are hidden, and the features of the last layer at their places, the network's belief about the
region given all around it, are clustered into K states. The published teacher hides one region at a time; here regions
that are far apart are hidden together, since every pass over the pictures costs the same.

Source: Liu, Niepert, Van den Broeck 2024, appendix C.2, and their implementation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from studies.transformers import READ, CodeTransformer
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.distillation import cluster_features, distil
from tiramisu_edu.lab.recipes.picture_teacher import latent_variables

COMPONENTS = 16  # numbers kept at each place; of a whole region at least as many, as published
APART = 4  # rows and columns from one single code to the next that is hidden with it; larger regions: twice their side


def teach_by_transformer(circuit: Circuit, codes: Tensor, network: CodeTransformer, generator: torch.Generator) -> None:
    """Start every latent as a cluster of the network's beliefs, all parameters as counts, in place; codes (N, n)."""
    states = cluster_features(circuit, Beliefs(circuit, codes, network), generator=generator)
    distil(circuit, codes, states, pseudocount=0.1)


class Beliefs(Mapping[int, Tensor]):
    """Region -> its features (N, P), those of regions that are hidden together made in one pass and kept.

    The root, outside of which nothing is, has the features of all codes seen.
    """

    def __init__(self, circuit: Circuit, codes: Tensor, network: CodeTransformer) -> None:
        self.codes, self.network = codes, network
        self.variables = latent_variables(circuit)
        self.made: dict[int, Tensor] = {}

    def __getitem__(self, region: int) -> Tensor:
        if region not in self.made:
            self._make(self._together(region))
        return self.made.pop(region)

    def __iter__(self) -> Iterator[int]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)

    def _together(self, region: int) -> list[int]:
        """Regions of the same size that are far enough apart."""
        side = math.isqrt(self.codes.shape[1])

        def phase(variables: tuple[int, ...]) -> tuple[int, int, int]:
            apart = max(APART, 2 * math.isqrt(len(variables)))
            return len(variables), variables[0] // side % apart, variables[0] % side % apart

        return [other for other, own in self.variables.items() if phase(own) == phase(self.variables[region])]

    @torch.no_grad()
    def _make(self, regions: list[int]) -> None:
        hidden = torch.zeros(self.codes.shape[1], dtype=torch.bool)
        for region in regions:
            hidden[list(self.variables[region])] = len(self.variables[region]) < len(hidden)
        found: dict[int, list[Tensor]] = {region: [] for region in regions}
        for part in self.codes.split(READ):
            with torch.autocast("cpu", torch.bfloat16):
                features = self.network.features(part.masked_fill(hidden, self.network.num_codes)).float()
            for region in regions:
                own = features[:, list(self.variables[region])]
                found[region].append(own if len(own[0]) <= 16 else own.mean(1, keepdim=True))
        self.made |= {region: main_directions(torch.cat(parts)) for region, parts in found.items()}


def main_directions(features: Tensor) -> Tensor:
    """(N, places, width) -> (N, places * COMPONENTS): at each place the directions in which the features vary most."""
    centred = features - features.mean(0)
    _, axes = torch.linalg.eigh(torch.einsum("npi,npj->pij", centred, centred))
    return torch.einsum("npi,pic->npc", centred, axes[..., -COMPONENTS:]).flatten(1)
