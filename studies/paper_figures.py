"""The paper's Figures 1 and 4 in miniature, from an evaluation's cells: a film of one repair, and the guided fraction.

    python -m studies.paper_figures --worlds faces --methods replacement,replacement+difference@0.1 --steps 12 ...

The options are those of `tiramisu-edu evaluate`. Cells that it left in the folder `--out` are read, the others are run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from studies.common import of_cells
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.inpainting import InpaintResult, inpaint
from tiramisu_edu.lab.commands.evaluate import Options
from tiramisu_edu.lab.evaluation import compute, sets, tables
from tiramisu_edu.lab.evaluation.cells import CellResult, Method, cell_cases
from tiramisu_edu.lab.evaluation.comparison import Cases, generators_for
from tiramisu_edu.lab.evaluation.compute import draw_line
from tiramisu_edu.lab.evaluation.measures import MEASURES, chosen_measure
from tiramisu_edu.lab.evaluation.sheet import damaged, save_sheet
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.world import World

FRAMES = 8


def draw(options: Options, done: list[CellResult], worlds: Mapping[str, World]) -> None:
    """A film of each world's first steered cell, and the guided fraction where a method states one."""
    for result in first_steered(done):
        cell, world = result.cell, worlds[result.cell.world]
        case, path = next(cell_cases(world, cell).split(1)), options.out / f"film_{world.label}.png"
        print(f"picture: {save_film(path, world, case, cell.method, cell.steps, seed=options.seed)}")
    if "@" in "".join(options.methods):
        measure = chosen_measure(options.measure, worlds.values())
        frame = tables.of_samplers(tables.per_image(sets.with_energy(done, worlds)))
        found = {name: compute.points(frame, name, measure) for name in worlds}
        print(f"picture: {plot_guided_fraction(options.out / 'guided_fraction.png', found, measure)}")


def first_steered(done: Sequence[CellResult]) -> list[CellResult]:
    """The first result of a steered method in each world."""
    steered = [result for result in done if result.cell.method.guide != "none"]
    return list({result.cell.world: result for result in reversed(steered)}.values())


def save_film(path: str | Path, world: World, case: Cases, method: Method, steps: int, *, seed: int = 0) -> Path:
    """Write a PNG: one repair by a steered method above the same repair by its base, from the noise to the picture.

    Args:
        path: the PNG.
        world: its denoiser and circuit are on the CPU.
        case: one damaged picture.
        method: a steered one.
        steps: denoising steps T.
        seed: of the noise, the same for both.
    """
    results = [
        inpaint(
            world,
            case.images,
            case.known,
            sampler=one.sampler,
            guide=one.guide,
            guided_fraction=one.fraction,
            num_inference_steps=steps,
            generator=generators_for(case, seed),
            record=True,
        )
        for one in (method, method.base)
    ]
    steered, base = results
    blank = torch.ones_like(case.images)
    rows = {
        f"{method.sampler}\n+ {method.guide}\nx_t": (case.images, steered, "x_t", blank),
        "denoiser\nE[x_0 | x_t]": (damaged(case.images, case.known), steered, "denoiser", blank),
        "circuit\nE[x_0 | x_t, known]": (blank, steered, "circuit", blank),
        "steered\nx_0": (blank, steered, "guided", steered.images),
        f"{method.base}\nx_t": (blank, base, "x_t", blank),
        "its denoiser": (blank, base, "denoiser", base.images),
    }
    title = f"{world.label}, {steps} steps, seed {seed}: truth and what is given, then step by step, then the result"
    return save_sheet(path, {label: _row(*row) for label, row in rows.items()}, title)


def _row(first: Tensor, result: InpaintResult, what: str, last: Tensor) -> Tensor:
    """(10, 3, H, W): a picture, eight evenly spread steps, a picture; white where there is nothing to show."""
    chosen = torch.linspace(0, len(result.trajectory) - 1, FRAMES).round().long().tolist()
    frames = [getattr(result.trajectory[i], what) for i in chosen]
    pictures = [first, *(torch.ones_like(last) if frame is None else frame for frame in frames), last]
    return torch.cat([picture.expand(-1, 3, -1, -1) for picture in pictures])


def plot_guided_fraction(path: str | Path, found: dict[str, pd.DataFrame], measure: str) -> Path:
    """Quality and time over the base's time against the share of guided steps (the paper's Figure 4).

    Args:
        found: world -> its `points`; those of the first number of steps are drawn.

    Raises:
        TiramisuError: the results hold no method with a stated fraction, or not its base.
    """
    figure, panels = new_figure(10.4, 3.9 * len(found), len(found), 2, squeeze=False)
    for row, (world, points) in zip(panels, found.items()):
        of_first_steps = points[points["steps"] == points["steps"].iloc[0]].set_index("method")
        methods = [Method.parse(method) for method in of_first_steps.index]
        families = list(dict.fromkeys(Method(m.sampler, m.guide) for m in methods if m.fraction is not None))
        if not families or any(family.base not in methods for family in families):
            raise TiramisuError("the fraction figure needs methods such as copaint+difference@0.2, and copaint itself")
        for number, family in enumerate(families):
            own = [m for m in methods if m.fraction is not None and Method(m.sampler, m.guide) == family]
            shares = {str(m): m.fraction or 0.0 for m in (family.base, *own)}
            line = of_first_steps.loc[sorted(shares, key=shares.__getitem__)]
            x = [shares[method] for method in line.index]
            draw_line(row[0], x, line, family, number)
            row[1].plot(x, line["seconds"] / line["seconds"].iloc[0], **series_style(number))
        row[0].set(ylabel=f"{world}: {MEASURES[measure].title}", xlabel="share of the steps that are guided")
        row[1].set(ylabel="time over the base sampler's", xlabel="share of the steps that are guided")
    return save_figure(figure, path, legend=panels[0, 0])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    of_cells(draw, "paper_figures", __doc__, arguments)


if __name__ == "__main__":
    main()
