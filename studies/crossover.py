"""Who predicts the hidden pixels better, denoiser or circuit, and at which noise level: why guidance comes early.

Noise is added to a picture whose known pixels are also given clean. The denoiser gets the noisy picture, the circuit
the noisy picture and the known pixels, exactly. Between the two lies a best linear mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from studies.common import parser, run
from studies.strength import TIME
from tiramisu_edu.lab.evaluation.comparison import Cases, make_cases
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.world import World


@torch.no_grad()
def measure_crossover(
    world: World,
    *,
    masks: Sequence[str] = ("left", "expand1", "vstrip"),
    images: int = 128,
    levels: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean squared errors on hidden pixels of test images at each noise level, and what the best mixture is.

    Args:
        world: denoiser and circuit on the CPU.
        masks: each image is damaged by each.
        images: of the test split.
        levels: noise levels, evenly spread over the schedule.
        seed: of image choice and noise.

    Returns: columns time (t / T, 0 clean and 1 noise); denoiser, circuit, mixture (errors); weight of the circuit in
        the best x_DM + w (x_PC - x_DM), by least squares on half of the images. Errors are those of the other half.
    """
    cases = make_cases(world, masks, images, seed=seed)
    fit = cases.identity.unique(return_inverse=True)[1] % 2 == 0
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in tqdm(world.schedule.respace(levels).timesteps.tolist(), desc=f"{world.name}: noise levels"):
        x_t = world.schedule.add_noise(cases.images, i, torch.randn(cases.images.shape, generator=generator))
        dm, pc = _predictions(world, cases, x_t, i)
        hidden = (~cases.known).expand_as(dm)
        toward, wanted = (pc - dm) * hidden, (cases.images - dm) * hidden
        weight = float((toward * wanted)[fit].sum() / toward[fit].square().sum().clamp_min(1e-12))
        guesses = (x[~fit] - cases.images[~fit] for x in (dm, pc, dm + weight * (pc - dm)))
        errors = [float(gap[hidden[~fit]].square().mean()) for gap in guesses]
        rows.append([i / (len(world.schedule) - 1), *errors, weight])
    return pd.DataFrame(rows, columns=["time", "denoiser", "circuit", "mixture", "weight"])


def _predictions(world: World, cases: Cases, x_t: Tensor, i: int) -> tuple[Tensor, Tensor]:
    """E_DM[x_0 | x_t] and E_PC[x_0 | x_t, known], both (B, C, H, W)."""
    alpha_bar = float(world.schedule.alpha_bar[i])
    dm, pc = [], []
    for part, noisy in zip(cases.split(128), x_t.split(128)):
        dm.append(world.denoiser(noisy, i).x_0)
        seen = Observation(noisy, alpha_bar, torch.where(part.known, part.images, 0.0), part.known)
        marginals = world.circuit.posterior_marginals(world.codebook.log_weights(seen))
        pc.append(world.codebook.moments(marginals, seen).mean.to(noisy))
    return torch.cat(dm), torch.cat(pc)


def plot_crossover(path: str | Path, found: dict[str, pd.DataFrame]) -> Path:
    """Two panels per world: the three errors, and the circuit's weight in the best mixture, against time."""
    figure, panels = new_figure(9.4, 3.3 * len(found), len(found), 2, squeeze=False)
    lines = {"denoiser": "denoiser", "circuit": "circuit, exact", "mixture": "best mixture"}
    for (errors, weights), (name, columns) in zip(panels, found.items()):
        for number, (column, label) in enumerate(lines.items()):
            errors.plot(columns["time"], columns[column], markersize=4, label=label, **series_style(number))
        errors.set(yscale="log", ylabel=f"{name}: squared error of hidden pixels", xlabel=TIME)
        errors.legend(frameon=False)
        weights.plot(columns["time"], columns["weight"], markersize=4, **series_style(2))
        weights.set(ylim=(0, max(1.1, columns["weight"].max() * 1.05)), xlabel=TIME)
        weights.set_ylabel("weight of the circuit in the best mixture")
    return save_figure(figure, path)


def study(options) -> None:
    """Print the numbers, and draw one picture of all worlds."""
    worlds = {name: load(name) for name in options.worlds.split(",")}
    found = {name: measure_crossover(world, seed=options.seed) for name, world in worlds.items()}
    print(pd.concat(found, names=["world", "level"]).to_string(float_format="{:.5f}".format))
    print(f"picture: {plot_crossover(options.out / 'crossover.png', found)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run(study, parser("crossover", __doc__, "docs/images", "digits, clothes, faces, rooms").parse_args(arguments))


if __name__ == "__main__":
    main()
