"""Clothes: which model knows what is hidden? Mean squared error of the hidden pixels, given the known ones alone.

python -m studies.clothes --source /usr/share/datasets/fashion-mnist

Bits per dimension are those of the 256 grey levels of the test split, under the circuit with leaves "exactly black, or
else a discretised Gaussian", refitted in closed form: half of all pixels are exactly black.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from studies.common import below_the_command, parser, run, write_page
from tiramisu_edu.circuits.circuit import Circuit, bits_per_dimension
from tiramisu_edu.circuits.learning import mean_log_likelihood
from tiramisu_edu.lab.evaluation.comparison import circuit_mean
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.lab.recipes.patch_circuit import PatchRows
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.worlds.clothes import NUM_LEVELS, Clothes
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask_batch
from tiramisu_edu.names import PAPER_MASKS
from tiramisu_edu.steering.controls.kernel import KernelCodebook
from tiramisu_edu.steering.field import GaussianField
from tiramisu_edu.steering.low_rank import LowRankCodebook
from tiramisu_edu.steering.patches import to_patches

Fill = Callable[[Tensor, Tensor], Tensor]
STORED, BANDWIDTHS = 4096, (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
OURS = "circuit, pooled with one Gaussian"
LEVEL = 2 / (NUM_LEVELS - 1)  # between two grey levels, in image units


def full_gaussian(train: Tensor) -> Fill:
    """The conditional mean of one Gaussian with a full covariance."""
    rows = train.flatten(1).double()
    mu, covariance = rows.mean(0), torch.cov(rows.T) + 1e-4 * torch.eye(rows.shape[1])

    def fill(images: Tensor, known: Tensor) -> Tensor:
        rows, found = images.flatten(1).double(), torch.empty(len(images), len(mu), dtype=torch.float64)
        masks, which = known.flatten(1).unique(dim=0, return_inverse=True)
        for number, k in enumerate(masks):
            gain = torch.linalg.solve(covariance[k][:, k], covariance[k])  # (known, all)
            found[which == number] = mu + (rows[which == number][:, k] - mu[k]) @ gain
        return found.view_as(images).float()

    return fill


def laplace_field(size: int) -> GaussianField:
    """The Gaussian whose conditional mean is the smoothest fill."""
    steps = 2 - 2 * torch.cos(math.pi * torch.arange(size, dtype=torch.float64) / size)
    variances = 1 / (steps[:, None] + steps).clamp_min(1e-6)
    return GaussianField(torch.zeros(1).double(), torch.ones(1, 1).double(), variances[None])


def tuned_kernel(train: Tensor, validation: Tensor, mask: str) -> KernelCodebook:
    """The kernel over stored pictures with the bandwidth of least error on validation pictures under a mask."""
    known, found = masks_of(mask, validation, seed=1), {}
    for variance in BANDWIDTHS:
        kernel = KernelCodebook(train[:STORED], variance)
        filled = circuit_mean(kernel.circuit(), kernel, validation, known)
        found[float(hidden_mse(filled, validation, known).mean())] = kernel
    return found[min(found)]


def masks_of(name: str, images: Tensor, seed: int) -> Tensor:
    """A mask for each picture, (N, 1, H, W)."""
    return mask_batch(name, len(images), *images.shape[2:], generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class SpikeLeaves:
    """Per patch position and code: the share of exactly black pixels, and a discretised Gaussian of the others.

    Args:
        black, means, deviations: (D, V, P).
        patch: side in pixels.
    """

    black: Tensor
    means: Tensor
    deviations: Tensor
    patch: int

    @classmethod
    def fit(cls, images: Tensor, marginals: Tensor, patch: int) -> SpikeLeaves:
        """In closed form from the posterior of the codes q (N, D, V); a sample's worth of the position's own added."""
        x, q = to_patches(images, patch).transpose(0, 1).double(), marginals.permute(1, 2, 0).double()
        lit = (x > -1).double()
        count, of_lit, share = q.sum(-1, keepdim=True), q @ lit, lit.mean(1, keepdim=True)
        own = (x * lit).sum(1, keepdim=True) / lit.sum(1, keepdim=True).clamp_min(1)
        means = (q @ (x * lit) + own) / (of_lit + 1)
        square = (q @ (x**2 * lit) + own**2 + 0.1) / (of_lit + 1)
        deviations = (square - means**2).clamp_min(LEVEL**2 / 12).sqrt()
        black = 1 - (of_lit + share) / (count + 1)
        return cls(black.clamp(1e-5, 1 - 1e-5), means, deviations, patch)

    def log_likelihoods(self, images: Tensor) -> Tensor:
        """log p(grey levels of the patch | v), (N, D, V)."""
        x = to_patches(images, self.patch).transpose(0, 1)[:, :, None].double()  # (D, N, 1, P)
        mu, s = self.means[:, None], self.deviations[:, None]
        high = torch.where(x > 1 - LEVEL / 2, math.inf, (x + LEVEL / 2 - mu) / s)
        low = torch.where(x < -1 + 1.5 * LEVEL, -math.inf, (x - LEVEL / 2 - mu) / s)
        upper = low > 0  # the tail that keeps its digits
        first, last = torch.where(upper, -high, low), torch.where(upper, -low, high)
        mass = (torch.special.ndtr(last) - torch.special.ndtr(first)).clamp_min(1e-12)
        log_p = torch.where(x > -1, (1 - self.black[:, None]).log() + mass.log(), self.black[:, None].log())
        return log_p.sum(-1).transpose(0, 1).float()


@dataclass(frozen=True)
class SpikeRows:
    """Pictures as rows of soft evidence, made batch by batch."""

    leaves: SpikeLeaves
    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: object, /) -> Tensor:
        rows = self.images[torch.as_tensor(index)].split(32)
        return torch.cat([self.leaves.log_likelihoods(part) for part in rows])


def spike_bits(circuit: Circuit, codebook: LowRankCodebook, train: Tensor, test: Tensor) -> tuple[float, int]:
    """Bits per dimension of grey levels, and bytes of circuit and leaves in 16 bit."""
    rows = PatchRows(codebook, train)
    marginals = torch.cat([circuit.posterior_marginals(rows[part]) for part in torch.arange(len(train)).split(512)])
    leaves = SpikeLeaves.fit(train, marginals, codebook.patch)
    nats = mean_log_likelihood(circuit, SpikeRows(leaves, test))
    bytes_ = 2 * (circuit.graph.num_parameters + 3 * leaves.means.numel())
    return bits_per_dimension(nats, test[0].numel()), bytes_


def errors(fills: Callable[[str], dict[str, Fill]], images: Tensor, seed: int) -> list[Table]:
    """Model x mask: the errors, and those of the rivals minus `OURS`, pictures being drawn for the intervals."""
    rows: dict[str, list[str]] = {}
    gaps: dict[str, list[str]] = {}
    for mask in PAPER_MASKS:
        known = masks_of(mask, images, seed)
        found = {n: hidden_mse(fill(images, known).clamp(-1, 1), images, known) for n, fill in fills(mask).items()}
        for name, own in found.items():
            rows.setdefault(name, []).append(f"{float(own.mean()):.4f}")
            if name != OURS:
                gaps.setdefault(name, []).append(f"{interval(own - found[OURS]):+.4f}")

    def table(title: str, texts: dict[str, list[str]]) -> Table:
        frame = pd.DataFrame.from_dict(texts, orient="index", columns=list(PAPER_MASKS))
        return Table(title, frame.rename_axis("model").reset_index())

    title = f"Hidden-pixel MSE of {len(images)} test pictures"
    return [table(title, rows), table(f"The same, minus that of the {OURS} [95 %]", gaps)]


def study(options: argparse.Namespace) -> None:
    """All tables."""
    clothes, world = Clothes(options.source), load("clothes")
    train = clothes.images("train", options.train)[0]
    validation, test = (clothes.images(split)[0] for split in ("validation", "test"))
    kernels = {mask: tuned_kernel(train, validation[:200], mask) for mask in PAPER_MASKS}
    circuit, pooled = world.circuit, world.codebook
    own = {name: tensor for name, tensor in vars(pooled).items() if name != "whole"}
    fields = {"smooth fill (Laplace)": laplace_field(28), "stationary Gaussian": GaussianField.fit(train)}
    fills: dict[str, Fill] = {
        "mean training picture": lambda images, known: train.mean(0).expand_as(images),
        **{name: partial(circuit_mean, field.circuit(), field) for name, field in fields.items()},
        f"one full Gaussian of {len(train)} pictures": full_gaussian(train),
        "circuit over patches": partial(circuit_mean, circuit, LowRankCodebook(**own)),
        OURS: partial(circuit_mean, circuit, pooled),
    }

    def fills_of(mask: str) -> dict[str, Fill]:
        kernel = kernels[mask]
        return fills | {f"kernel of {STORED} pictures": partial(circuit_mean, kernel.circuit(), kernel)}

    tables = errors(fills_of, test[: options.images], options.seed)
    bandwidths = {mask: [f"{kernel.variance:g}"] for mask, kernel in kernels.items()}
    tables.append(Table("Variance of the kernel, tuned on 200 validation pictures", pd.DataFrame(bandwidths)))
    if options.likelihood:
        bits, size = spike_bits(circuit, LowRankCodebook(**own), train, test)
        row = {"test pictures": f"{len(test)}", "bits per dimension": f"{bits:.3f}", "MB": f"{size / 1e6:.2f}"}
        tables.append(Table("Circuit with spike leaves", pd.DataFrame([row])))
    write_page(options.out, tables, below_the_command(__doc__))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the page."""
    found = parser("clothes", __doc__, "docs/results/clothes.md", worlds="")
    found.add_argument("--source", type=Path, help="a folder with all of Fashion-MNIST; default: the shipped pictures")
    found.add_argument("--train", type=int, default=16_384, help="pictures that the rivals learn from")
    found.add_argument("--images", type=int, default=500, help="test pictures of the table")
    found.add_argument("--likelihood", action="store_true", help="bits per dimension too")
    run(study, found.parse_args(arguments))


if __name__ == "__main__":
    main()
