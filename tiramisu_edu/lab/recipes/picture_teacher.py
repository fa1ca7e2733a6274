"""The picture as the teacher of latent variable distillation: what surrounds a region names the state of its latent.

A latent of a circuit over patches (or over VQ codes, one per patch) stands for what its region has in common with the
rest of the picture. Its first guess: the cluster of the picture around the region, and of the whole picture coarsely.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from ...circuits.circuit import Circuit
from ...circuits.distillation import cluster_features, distil, latent_regions

WINDOW, COARSE, COMPONENTS = 6, 8, 48  # sides in pixels after averaging, and numbers kept of both
COARSE_WEIGHT = 0.5  # of the whole picture against the window


def teach(
    circuit: Circuit,
    codes: Tensor,
    images: Tensor,
    generator: torch.Generator,
    checkpoint: str | Path | None = None,
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
    grid = round(circuit.num_variables**0.5)
    coarse = COARSE_WEIGHT * adaptive_avg_pool2d(images, COARSE).flatten(1)
    features = {
        region: _main_components(torch.cat([_window(images, variables, grid), coarse], 1))
        for region, variables in latent_variables(circuit).items()
    }
    states = cluster_features(circuit, features, generator=generator, checkpoint=checkpoint)
    distil(circuit, codes, states, pseudocount=0.1)


def latent_variables(circuit: Circuit) -> dict[int, tuple[int, ...]]:
    """Region -> the variables that its latent explains at once: those whose inputs hang below it, else its scope."""
    regions = circuit.graph.regions
    own = {}
    for index in latent_regions(circuit):
        inputs = [v for child in regions[index].partitions[0] if regions[child].is_input for v in regions[child].scope]
        own[index] = tuple(inputs) or regions[index].scope
    return own


def _window(images: Tensor, variables: tuple[int, ...], grid: int) -> Tensor:
    """The bounding box of patches and a margin of one patch, averaged to 6 x 6 pixels, (N, P)."""
    side = images.shape[-1] // grid
    rows, cols = [v // grid for v in variables], [v % grid for v in variables]
    padded = pad(images, [side] * 4, mode="replicate")
    box = padded[..., min(rows) * side : (max(rows) + 3) * side, min(cols) * side : (max(cols) + 3) * side]
    return adaptive_avg_pool2d(box, WINDOW).flatten(1)


def _main_components(features: Tensor) -> Tensor:
    """(N, P) -> (N, 48), the directions in which the features vary most."""
    centred = features - features.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    return centred @ axes[:, -COMPONENTS:]
