"""What the moving pictures of the site start from: circuits, rows of data, two factors and a film.

    python -m studies.moving                  # writes data.js and a film per mask into docs/static/moving

The page (docs/moving.md) computes everything else by itself, in plain JavaScript. `data.js` is one JSON object behind
an assignment, since a page that is opened as a file may not read JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studies.common import parser, run
from tiramisu_edu.circuits.nodes import Input, NodeGraph, Sum, children, parameters
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.course.drawing import layout
from tiramisu_edu.course.examples import naive_bayes
from tiramisu_edu.course.shapes import SHAPES, WEIGHTS
from tiramisu_edu.course.skyline import skyline_circuit
from tiramisu_edu.files import atomic_path, write_text
from tiramisu_edu.inpainting import Moment, inpaint
from tiramisu_edu.lab import palette
from tiramisu_edu.lab.evaluation.comparison import generators_for, make_cases
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.evidence import Observation, PixelCodebook
from tiramisu_edu.steering.mixture import AlphaSchedule, MixtureGuide, gaussian_on_grid
from tiramisu_edu.world import World

WEAR = 0.05  # share of flipped pixels: every picture is possible
MASKS = {"left": "the left half is known", "top": "the upper half is known", "expand1": "the middle is known"}
STEPS, FACE = 12, 1  # of the film, and which test picture
WORN = 48  # rows that EM learns from
STARTS = 3
ROWS = ("x_t", "denoiser", "circuit", "guided")  # of the film, in this order
COLOURS = {name: getattr(palette, name) for name in ["INK", "ORANGE", "SKY", "GREEN", "BLUE", "VERMILLION", "PURPLE"]}


def graph(circuit: NodeGraph, *, drawn: bool = False) -> dict[str, Any]:
    """The circuit as JSON: nodes with children before parents, and where each stands if it is `drawn`."""
    number = {n: k for k, n in enumerate(circuit.nodes)}
    place = layout(circuit)[0] if drawn else {}
    nodes = []
    for n in circuit.nodes:
        kind = "input" if isinstance(n, Input) else "sum" if isinstance(n, Sum) else "product"
        own: dict[str, Any] = {"kind": kind, "name": n.name}
        own |= {"at": [round(float(x), 2) for x in place[n]]} if drawn else {}
        own |= {"variable": n.variable} if isinstance(n, Input) else {"children": [number[c] for c in children(n)]}
        nodes.append(own | {"p": [float(p) for p in parameters(n)]})
    return {"nodes": nodes, "variables": circuit.num_variables}


def shapes_graph() -> ReferenceCircuit:
    """The worn shapes as scalar nodes."""
    bright = [[abs(int(bit) - WEAR) for bit in shape.replace(" ", "")] for shape in SHAPES.values()]
    return mixture_of(WEIGHTS, bright)


def mixture_of(weights: Sequence[float], bright: Sequence[Sequence[float]]) -> ReferenceCircuit:
    """A mixture whose part k has pixel i bright with probability `bright[k][i]`."""
    return naive_bayes(weights, [[[round(1 - p, 3), round(p, 3)] for p in row] for row in bright])


def em_start(seed: int) -> ReferenceCircuit:
    """A mixture of four parts over nine pixels, from chance."""
    bright = np.random.default_rng(seed).uniform(0.3, 0.7, (len(SHAPES), 9)).round(3)
    return mixture_of([1 / len(SHAPES)] * len(SHAPES), bright.tolist())


def film(world: World, mask: str, folder: Path) -> dict[str, Any]:
    """Write one repair, steered at every step, as a sheet of pictures: a column per step, a row per entry of `ROWS`.

    Two more columns hold what is given and the truth.

    Returns:
        The file's name, and per step the signal, alpha and the squared error of the hidden pixels.
    """
    case = list(make_cases(world, [mask], FACE + 1).split(1))[FACE]
    guide = MixtureGuide(world.circuit, world.codebook, fraction=1.0, draw=False)  # means, in place of draws
    task: dict[str, Any] = {"num_inference_steps": STEPS, "generator": generators_for(case, 0), "record": True}
    found = inpaint(world, case.images, case.known, sampler="replacement", guide=guide, **task)
    side = torch.arange(case.images.shape[-1])
    stripes = ((side[:, None] + side) % 6 < 3) * 0.5 + 0.3  # what is hidden is hatched
    given = torch.where(case.known, case.images, stripes)
    rows = [torch.cat([*(getattr(m, row)[0] for m in found.trajectory), given[0], case.images[0]], -1) for row in ROWS]
    name = f"film_{mask}.webp"
    pixels = ((torch.cat(rows, 1).clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    with atomic_path(folder / name) as unfinished:
        Image.fromarray(pixels).save(unfinished, format="WEBP", lossless=True, method=6)
    return {
        "file": name,
        "title": MASKS[mask],
        "signal": [round(m.alpha_bar, 3) for m in found.trajectory],
        "alpha": [round(AlphaSchedule()(k, STEPS), 3) for k in reversed(range(STEPS))],
        "error": {row: [_error(m, row, case.images, case.known) for m in found.trajectory] for row in ROWS[1:]},
    }


def _error(m: Moment, row: str, images: Tensor, known: Tensor) -> float:
    return round(float(hidden_mse(getattr(m, row), images, known)), 4)


def one_pixel(world: World) -> dict[str, Any]:
    """p_DM and p_PC of one hidden pixel of a digit, on its grey levels: where the two differ most, at a middle step."""
    case = make_cases(world, ["top"], 8)
    guide = MixtureGuide(world.circuit, world.codebook, fraction=1.0, draw=False)
    task: dict[str, Any] = {"num_inference_steps": 25, "generator": generators_for(case, 0), "record": True}
    m = inpaint(world, case.images, case.known, sampler="replacement", guide=guide, **task).trajectory[6]
    codebook, variance = world.codebook, world.schedule.respace(25).residual_variance
    assert isinstance(codebook, PixelCodebook) and variance is not None  # the digits are calibrated, on grey levels
    seen = Observation(m.x_t, m.alpha_bar, case.images, case.known)
    pc = world.circuit.posterior_marginals(codebook.log_weights(seen))
    dm = gaussian_on_grid(m.denoiser.flatten(1), float(variance[m.index]), codebook.levels).exp()
    apart = (dm - pc).abs().sum(-1) * ~case.known.expand_as(case.images).flatten(1)
    b, i = divmod(int(apart.argmax()), apart.shape[1])
    return {"dm": _rounded(dm[b, i]), "pc": _rounded(pc[b, i])}


def _rounded(p: Tensor) -> list[float]:
    return [float(f"{v:.6g}") for v in p.double() / p.double().sum()]


def page_data(folder: Path | None) -> dict[str, Any]:
    """All that the page starts from; without what needs trained models, the film and the pixel, if `folder` is None."""
    shapes = shapes_graph()
    data: dict[str, Any] = {
        "colours": COLOURS,
        "circuit": graph(skyline_circuit(2, 3, WEAR), drawn=True),
        "shapes": {**graph(shapes), "names": list(SHAPES), "bits": [bits.replace(" ", "") for bits in SHAPES.values()]},
        "noise": np.random.default_rng(4).normal(size=9).round(3).tolist(),
        "em": {
            "rows": shapes.sample(WORN, rng=np.random.default_rng(0)).tolist(),
            "starts": [graph(em_start(seed)) for seed in range(STARTS)],
        },
    }
    if folder is not None:
        data["film"] = [film(load("faces"), mask, folder) for mask in MASKS]
        data["pixel"] = one_pixel(load("digits"))
    return data


def write(asked: argparse.Namespace) -> None:
    """Write `data.js` and the films."""
    asked.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(page_data(asked.out), separators=(",", ":"))
    write_text(asked.out / "data.js", f"Moving.data = {text};\n")
    for path in [*sorted(asked.out.glob("*.webp")), asked.out / "data.js"]:
        print(f"{path}: {path.stat().st_size / 1000:.1f} kB")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run(write, parser("moving", __doc__, "docs/static/moving", "").parse_args(arguments))


if __name__ == "__main__":
    main()
