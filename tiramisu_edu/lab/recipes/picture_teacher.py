"""The picture as the teacher of latent variable distillation: what surrounds a region names the state of its latent.

A latent of a circuit over patches (or over VQ codes, one per patch) stands for what its region has in common with the
rest of the picture. Its first guess: the cluster of the picture around the region, and of the whole picture coarsely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ...circuits.circuit import Circuit
from ...circuits.distillation import cluster_features, distil, latent_regions
from ..worlds.stored import Pictures

BATCH = 1024  # pictures at once
WINDOW, COARSE, COMPONENTS = 6, 8, 48  # sides in pixels after averaging, and numbers kept of both
COARSE_WEIGHT = 0.5  # of the whole picture against the window


def teach(
    circuit: Circuit, codes: Tensor, images: Pictures, generator: torch.Generator, checkpoint: str | Path | None = None
) -> None:
    """Start every latent as a cluster of surroundings, and all parameters as counts of these, in place.

    Args:
        circuit: over the codes of a picture's patches in reading order; tree-shaped.
        codes: (N, D) long, the patches' codes.
        images: (N, C, H, W), square, of which the codes are.
        generator: of k-means.
        checkpoint: file to go on from, written between latents.

    Source: Liu, Zhang, Van den Broeck 2022, "Scaling up probabilistic circuits by latent variable distillation", where
    a masked transformer's features take the place of the picture.
    """
    states = cluster_features(circuit, Surroundings(circuit, images), generator=generator, checkpoint=checkpoint)
    states = {region: state.to(circuit.device) for region, state in states.items()}
    distil(circuit, codes.to(circuit.device), states, pseudocount=0.1)


class Surroundings(Mapping[int, Tensor]):
    """Region -> its features (N, 48), made at each access: those of all regions may not fit into memory."""

    def __init__(self, circuit: Circuit, images: Pictures) -> None:
        self.images, self.device, self.grid = images, circuit.device, round(circuit.num_variables**0.5)
        self.variables = latent_variables(circuit)
        parts = [adaptive_avg_pool2d(part, COARSE).flatten(1) for part in images.split(BATCH)]
        self.coarse = COARSE_WEIGHT * torch.cat(parts)

    def __getitem__(self, region: int) -> Tensor:
        features = torch.cat([_window(self.images, self.variables[region], self.grid), self.coarse], 1)
        return _main_components(features.to(self.device))

    def __iter__(self) -> Iterator[int]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def latent_variables(circuit: Circuit) -> dict[int, tuple[int, ...]]:
    """Region -> the variables that its latent explains at once: those whose inputs hang below it, else its scope."""
    regions = circuit.graph.regions
    own = {}
    for index in latent_regions(circuit):
        inputs = [v for child in regions[index].partitions[0] if regions[child].is_input for v in regions[child].scope]
        own[index] = tuple(inputs) or regions[index].scope
    return own


def _window(images: Pictures, variables: tuple[int, ...], grid: int) -> Tensor:
    """The bounding box of patches and a margin of one patch, averaged to 6 x 6 pixels, (N, P).

    Outside of the picture its border is repeated.
    """
    side = images.shape[-1] // grid
    rows, cols = (
        torch.arange((min(at) - 1) * side, (max(at) + 2) * side).clamp(0, images.shape[-1] - 1)
        for at in ([v // grid for v in variables], [v % grid for v in variables])
    )
    parts = []
    for start in range(0, len(images), BATCH):
        box = images[start : start + BATCH, :, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        box = box[:, :, rows - rows[0]][..., cols - cols[0]]
        parts.append(adaptive_avg_pool2d(box, WINDOW).flatten(1))
    return torch.cat(parts)


def _main_components(features: Tensor) -> Tensor:
    """(N, P) -> (N, 48), the directions in which the features vary most."""
    centred = features - features.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    return centred @ axes[:, -COMPONENTS:]
