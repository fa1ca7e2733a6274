"""The oracle: how much could any guide gain, and what share of it does the circuit take?

python -m studies.oracle --worlds faces,rooms,digits

Faces and rooms have listed factors. The oracle draws the hidden factors of a picture many times from their exact
conditional, in the picture's own place, light and shades, and gives E[x_0 | x_t, known] over these draws in place of
the network's prediction: at every step, or in the first half of the steps, after which the network paints alone. It is
told more than the known pixels tell, so its gain bounds that of any guide from above.

Digits have an exact denoiser: that of their circuit, for pictures drawn from the circuit. There the difference guide is
the oracle, and what is left to exact draws is the sampler's own error. (It cannot be differentiated, so not DPS.)

    share = (base - circuit) / (base - oracle)      of the energy score

Whole pictures are drawn for all intervals. Exact draws have no base and stand beside plain replacement.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from studies.common import parser, run, write_page
from tiramisu_edu.course.exact_denoiser import circuit_denoiser
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.lab.evaluation.comparison import Cases, circuit_samples, run_method
from tiramisu_edu.lab.evaluation.measures import MEASURES, energies
from tiramisu_edu.lab.evaluation.sanity import exact_draws
from tiramisu_edu.lab.evaluation.significance import Interval, interval, resampled
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask_batch
from tiramisu_edu.steering.guide import Guide
from tiramisu_edu.world import World

MASKS, STEPS, SEEDS, DRAWS = ("left", "expand1", "vstrip"), 12, (0, 1), 128
BASES = ("replacement", "ddnm", "dps")


@dataclass
class OracleGuide(Guide):
    """E[x_0 | x_t, known] over pictures that were drawn given the known pixels, in place of the network's prediction.

        x_0 = sum_m w_m x^m,   w_m proportional to prod over hidden pixels of N(x_t; sqrt(a) x^m, 1 - a)

    Args:
        draws: x^m, (B, M, C, H, W), of the batch that is repaired.
    """

    draws: Tensor
    fraction: float = 1.0
    consistent_noise: bool = True

    def steer(self, step: Step) -> Tensor:
        x, a = self.draws, step.alpha_bar
        gaps = (step.x_t[:, None] - math.sqrt(a) * x).square() * ~step.known[:, None]
        w = torch.softmax(-gaps.flatten(2).sum(2) / (2 * (1 - a)), 1)
        self.circuit_mean = torch.where(step.known, step.image, torch.einsum("bm,bmchw->bchw", w, x))
        return self.circuit_mean


def first_cases(images: Tensor, labels: Tensor, mask: str) -> Cases:
    """All of these pictures under a mask."""
    known = mask_batch(mask, len(images), *images.shape[2:], generator=torch.Generator().manual_seed(0))
    return Cases(images, labels, known, torch.arange(len(images)))


def scores(world: World, cases: Cases, completions: list[Tensor]) -> pd.DataFrame:
    """A row per picture: the energy scores, of all seeds on average."""
    found = energies(world, torch.stack(completions), cases)
    return pd.DataFrame({name: values.mean(0).numpy() for name, values in found.items()})


def run_guide(world: World, cases: Cases, base: str, guide: Any) -> pd.DataFrame:
    """The scores of a sampler with a guide."""
    task: dict[str, Any] = {"sampler": base, "guide": guide, "num_inference_steps": STEPS, "batch": len(cases.images)}
    done = [run_method(world, cases, seed=s, device=torch.device("cpu"), **task).images for s in SEEDS]
    return scores(world, cases, done)


def of_listed_factors(world: World, count: int) -> dict[str, pd.DataFrame]:
    """Row of the table -> the scores of all pictures and masks, for a world with listed factors."""
    found: dict[str, list[pd.DataFrame]] = {}
    for mask in MASKS:
        cases, generator = first_cases(*world.images("test", count), mask), torch.Generator().manual_seed(0)
        drawn = [exact_draws(world.scene, cases, "test", generator) for _ in range(DRAWS)]
        drawn = [torch.where(cases.known, cases.images, x) for x in drawn]
        draws = torch.stack(drawn, 1)
        guides: dict[str, Any] = {"": "none", " + circuit": "difference"}
        guides |= {" + oracle, first half": OracleGuide(draws, 0.5), " + oracle": OracleGuide(draws)}
        for base in BASES:
            for name, guide in guides.items():
                found.setdefault(f"{base}{name}", []).append(run_guide(world, cases, base, guide))
        found.setdefault("exact draws", []).append(scores(world, cases, drawn[: len(SEEDS)]))
    return {name: pd.concat(parts) for name, parts in found.items()}


def of_an_exact_denoiser(world: World, count: int) -> dict[str, pd.DataFrame]:
    """The same for pictures drawn from a world's circuit, and the circuit as denoiser."""
    codes = world.circuit.sample(count, generator=torch.Generator().manual_seed(1_000))  # not the seed of any draw
    images = world.codebook.image(codes, world.images("test", 1)[0].shape)
    exact, found = copy.copy(world), dict[str, list[pd.DataFrame]]()
    exact.__dict__["denoiser"] = circuit_denoiser(world.circuit, world.codebook)
    for mask in MASKS:
        cases = first_cases(images, torch.zeros(count), mask)
        for base in BASES[:2]:
            for name, guide in {"": "none", " + oracle": "difference"}.items():
                found.setdefault(f"{base}{name}", []).append(run_guide(exact, cases, base, guide))
        drawn = [circuit_samples(world, images, cases.known, seed=s) for s in SEEDS]
        found.setdefault("exact draws", []).append(scores(world, cases, drawn))
    return {name: pd.concat(parts) for name, parts in found.items()}


def share(base: Tensor, steered: Tensor, oracle: Tensor) -> Interval:
    """Of the oracle's gain, by pictures (N,): sum (base - steered) / sum (base - oracle)."""

    def ratio(b: Any, s: Any, o: Any, axis: int) -> Any:
        return (b.sum(axis) - s.sum(axis)) / (b.sum(axis) - o.sum(axis))

    b, s, o = (values.numpy() for values in (base, steered, oracle))
    low, high = resampled(ratio, b, s, o)
    return Interval(float(ratio(b, s, o, axis=-1)), float(low), float(high))


def table(title: str, found: dict[str, pd.DataFrame]) -> Table:
    """A row per method: each score, what it differs from the base's, and what share of the oracle's gain that is."""
    rows = []
    for name, scored in found.items():
        first, _, guide = name.partition(" + ")
        base = first if first in BASES else BASES[0]
        row = [name]
        for score in scored:
            plain, own, oracle = (
                torch.tensor(found[key][score].groupby(level=0).mean().to_numpy())
                for key in (base, name, f"{base} + oracle")
            )
            row += [f"{own.mean():.4f}", "–" if name == base else f"{interval(own - plain):+.4f}"]
            row += [f"{share(plain, own, oracle):.2f}" if guide not in ("", "oracle") else "–"]
        rows.append(row)
    columns = [text for score in scored for text in (MEASURES[score].title, "minus base [95 %]", "share [95 %]")]
    return Table(title, pd.DataFrame(rows, columns=["method", *columns]))


def study(options: argparse.Namespace) -> None:
    """A page for each world."""
    for name in options.worlds.split(","):
        world = load(name)
        listed = world.scene is not None
        found = (of_listed_factors if listed else of_an_exact_denoiser)(world, options.images)
        what = f"{DRAWS} exact draws a picture" if listed else "pictures of its circuit, whose denoiser is exact"
        title = f"{name}, {what}: {STEPS} steps, {options.images} pictures under {', '.join(MASKS)}, {len(SEEDS)} seeds"
        write_page(options.out / f"{name}.md", [table(title, found)])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    found = parser("oracle", __doc__, "docs/results/oracle", "faces, rooms, digits")
    found.add_argument("--images", type=int, default=32, help="pictures, at most 128")
    run(study, found.parse_args(arguments))


if __name__ == "__main__":
    main()
