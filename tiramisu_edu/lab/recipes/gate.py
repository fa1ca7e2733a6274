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
from ...steering.controls.kernel import KernelCodebook
from ...steering.field import GaussianField
from ...steering.patches import PatchCodebook, to_patches
from ..evaluation.comparison import circuit_mean
from ..evaluation.metrics import hidden_mse
from ..worlds.stored import Pictures

MOST = 64 * 64  # pixels of a picture that the Gaussians can hold
MATRICES = 12  # of all pixels by all pixels, in float64, that it has at once: as measured, with room to spare
RIDGES = (1e-3, 0.01, 0.1)  # variances added to the full Gaussian's
BANDWIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # variances of the kernel


def gate(circuit: Circuit, codebook: PatchCodebook, train: Pictures, held_out: Tensor) -> dict[str, dict[str, float]]:
    """Method -> mask -> mean squared error of the hidden pixels; printed too.

    The kernel stores as many pictures as have the numbers of the model. It and the full Gaussian have a constant that
    nothing derives: the best of several under each mask counts, on the held-out pictures themselves, in their favour.

    Args:
        circuit, codebook: the model.
        train: its mean picture is one of the rivals; a stationary and a full Gaussian are fitted to `STORED` of it.
        held_out: (N, C, H, W).
    """
    numbers = circuit.graph.num_parameters + sum(t.numel() for t in vars(codebook).values() if isinstance(t, Tensor))
    stored = train[: max(1, numbers // train[:1].numel())]
    kernels = [KernelCodebook(stored, variance) for variance in BANDWIDTHS]
    average = torch.stack([part.double().mean(0) * len(part) for part in train.split(256)]).sum(0) / len(train)
    generator, is_small = torch.Generator().manual_seed(0), held_out.shape[2] * held_out.shape[3] <= MOST
    field = GaussianField.fit(train[:STORED]) if is_small else None
    found: dict[str, dict[str, float]] = {}
    for name in PAPER_MASKS:
        known = mask_batch(name, 1, *held_out.shape[2:], generator=generator)[0]
        fills = {
            "mean colour of the known": [(held_out * known).sum((2, 3), keepdim=True) / known.sum()],
            "smooth fill (Laplace)": [laplace_fill(held_out, known)],
            "mean training picture": [average.to(held_out)],
            "circuit": [circuit_mean(circuit, codebook, held_out, known)],
            f"kernel of {len(stored)} pictures": [circuit_mean(k.circuit(), k, held_out, known) for k in kernels],
        }
        if field is not None:
            fills["full Gaussian"] = full_gaussian(train[:STORED], held_out, known)
            fills["stationary Gaussian"] = [circuit_mean(field.circuit(), field, held_out, known)]
        for method, tries in fills.items():
            filled = (torch.where(known, held_out, fill) for fill in tries)
            error = min(float(hidden_mse(fill, held_out, known[None]).mean()) for fill in filled)
            found.setdefault(method, {})[name] = round(error, 4)
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


def full_gaussian(train: Tensor, images: Tensor, known: Tensor) -> list[Tensor]:
    """The mean of the hidden pixels under one Gaussian with the covariance S of the training pictures, for each of
    `RIDGES`.

        mu_h + S_hk (S_kk + ridge I)^-1 (x_k - mu_k) = mu_h + X_h^T (X_k X_k^T + n ridge I)^-1 X_k (x_k - mu_k)

    with the n pictures minus mu as rows of X: systems of n pictures, not of k pixels.

    Args:
        train: (n, C, H, W).
        images: (N, C, H, W).
        known: (1, H, W) bool, of all images.
    """
    rows, seen = train.flatten(1).double(), known.expand_as(images[0]).flatten()
    mean = rows.mean(0)
    X, x = rows - mean, (images.flatten(1).double() - mean)[:, seen]
    gram, towards, n = X[:, seen] @ X[:, seen].mT, X[:, seen] @ x.mT, len(X)
    solved = (torch.linalg.solve(gram + n * ridge * torch.eye(n, dtype=gram.dtype), towards) for ridge in RIDGES)
    return [(mean + weights.mT @ X).view_as(images).to(images) for weights in solved]


def one_gaussian_per_patch(train: Pictures, test: Pictures, patch: int) -> float:
    """Mean log density of test images when each patch is one Gaussian with a full covariance, independent of others."""

    def points(images: Pictures) -> Iterator[Tensor]:
        """(D, n, P), some images after the others."""
        return (to_patches(part, patch).double().permute(1, 0, 2) for part in images.split(256))

    mean = torch.stack([x.sum(1, keepdim=True) for x in points(train)]).sum(0) / len(train)
    D, _, P = mean.shape
    covariance = torch.zeros(D, P, P, dtype=torch.float64)
    for x in points(train):
        covariance.baddbmm_((x - mean).mT, x - mean, alpha=1 / len(train))
    covariance.diagonal(dim1=1, dim2=2).add_(1e-5)
    factor = torch.linalg.cholesky(covariance)
    del covariance
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum()
    squares = (torch.linalg.solve_triangular(factor, (x - mean).mT, upper=False).square().sum() for x in points(test))
    return float(-0.5 * (sum(squares) / len(test) + log_det + D * P * math.log(2 * math.pi)))
