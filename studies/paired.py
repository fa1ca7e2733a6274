"""Variants of methods side by side on validation pictures: the same pictures, masks and noise, two seeds.

python -m studies.paired digits --steps 12 --variants 'copaint{"backtrack":0.8,"carry":false}' copaint

A variant is `sampler` or `sampler+guide`, and may end in options of the sampler as JSON, under "guide" those of the
guide: `replacement+latent@0.2{"guide":{"samples":4}}`. Others are as tuned. Each is compared with the first of its
number of steps. Negative differences are better. The energy score rewards true draws.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from tiramisu_edu.lab.evaluation.cells import Method
from tiramisu_edu.lab.evaluation.comparison import Cases, Completed, make_cases, run_method
from tiramisu_edu.lab.evaluation.measures import MEASURES, energies
from tiramisu_edu.lab.evaluation.perceptual import perceptual_metric
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.names import WORLDS
from tiramisu_edu.world import World

SEEDS = (0, 1)


def complete(world: World, cases: Cases, variant: str, steps: int) -> list[Completed]:
    """The cases completed by a variant, once for each seed."""
    name, brace, options = variant.partition("{")
    method, trial = Method.parse(name), copy.copy(world)
    own = json.loads(brace + options) if brace else {}
    trial.guide_options = {method.guide: {**world.guide_options.get(method.guide, {}), **own.pop("guide", {})}}
    trial.sampler_options = {method.sampler: {**world.sampler_options.get(method.sampler, {}), **own}}
    run: dict[str, Any] = {"sampler": method.sampler, "guide": method.guide, "guided_fraction": method.fraction}
    device = torch.device("cpu")
    return [run_method(trial, cases, seed=s, device=device, num_inference_steps=steps, **run) for s in SEEDS]


def scores(world: World, cases: Cases, done: Sequence[Completed]) -> dict[str, Tensor]:
    """(B,) each: LPIPS and the energy scores, of all seeds on average."""
    completions, lpips = torch.stack([run.images for run in done]), perceptual_metric(world.judge).distance
    found = {"lpips": torch.stack([lpips(x, cases.images) for x in completions])}
    found |= energies(world, completions, cases)
    return {MEASURES[name].title: values.mean(0) for name, values in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one row per variant and number of steps."""
    parser = argparse.ArgumentParser(prog="python -m studies.paired", description=__doc__)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--variants", nargs="+", required=True)
    parser.add_argument("--steps", type=int, nargs="+", default=[12])
    parser.add_argument("--masks", nargs="+", default=["left", "expand2", "vstrip"])
    parser.add_argument("--images", type=int, default=32)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    world = load(options.world)
    cases, rows = make_cases(world, options.masks, options.images, split="validation"), []
    for steps in options.steps:
        first: dict[str, Tensor] = {}
        for variant in options.variants:
            done = complete(world, cases, variant, steps)
            found = scores(world, cases, done)
            first = first or found
            forward, backward = done[0].forward, done[0].backward
            row = [variant, steps, f"{forward:.1f}", f"{backward:.1f}", f"{done[0].seconds / len(cases.images):.3f}"]
            for name, values in found.items():
                row += [f"{values.mean():.4f}", f"{interval(values - first[name], cases.identity):+.4f}"]
            rows.append(row)
            print(" | ".join(str(part) for part in row), flush=True)
    columns = ["variant", "steps", "F", "B", "CPU s"]
    columns += [text for name in found for text in (name, f"{name}: minus the first [95 %]")]
    title = f"{options.world}: {options.images} validation pictures under {', '.join(options.masks)}, two seeds"
    print(Table(title, pd.DataFrame(rows, columns=columns)).markdown())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
