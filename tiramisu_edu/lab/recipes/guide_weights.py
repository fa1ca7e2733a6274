"""The circuit's weight in a guide: least squares on validation images, one weight per noise level and variance.

python -m tiramisu_edu.lab.recipes.guide_weights digits                  # of the learned guide
python -m tiramisu_edu.lab.recipes.guide_weights digits --of difference  # of the calibrated difference guide
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...checkpoint import Checkpoint
from ...errors import TiramisuError
from ...files import tensor_digest
from ...masks import mask_batch
from ...names import PAPER_MASKS, WORLDS
from ...steering.beyond.difference import WeightTable
from ...steering.evidence import Moments, Observation
from ...world import TABLES, World
from ..commands.options import Parser, WorldOptions, add_options, option, read_options
from ..datafiles import write_checksums
from ..zoo import world_of
from .training import checkpoint_of


class Fit(NamedTuple):
    """What is fitted.

    Attributes:
        difference: whether d is the difference guide's direction.
        num_levels: noise levels, evenly spread over the denoiser's times.
        num_bins: bins of the circuit's variance.
    """

    difference: bool = False
    num_levels: int = 12
    num_bins: int = 8


# The difference has one weight per noise level, a curve that can be drawn: `python -m studies.strength`.
FITS = {"learned": Fit(), "difference": Fit(difference=True, num_levels=24, num_bins=1)}
BATCH = 128  # images at once


@torch.no_grad()
def fit_weights(
    world: World,
    images: Tensor,
    known: Tensor,
    fit: Fit,
    generator: torch.Generator,
    checkpoint: str | Path | None = None,
) -> WeightTable:
    """The weight of the circuit that best restores the hidden pixels of noised images.

        w = sum d (x_0 - x_DM) / sum d^2      over the hidden pixels of a bin, clipped to [0, 1]

    where x_DM + w d is the guided image: d = x_PC - x_DM, or d = E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t]. The noisy
    images are the forward process's own, so w is optimal at the first guided step only.
    Bins end at quantiles of the circuit's variance. A bin of few pixels is drawn to its level's common weight.

    Args:
        world: its denoiser, circuit and codebook.
        images: (N, C, H, W) in [-1, 1] that neither model was trained on.
        known: (N, 1, H, W) bool, a mask for each.
        fit: see `Fit`.
        generator: of the noise.
        checkpoint: file to go on from, written between levels.
    """
    denoiser, circuit, codebook = world.denoiser, world.circuit, world.codebook
    schedule = denoiser.schedule.respace(fit.num_levels)

    def posterior(seen: Observation) -> Moments:
        return codebook.moments(circuit.posterior_marginals(codebook.log_weights(seen)), seen)

    def level(i: int) -> Tensor:
        pieces = []
        for x_0, seen in zip(images.split(BATCH), known.split(BATCH)):
            x_t = schedule.add_noise(x_0, i, torch.randn(x_0.shape, generator=generator).to(x_0))
            x_dm = denoiser(x_t, int(schedule.timesteps[i])).x_0
            observation = Observation(x_t, float(schedule.alpha_bar[i]), torch.where(seen, x_0, 0.0), seen)
            mean, variance = posterior(observation)
            before = posterior(observation.without_known())[0] if fit.difference else x_dm
            hidden = ~seen.expand_as(x_0)
            pieces.append(torch.stack([variance[hidden], (mean - before)[hidden], (x_0 - x_dm)[hidden]]))
        return torch.cat(pieces, 1).cpu()  # (3, hidden pixels)

    data = {"images": images, "known": known, **denoiser.state_dict(), **circuit.state_dict()}
    request = {"data": tensor_digest(data), "levels": fit.num_levels, "difference": fit.difference}
    jobs = [partial(level, i) for i in range(fit.num_levels)]
    found = Checkpoint(checkpoint, request).results(jobs, generator, "noise levels")
    collected = [each.double() for each in found]
    variances = torch.cat([each[0] for each in collected])
    ranks = (torch.arange(1, fit.num_bins) / fit.num_bins * (len(variances) - 1)).long()
    edges = variances.sort().values[ranks]
    weights = torch.stack([_least_squares(each, edges) for each in collected])
    # Index 0 is the cleanest level; the table's rows rise with the signal.
    return WeightTable(schedule.log_snr.flip(0).float(), edges.float(), weights.flip(0).float())


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


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of this command."""

    world: str = option(help=f"one of {', '.join(WORLDS)}, or folder:PATH")
    of: str = option("learned", "the guide that reads the weights", choices=tuple(TABLES))
    images: int = option(256, "validation images, each under a random mask")
    seed: int = option(0, "of masks and noise")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit a world's weights on its validation images and write them beside its models."""
    parser = Parser(prog="python -m tiramisu_edu.lab.recipes.guide_weights", description=__doc__)
    add_options(parser, Options)
    try:
        fit_world(read_options(Options, parser.parse_args(arguments)))
    except TiramisuError as error:
        sys.exit(str(error))
    return 0


def fit_world(options: Options) -> None:
    """Fit, write and print the weights of a world."""
    world = world_of(options)
    generator = torch.Generator().manual_seed(options.seed)
    images = world.images("validation", options.images)[0].to(world.device)
    size = images.shape[-2:]
    known = [mask_batch(PAPER_MASKS[n % len(PAPER_MASKS)], 1, *size, generator=generator) for n in range(len(images))]
    masks = torch.cat(known).to(world.device)
    path = world.tuned_folder / TABLES[options.of]
    kept = checkpoint_of(path)
    table = fit_weights(world, images, masks, FITS[options.of], generator, kept)
    made_from = world.made_from("denoiser", "circuit", *(["codebook"] if "codebook" in world.parts else []))
    table.save(path, images=len(images), seed=options.seed, made_from=made_from)
    Checkpoint(kept, {}).remove()
    if world.listed:
        write_checksums()
    print(f"{path}: weight of the circuit, rows from pure noise to clean, columns from certain to uncertain")
    print("\n".join(" ".join(f"{w:.2f}" for w in row) for row in table.weights.tolist()))


if __name__ == "__main__":
    raise SystemExit(main())
