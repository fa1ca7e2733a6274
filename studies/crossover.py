"""Who predicts the hidden pixels better, denoiser or circuit, and at which noise level: why guidance comes early.

Noise is added to a picture whose known pixels are also given clean. The denoiser sees the noisy picture, the circuit
the noisy picture and the known pixels, exactly. Between the two lies a best linear mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.evaluation.comparison import Cases, make_cases
from tiramisu_edu.steering.evidence import Observation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tiramisu_edu.world import World


class Crossover(NamedTuple):
    """Mean squared errors on hidden pixels at each noise level, and what the best mixture is.

    time: (S,) t / T, 0 clean and 1 noise. denoiser, circuit, mixture: (S,) errors. weight: (S,) of the circuit in the
    best x_DM + w (x_PC - x_DM), by least squares on half of the images; the errors are those of the other half.
    """

    time: Tensor
    denoiser: Tensor
    circuit: Tensor
    mixture: Tensor
    weight: Tensor


@torch.no_grad()
def measure_crossover(
    world: World,
    *,
    masks: Sequence[str] = ("left", "expand1", "vstrip"),
    images: int = 128,
    levels: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Crossover:
    """Measure on test images.

    Args:
        world: denoiser and circuit on the CPU.
        masks: each image is seen under each.
        images: of the test split.
        levels: S noise levels, evenly spread over the schedule.
        seed: of image choice and noise.
        progress: show a progress bar.
    """
    cases = make_cases(world, masks, images, seed=seed)
    fit = cases.identity.unique(return_inverse=True)[1] % 2 == 0
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in tqdm(world.schedule.respace(levels).timesteps.tolist(), desc="noise levels", disable=not progress):
        noise = torch.randn(cases.images.shape, generator=generator)
        x_t = world.schedule.add_noise(cases.images, i, noise)
        dm, pc = _predictions(world, cases, x_t, i)
        hidden = (~cases.known).expand_as(dm)
        toward, wanted = (pc - dm) * hidden, (cases.images - dm) * hidden
        weight = float((toward * wanted)[fit].sum() / toward[fit].square().sum().clamp_min(1e-12))
        count = hidden[~fit].sum()
        errors = [
            float(((x - cases.images) * hidden)[~fit].square().sum() / count) for x in (dm, pc, dm + weight * (pc - dm))
        ]
        rows.append([i / (len(world.schedule) - 1), *errors, weight])
    return Crossover(*torch.tensor(rows, dtype=torch.float64).T)


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


def plot_crossover(path: str | Path, found: dict[str, Crossover]) -> Path:
    """Two panels per world: the three errors, and the circuit's weight in the best mixture, against time."""
    figure = _figure(9.4, 3.3 * len(found))
    for row, (name, c) in zip(figure.subplots(len(found), 2, squeeze=False), found.items()):
        lines = [("denoiser", c.denoiser, "#0072B2", "o"), ("circuit, exact", c.circuit, "#D55E00", "s")]
        for label, error, colour, marker in [*lines, ("best mixture", c.mixture, "#009E73", "D")]:
            row[0].plot(c.time, error, color=colour, marker=marker, markersize=4, label=label)
        row[0].set_yscale("log")
        row[0].set_ylabel(f"{name}: squared error of hidden pixels")
        row[0].legend(frameon=False)
        row[1].plot(c.time, c.weight, color="#009E73", marker="D", markersize=4)
        row[1].set_ylim(0, max(1.1, float(c.weight.max()) * 1.05))
        row[1].set_ylabel("weight of the circuit in the best mixture")
    return _finish(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(figure: Figure, path: str | Path) -> Path:
    for axis in figure.axes:
        axis.set_xlabel("time t / T: clean picture to noise")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return path
