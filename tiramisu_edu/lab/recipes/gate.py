"""The gate of a circuit: does its mean of the hidden pixels, given the known ones, beat what needs no model?

Held-out pictures of photographs that are not in the training split, under the paper's masks; mean squared error of the
hidden pixels. A circuit that loses is written, but its facts say so, a warning is shown wherever it steers, and the
stationary Gaussian is the guide instead where it knows more (`FolderWorld.best_guide`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
import torch
from scipy.sparse.linalg import LaplacianNd, splu
from torch import Tensor

from ...circuits.circuit import Circuit
from ...masks import mask_batch
from ...methods import STORED
from ...names import PAPER_MASKS
from ...steering.field import GaussianField
from ...steering.patches import PatchCodebook, to_patches
from ..evaluation.comparison import circuit_mean
from ..evaluation.metrics import hidden_mse
from ..worlds.stored import Pictures

MOST = 64 * 64  # pixels of a picture whose covariance the stationary Gaussian can hold
MATRICES = 12  # of all pixels by all pixels, in float64, that it has at once: as measured, with room to spare


def gate(circuit: Circuit, codebook: PatchCodebook, train: Pictures, held_out: Tensor) -> dict[str, dict[str, float]]:
    """Method -> mask -> mean squared error of the hidden pixels; printed too.

    Args:
        circuit, codebook: the model.
        train: its mean picture is one of the rivals, and a stationary Gaussian fitted to `STORED` of it, as
            `difference-field` does.
        held_out: (N, C, H, W).
    """
    average = torch.stack([part.double().mean(0) * len(part) for part in train.split(256)]).sum(0) / len(train)
    generator, field = torch.Generator().manual_seed(0), None
    if held_out.shape[2] * held_out.shape[3] <= MOST:
        field = GaussianField.fit(train[:STORED])
    found: dict[str, dict[str, float]] = {}
    for name in PAPER_MASKS:
        known = mask_batch(name, 1, *held_out.shape[2:], generator=generator)[0]
        fills = {
            "mean colour of the known": (held_out * known).sum((2, 3), keepdim=True) / known.sum(),
            "smooth fill (Laplace)": laplace_fill(held_out, known),
            "mean training picture": average.to(held_out),
            "circuit": circuit_mean(circuit, codebook, held_out, known),
        }
        if field is not None:
            fills["stationary Gaussian"] = circuit_mean(field.circuit(), field, held_out, known)
        for method, fill in fills.items():
            error = hidden_mse(torch.where(known, held_out, fill), held_out, known[None]).mean()
            found.setdefault(method, {})[name] = round(float(error), 4)
    print(f"hidden-pixel MSE of {len(held_out)} held-out pictures:")
    print(pd.DataFrame(found).T.to_string(), flush=True)
    return found


def laplace_fill(images: Tensor, known: Tensor) -> Tensor:
    """The smoothest filling: each hidden pixel is the mean of its neighbours, (N, C, H, W).

    Args:
        images: (N, C, H, W).
        known: (1, H, W) bool, of all images.
    """
    inside, outside = ~known.numpy().ravel(), known.numpy().ravel()
    laplacian = LaplacianNd(tuple(known.shape[1:]), boundary_conditions="neumann", dtype=float).tosparse().tocsr()
    values = images.flatten(2).permute(2, 0, 1).flatten(1).double().numpy()  # (H W, N C)
    values[inside] = splu(laplacian[inside][:, inside].tocsc()).solve(-laplacian[inside][:, outside] @ values[outside])
    return torch.from_numpy(values).view(inside.size, *images.shape[:2]).permute(1, 2, 0).view_as(images).to(images)


def one_gaussian_per_patch(train: Pictures, test: Pictures, patch: int) -> float:
    """Mean log density of test images when each patch is one Gaussian with a full covariance, independent of others."""

    def points(images: Pictures) -> Iterator[Tensor]:
        """(D, n, P), some images after the others."""
        return (to_patches(part, patch).double().permute(1, 0, 2) for part in images.split(256))

    mean = torch.stack([x.sum(1, keepdim=True) for x in points(train)]).sum(0) / len(train)
    D, _, P = mean.shape
    covariance = torch.zeros(D, P, P, dtype=torch.float64)
    for x in points(train):
        covariance += (x - mean).mT @ (x - mean) / len(train)
    factor = torch.linalg.cholesky(covariance + 1e-5 * torch.eye(P, dtype=torch.float64))
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum()
    squares = (torch.linalg.solve_triangular(factor, (x - mean).mT, upper=False).square().sum() for x in points(test))
    return float(-0.5 * (sum(squares) / len(test) + log_det + D * P * math.log(2 * math.pi)))
