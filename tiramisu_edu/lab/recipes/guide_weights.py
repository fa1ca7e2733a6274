"""How far to trust the circuit, learned: least squares on validation images, one weight per noise level and variance.

python -m tiramisu_edu.lab.recipes.guide_weights digits                  # of the learned guide
python -m tiramisu_edu.lab.recipes.guide_weights digits --of difference  # of the calibrated difference guide
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...checkpoint import Checkpoint
from ...circuits.circuit import Circuit
from ...datafiles import data_path, write_checksums
from ...diffusion.denoiser import Denoiser
from ...files import tensor_digest
from ...masks import mask_batch
from ...methods import TABLES
from ...names import PAPER_MASKS
from ...steering.beyond.difference import WeightTable
from ...steering.evidence import Codebook, Moments, Observation
from ..zoo import load
from .parts import checkpoint_of

# The difference has one weight per noise level, a curve that can be drawn: `tiramisu-edu show strength`.
FITS: dict[str, dict[str, Any]] = {"learned": {}, "difference": {"difference": True, "num_levels": 24, "num_bins": 1}}


@torch.no_grad()
def fit_weights(
    denoiser: Denoiser,
    circuit: Circuit,
    codebook: Codebook,
    images: Tensor,
    known: Tensor,
    *,
    generator: torch.Generator,
    difference: bool = False,
    num_levels: int = 12,
    num_bins: int = 8,
    batch: int = 128,
    checkpoint: str | Path | None = None,
) -> WeightTable:
    """The weight of the circuit that best restores the hidden pixels of noised images.

        w = sum d (x_0 - x_DM) / sum d^2      over the hidden pixels of a bin, clipped to [0, 1]

    where x_DM + w d is the guided image: d = x_PC - x_DM, or d = E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t]. The noisy
    images are the forward process's own, so w is the best for a sampler that has made no mistakes yet.
    Levels are evenly spread over the denoiser's times; bins are the quantiles of the circuit's variance. A bin of few
    pixels is drawn to its level's common weight.

    Args:
        images: (N, C, H, W) in [-1, 1] that neither model was trained on.
        known: (N, 1, H, W) bool, a mask for each.
        generator: of the noise.
        difference: whether d is the difference guide's direction.
        checkpoint: file to go on from, written between levels.
    """
    schedule = denoiser.schedule.respace(num_levels)

    def level(i: int) -> Tensor:
        pieces = []
        for x_0, seen in zip(images.split(batch), known.split(batch)):
            x_t = schedule.add_noise(x_0, i, torch.randn(x_0.shape, generator=generator).to(x_0))
            x_dm = denoiser(x_t, int(schedule.timesteps[i])).x_0
            observation = Observation(x_t, float(schedule.alpha_bar[i]), torch.where(seen, x_0, 0.0), seen)
            mean, variance = _posterior(circuit, codebook, observation)
            before = _posterior(circuit, codebook, observation.without_known())[0] if difference else x_dm
            hidden = ~seen.expand_as(x_0)
            pieces.append(torch.stack([variance[hidden], (mean - before)[hidden], (x_0 - x_dm)[hidden]]))
        return torch.cat(pieces, 1)  # (3, hidden pixels)

    data = {"images": images, "known": known, **denoiser.state_dict(), **circuit.state_dict()}
    request = {"data": tensor_digest(data), "levels": num_levels, "difference": difference}
    found = Checkpoint(checkpoint, request).results(
        [partial(level, i) for i in range(num_levels)], generator, "noise levels"
    )
    collected = [each.double() for each in found]
    variances = torch.cat([each[0] for each in collected])
    ranks = (torch.arange(1, num_bins) / num_bins * (len(variances) - 1)).long()
    edges = variances.sort().values[ranks]
    weights = torch.stack([_least_squares(each, edges) for each in collected])
    # Index 0 is the cleanest level; the table's rows rise with the signal.
    return WeightTable(schedule.log_snr.flip(0).float(), edges.float(), weights.flip(0).float())


def _posterior(circuit: Circuit, codebook: Codebook, seen: Observation) -> Moments:
    return codebook.moments(circuit.posterior_marginals(codebook.log_weights(seen)), seen)


def _least_squares(level: Tensor, edges: Tensor) -> Tensor:
    """(V,): the regression of target on direction in each bin of the variance, without intercept; level (3, N)."""
    variance, direction, target = level
    column = torch.bucketize(variance, edges)
    bins = torch.zeros(len(edges) + 1, dtype=variance.dtype, device=variance.device)
    products = bins.index_add(0, column, direction * target)
    squares = bins.index_add(0, column, direction**2)
    common = products.sum() / squares.sum().clamp_min(1e-12)
    prior = 1e-3 * squares.sum() + 1e-12
    return ((products + prior * common) / (squares + prior)).clamp(0, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit a world's weights on its validation images and write them beside its models."""
    parser = argparse.ArgumentParser(prog="python -m tiramisu_edu.lab.recipes.guide_weights", description=__doc__)
    parser.add_argument("world")
    parser.add_argument("--of", choices=TABLES, default="learned", help="the guide that reads the weights")
    parser.add_argument("--images", type=int, default=256, help="validation images, each under a random mask")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    world = load(options.world)
    generator = torch.Generator().manual_seed(options.seed)
    images = world.images("validation")[0][: options.images]
    size = images.shape[-2:]
    known = [mask_batch(PAPER_MASKS[n % len(PAPER_MASKS)], 1, *size, generator=generator) for n in range(len(images))]
    models = world.denoiser, world.circuit, world.codebook
    path = data_path(f"{options.world}/{TABLES[options.of]}")
    kept = checkpoint_of(path)
    table = fit_weights(*models, images, torch.cat(known), generator=generator, checkpoint=kept, **FITS[options.of])
    table.save(path, images=len(images), seed=options.seed)
    Checkpoint(kept, {}).remove()
    write_checksums()
    print(f"{path}: weight of the circuit, rows from pure noise to clean, columns from certain to uncertain")
    print("\n".join(" ".join(f"{w:.2f}" for w in row) for row in table.weights.tolist()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
