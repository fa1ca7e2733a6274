"""What coherence buys and costs in semantic fusion: how far pictures follow references, and what rules they break.

Pairs of held-out pictures are fused at rising levels of coherence by the methods and controls of `fusion_methods`.

    plain sampler        coherence 0
    references pasted    reference pixels pasted side by side: the upper bound of agreement
    real                 mean realism of held-out real pictures: the lower bound
"""

from __future__ import annotations

import itertools
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from studies.common import parser, run, write_page
from studies.fusion_measures import (
    PASTED,
    PLAIN,
    agreement,
    at_equal_agreement,
    chosen_pairs,
    curve,
    measured,
    meter,
    methods,
    rises,
)
from studies.fusion_methods import METHODS, contradiction, demands_of, models_of, sampled
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.common import machine_facts
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.world import World

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def fuse_pairs(
    world: World,
    *,
    pairs: int,
    seeds: int,
    steps: int,
    coherences: Sequence[float],
    chosen: Sequence[str],
    seed: int = 0,
) -> tuple[pd.DataFrame, float]:
    """Fuse the first pairs of test pictures with each method at each level, and measure.

    The upper half of a picture follows one reference, the lower half the other.

    Args:
        world: a procedural one, on the CPU, with a judge.
        pairs: P.
        seeds: N pictures per pair and level; all methods and levels start from the same noise.
        steps: denoising steps of DDIM.
        coherences: levels, rising, above 0 and below 1.
        chosen: of `METHODS`.
        seed: of the noise.

    Returns:
        The rows of `measured` for all, and the mean realism of real pictures.

    Raises:
        TiramisuError: for a world without factors, levels that do not rise, or one pair.
    """
    levels = list(coherences)
    if levels != sorted(set(levels)) or not levels or levels[0] <= 0 or levels[-1] >= 1:
        raise TiramisuError(f"the levels of a study rise between 0 and 1, both excluded; not {levels}")
    tasks, real = chosen_pairs(world, pairs)
    draw = {"pairs": pairs, "seeds": seeds, "steps": steps, "seed": seed}
    no_nats = torch.zeros(pairs)
    found = [measured(world, tasks, sampled(world, None, tasks.regions, **draw), no_nats, PLAIN, 0.0)]
    models = None
    for method, level in tqdm(list(itertools.product(chosen, levels)), desc=world.name, unit="level"):
        models = models_of(world, method) if level == levels[0] or models is None else models
        demands = [demands_of(models, references, tasks.regions, level) for references in tasks.references]
        images = sampled(world, (models, torch.stack([d.joint for d in demands])), tasks.regions, **draw)
        found.append(measured(world, tasks, images, contradiction(models.circuit, demands), method, level))
    pasted = (tasks.references * tasks.regions).sum(1, keepdim=True)  # (P, 1, C, H, W), grey outside the regions
    found.append(measured(world, tasks, pasted, no_nats, PASTED, 1.0))
    return pd.concat(found, ignore_index=True), real


def fusion_tables(frame: pd.DataFrame, title: str) -> list[Table]:
    """What each method reaches at each level, how agreement rises, rules at equal agreement, log Z as a meter."""
    world, levels = title.partition(",")[0], [0.0, *sorted(set(frame["coherence"]) - {0.0, 1.0})]
    steps = [f"{before:g} to {after:g}" for before, after in itertools.pairwise(levels)]
    risen = [[method, *(f"{rise:+.3f}" for rise in rises(frame, method))] for method in methods(frame)]
    equal = []
    for control in methods(frame):
        method = control.partition(", ")[0]
        for target, broken, other, gap in at_equal_agreement(frame, method, control) if method != control else ():
            equal.append([method, control, f"{target:.3f}", f"{broken:.2f}", f"{other:.2f}", f"{gap:+.2f}"])
    header = ["method", "control", "agreement", "rules broken", "by the control", "difference [95 %]"]
    own = [method for method in methods(frame) if ", " not in method]
    meters = [[method, *(f"{meter(frame, method, level):+.2f}" for level in levels[1:])] for method in own]
    of_meter = f"{world}: rank correlation of a pair's contradiction with the rules its pasted parts break"
    return [
        _levels(frame, title),
        Table(f"{world}: rise of agreement from level to level", pd.DataFrame(risen, columns=["method", *steps])),
        Table(f"{world}: rules broken at equal agreement", pd.DataFrame(equal, columns=header)),
        Table(of_meter, pd.DataFrame(meters, columns=["method", *(f"{level:g}" for level in levels[1:])])),
    ]


def _levels(frame: pd.DataFrame, title: str) -> Table:
    """One row per method and level."""
    rows = []
    for (method, level), own in frame.groupby(["method", "coherence"], sort=False):
        fused = method not in (PLAIN, PASTED)
        rows.append(
            {
                "method": method,
                "coherence": "" if method == PASTED else f"{level:g}",
                "agreement": f"{interval(agreement(own), own['pair']):.3f}",
                "rules broken": f"{interval(own['rules_broken'], own['pair']):.2f}",
                "realism": f"{own['realism'].mean():.2f}",
                "diversity": "" if method == PASTED else f"{own['diversity'].mean():.3f}",
                "contradiction, nats": f"{own['nats'].mean():.1f}" if fused else "",
            }
        )
    return Table(title, pd.DataFrame(rows))


def plot_fusion(path: Path, frame: pd.DataFrame, world: str) -> Path:
    """Agreement against coherence, and rules broken against agreement, a line per method with 95 % intervals."""
    figure, (rise, trade) = new_figure(10.4, 4.3, 1, 2)
    families = list(dict.fromkeys(method.partition(", ")[0] for method in methods(frame)))
    lines = {"": "-", "K = 1": "--", "no circuit": ":"}
    for method in methods(frame):
        family, _, control = method.partition(", ")
        style = series_style(families.index(family)) | {"linestyle": lines[control], "label": method}
        style |= {"capsize": 2, "markersize": 4} | ({"markerfacecolor": "white"} if control else {})
        curves = curve(frame, method)
        reached, broken = ([interval(part[level]) for level in part] for part in curves)
        levels, x, y = curves[0].columns, [one.mean for one in reached], [one.mean for one in broken]
        rise.errorbar(levels, x, yerr=_bars(reached), **style)
        trade.errorbar(x, y, yerr=_bars(broken), **style)
        for level, *point in list(zip(levels, x, y))[1:] if not control else ():
            trade.annotate(f"{level:g}", point, textcoords="offset points", xytext=(4, 4), fontsize=7)
    pasted = frame[frame["method"] == PASTED]
    rise.axhline(agreement(pasted).mean(), color="#7F7F7F", linewidth=1)
    x, y = agreement(pasted).mean(), pasted["rules_broken"].mean()
    trade.plot([x], [y], "*", color="#7F7F7F", markersize=9, label=PASTED)
    rise.set(xlabel="coherence", ylabel=f"{world}: agreement with the references")
    trade.set(xlabel="agreement with the references", ylabel="rules broken per picture")
    return save_figure(figure, path, legend=trade)


def _bars(found):
    """How far intervals reach below and above their means."""
    return [[one.mean - one.low for one in found], [one.high - one.mean for one in found]]


def write_pairs(path: Path, frame: pd.DataFrame) -> None:
    """A CSV with a line per method, level and pair, means over the seeds."""
    fused = frame[frame["method"] != PASTED].assign(coherence=frame["coherence"].astype(str))
    means = fused.groupby(["method", "coherence", "pair"], sort=False).mean().drop(columns="realism")
    with atomic_path(path) as unfinished:
        means.to_csv(unfinished, float_format="%.4f", lineterminator="\n")


def study(options) -> None:
    """Write WORLD.md, WORLD.csv and WORLD.png of each world."""
    for name in options.worlds.split(","):
        begun = time.perf_counter()
        settings = {"pairs": options.pairs, "seeds": options.images, "steps": options.num_inference_steps}
        frame, real = fuse_pairs(load(name), **settings, coherences=LEVELS, chosen=METHODS, seed=options.seed)
        title = (
            f"{name}, up-down: {options.pairs} pairs, {options.images} pictures of each, {settings['steps']} steps; "
        )
        title += f"95 % intervals over pairs; real pictures have realism {real:.2f}"
        command = shlex.join(["python", "-m", "studies.fusion", *sys.argv[1:]])
        facts = f"{command}\n{machine_facts(torch.device('cpu'))}\n{time.perf_counter() - begun:.0f} seconds"
        write_page(options.out / f"{name}.md", fusion_tables(frame, title), f"```\n{facts}\n```\n\n")
        write_pairs(options.out / f"{name}.csv", frame)
        print(f"picture: {plot_fusion(options.out / f'{name}.png', frame, name)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser("fusion", __doc__, "docs/results/fusion")
    options.add_argument("--pairs", type=int, default=32, help="how many held-out pairs")
    options.add_argument("--images", type=int, default=2, help="pictures per pair and level")
    options.add_argument("--num-inference-steps", type=int, default=12, metavar="T", help="denoising steps")
    run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
