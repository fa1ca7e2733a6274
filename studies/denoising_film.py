"""A moving picture of a steered repair: the noisy picture, the circuit's flows, and the predictions it steers with.

    python -m studies.denoising_film --out docs/images/denoising.gif

The right half of each picture is hidden. At every step the known pixels and the noisy picture are soft evidence on the
circuit, a hidden Chow-Liu tree with a latent for each patch. An edge of the tree is drawn by how far the evidence has
moved the flow through it: by KL(F(w) ‖ F(known)) in nats, where F(w) is the table of expected counts of the edge's two
latents under the evidence w of the step, and F(known) that under the known pixels alone. So an edge is thick where the
noisy picture tells the circuit something that the known pixels did not.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.collections import LineCollection
from PIL import Image
from torch import Tensor

from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.files import atomic_path
from tiramisu_edu.inpainting import Moment, inpaint
from tiramisu_edu.lab.evaluation.comparison import Cases, generators_for, make_cases
from tiramisu_edu.lab.evaluation.sheet import as_levels, damaged
from tiramisu_edu.lab.palette import new_figure
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.world import World

PANELS = ("noisy picture", "flows that moved", "circuit", "network", "steered")
FRAME_MS, LAST_MS = 280, 2600
COLOURS = 96


class Edge(NamedTuple):
    """An edge of the tree: from the latent of variable `parent` to that of `child`; `region` holds its table."""

    child: int
    parent: int
    region: int


def edges_of(circuit: Circuit) -> list[Edge]:
    """The edges of a hidden tree with one latent per variable."""
    regions = circuit.graph.regions
    sums = [index for index, region in enumerate(regions) if not region.is_input]
    below = {index: regions[index].partitions[0] for index in sums}
    variable = {index: next(regions[c].scope[0] for c in below[index] if regions[c].is_input) for index in sums}
    return [Edge(variable[c], variable[index], c) for index in sums for c in below[index] if c in variable]


def flows(circuit: Circuit, edges: Sequence[Edge], log_weights: Tensor) -> list[list[Tensor]]:
    """F of each edge, (K, K) and of sum 1, for each row of evidence: θ d log Z / dθ.

    Args:
        log_weights: (B, D, C).
    """
    rows = []
    for row in log_weights.split(1):
        with torch.enable_grad():
            slopes = torch.autograd.grad(circuit.log_partition(row).sum(), list(circuit.parameter_list))
        tables = [(theta * slope).detach() for theta, slope in zip(circuit.parameter_list, slopes)]
        owners = (circuit._owner(edge.region) for edge in edges)
        rows.append([tables[parameter][place] for parameter, place in owners])
    return rows


def moved(now: list[list[Tensor]], before: list[list[Tensor]]) -> Tensor:
    """KL(now ‖ before) of each edge's flows in nats, (B, edges)."""
    return torch.tensor(
        [
            [float(torch.special.xlogy(f, f / g.clamp_min(1e-30)).sum()) for f, g in zip(row, old)]
            for row, old in zip(now, before)
        ]
    ).clamp_min(0)


def frames(world: World, cases: Cases, *, steps: int, seed: int) -> list[Image.Image]:
    """A picture of every step, and the repair.

    Args:
        world: its circuit is a hidden tree over square patches.
        cases: one row of panels for each.
    """
    task: dict[str, Any] = {"sampler": "replacement", "guide": "difference", "num_inference_steps": steps}
    run = inpaint(world, cases.images, cases.known, generator=generators_for(cases, seed), record=True, **task)
    image = torch.where(cases.known, cases.images, 0.0)
    edges = edges_of(world.circuit)

    def flows_of(seen: Observation) -> list[list[Tensor]]:
        return flows(world.circuit, edges, world.codebook.log_weights(seen))

    known = flows_of(Observation(torch.zeros_like(image), 0.0, image, cases.known.expand_as(image)))
    seen = [Observation(moment.x_t, moment.alpha_bar, image, cases.known) for moment in run.trajectory]
    nats = [moved(flows_of(each), known) for each in seen]
    scale = float(torch.stack(nats).quantile(0.95))
    drawn = [
        _frame(cases, moment, edges, width / scale, f"step {number} of {steps}")
        for number, (moment, width) in enumerate(zip(run.trajectory, nats), 1)
    ]
    last = run.trajectory[-1]._replace(x_t=run.images, guided=run.images)
    return [*drawn, _frame(cases, last, edges, nats[-1] / scale, "the repair")]


def _frame(cases: Cases, moment: Moment, edges: Sequence[Edge], width: Tensor, title: str) -> Image.Image:
    """One picture; `width` (B, edges) is drawn from nothing at 0 to thick at 1 and above."""
    given = damaged(cases.images, cases.known)
    columns: list[Any] = [moment.x_t, given, moment.circuit, moment.denoiser, moment.guided]
    figure, rows = new_figure(7.6, 1.62 * len(given) + 0.32, len(given), len(columns), squeeze=False)
    side = round(max(max(edge.child, edge.parent) for edge in edges) ** 0.5 + 0.5)  # patches in a row
    patch = given.shape[-1] / side
    middle = {v: ((v % side + 0.5) * patch - 0.5, (v // side + 0.5) * patch - 0.5) for v in range(side * side)}
    for n, row in enumerate(rows):
        for axis, pictures, name in zip(row, columns, PANELS):
            axis.imshow(as_levels(pictures[n]).permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_axis_off()
            if n == 0:
                axis.set_title(name, fontsize=9)
        lines = [(middle[edge.child], middle[edge.parent]) for edge in edges]
        strength = width[n].clamp(0, 1).numpy()
        black = LineCollection(lines, colors="black", linewidths=5 * strength + 0.9, capstyle="round")
        white = LineCollection(lines, colors="#f0e442", linewidths=4 * strength + 0.2, capstyle="round")
        row[1].add_collection(black)
        row[1].add_collection(white)
    figure.suptitle(title, fontsize=9, x=0.995, ha="right")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return Image.open(stream).convert("RGB")


def save_gif(path: Path, pictures: Sequence[Image.Image]) -> Path:
    """Write the pictures as a GIF that repeats, with one palette for all, and stays at the last."""
    wide = Image.fromarray(
        np.concatenate([np.asarray(picture) for picture in pictures[:: max(1, len(pictures) // 6)]], axis=0)
    )
    palette = wide.quantize(COLOURS)
    first, *others = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    duration = [FRAME_MS] * len(others) + [LAST_MS]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished:
        first.save(
            unfinished, format="GIF", save_all=True, append_images=others, duration=duration, loop=0, optimize=True
        )
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m studies.denoising_film", description=(__doc__ or "").split("\n")[0]
    )
    command.add_argument("--world", default="faces", choices=("faces", "rooms"))
    command.add_argument("--mask", default="left", help="what is known")
    command.add_argument("--images", type=int, default=2, help="of the test split, chosen by the seed")
    command.add_argument("--steps", type=int, default=25)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--out", type=Path, default=Path("out/denoising.gif"))
    given = command.parse_args(arguments)
    world = load(given.world)
    cases = make_cases(world, [given.mask], given.images, seed=given.seed)
    path = save_gif(given.out, frames(world, cases, steps=given.steps, seed=given.seed))
    print(f"picture: {path}, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
