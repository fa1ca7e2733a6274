"""What does latent variable distillation gain? The same circuit over codes from two starts, with the same EM steps.

    random    theta proportional to exp(uniform), as every `Circuit` begins
    teacher   the latents are clusters of what surrounds their patch in the picture, all parameters are counts of these
    longer    at the largest K, the random start with several times the EM steps: clustering takes time too

Data, order of mini-batches, step sizes and number of steps are the same for the first two, so only the start differs.
The starts are compared at several numbers K of latent states.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from studies import common
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import fit_em
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation.significance import Interval, interval
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.recipes.code_circuit import encode
from tiramisu_edu.lab.recipes.picture_teacher import teach
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.world import World

STARTS = ("random", "teacher", "longer")
LABELS = {"random": "random start", "teacher": "teacher", "longer": "random start, more steps"}


@dataclass(frozen=True)
class LVDSettings:
    """What is compared, and the budget of every run.

    Attributes:
        structures: names of the world's code circuits, whose graphs are used with other numbers of latent states.
        latents: K, each tried.
        seeds: of the random start and its mini-batches; the other starts are run with the first.
        images: of the training split.
        held_out: pictures of the validation split, for the curve, and as many of the test split, for the intervals.
        epochs: passes of EM.
        longer: how many times as many the random start also gets, at the largest K.
        batch_size: pictures per EM step; None: all of them, as the paper's authors have it.
        pseudocount: samples' worth of evenness added to each node's edges.
    """

    structures: tuple[str, ...] = ("hclt", "quad_tree")
    latents: tuple[int, ...] = (32, 64, 128)
    seeds: tuple[int, ...] = (0, 1)
    images: int = 8_192
    held_out: int = 2_048
    epochs: int = 8
    longer: int = 3
    batch_size: int | None = 256
    pseudocount: float = 0.2


QUICK = LVDSettings(structures=("quad_tree",), latents=(8, 16), images=512, held_out=64, epochs=2)


class LVDRun(NamedTuple):
    """One circuit from one start.

    structure, num_latents, start, seed: which. steps: (E + 1,) EM steps made. bits: (E + 1,) bits per code on the
    validation split after so many steps. test_bits: (N,) bits per code of each test picture, with the parameters that
    were best on the validation split. teach_seconds, em_seconds: processor time.
    """

    structure: str
    num_latents: int
    start: str
    seed: int
    steps: Tensor
    bits: Tensor
    test_bits: Tensor
    teach_seconds: float
    em_seconds: float


class CodeData(NamedTuple):
    """The codes of each split, (N, D) long, and the training pictures (N, C, H, W) from which the teacher looks."""

    images: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


def measure_lvd(world: World, s: LVDSettings) -> list[LVDRun]:
    """Train every circuit of a world with a tokenizer from every start. `QUICK` shows in seconds that it works.

    Raises:
        TiramisuError: the world has no such code circuit.
    """
    missing = [name for name in s.structures if name not in world.code_circuits]
    if missing:
        have = ", ".join(world.code_circuits) or "none"
        raise TiramisuError(f"{world.name} has no code circuit {missing[0]!r}; it has {have}")
    data = code_data(world, s)
    starts = [("random", seed) for seed in s.seeds] + [("teacher", s.seeds[0])]
    cells = [(name, k, start, seed) for name in s.structures for k in s.latents for start, seed in starts]
    cells += [(name, max(s.latents), "longer", s.seeds[0]) for name in s.structures]
    found = []
    for name, k, start, seed in tqdm(cells, desc=f"{world.name}: circuits"):
        graph = with_latents(world.code_circuits[name].graph, k)
        found.append(train_from(graph, data, start, seed=seed, settings=s)._replace(structure=name))
        tqdm.write(f"{name}, K = {k}, {start}, seed {seed}: {found[-1].test_bits.mean():.3f} bits per code")
    return found


def code_data(world: World, settings: LVDSettings) -> CodeData:
    """The first pictures of each split and their codes."""
    images = world.images("train", settings.images)[0]
    held_out = [world.images(split, settings.held_out)[0] for split in ("validation", "test")]
    assert world.tokenizer is not None, "code circuits come with a tokenizer"
    return CodeData(images, *(encode(world.tokenizer, pictures) for pictures in (images, *held_out)))


@torch.no_grad()
def bits_per_code(circuit: Circuit, codes: Tensor) -> Tensor:
    """-log2 p per code of each picture, (N,) float64."""
    return -circuit.log_likelihood(codes).double() / (circuit.num_variables * math.log(2))


def with_latents(graph: RegionGraph, num_latents: int) -> RegionGraph:
    """The same regions with K units each; the root keeps its one."""
    *inner, root = graph.regions
    return replace(graph, regions=(*(replace(region, num_units=num_latents) for region in inner), root))


Teacher = Callable[..., None]
"""(circuit, generator=) -> None: starts the circuit's latents, in place."""


def train_from(
    graph: RegionGraph,
    data: CodeData,
    start: str,
    *,
    seed: int,
    settings: LVDSettings,
    teacher: Teacher | None = None,
) -> LVDRun:
    """EM from one of `STARTS`, or from another teacher's; the run's `structure` is left empty."""
    began = time.process_time()
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(seed))
    if start == "teacher":
        teacher = partial(teach, codes=data.train, images=data.images)
    if teacher is not None:
        teacher(circuit, generator=torch.Generator().manual_seed(seed))
    taught = time.process_time()
    epochs = settings.epochs * (settings.longer if start == "longer" else 1)
    history = fit_em(
        circuit,
        data.train,
        validation=data.validation,
        epochs=epochs,
        batch_size=settings.batch_size,
        pseudocount=settings.pseudocount,
        generator=torch.Generator().manual_seed(seed),
        progress=False,
    )
    em_seconds = time.process_time() - taught
    steps = -(-len(data.train) // (settings.batch_size or len(data.train))) * torch.arange(epochs + 1)
    bits = torch.tensor(history.bits_per_dimension, dtype=torch.float64)
    test_bits = bits_per_code(circuit, data.test)
    K = graph.regions[0].num_units
    return LVDRun("", K, start, seed, steps, bits, test_bits, taught - began, em_seconds)


def select(runs: Sequence[LVDRun], structure: str, num_latents: int, start: str) -> list[LVDRun]:
    """The runs of one circuit and start, one per seed."""
    return [r for r in runs if (r.structure, r.num_latents, r.start) == (structure, num_latents, start)]


def gain(runs: Sequence[LVDRun], structure: str, num_latents: int, against: str = "random") -> Interval:
    """Bits per code of the teacher's start minus another one's, paired by test picture; negative: the teacher wins.

    Per picture the seeds of a start are averaged first, so the interval is over pictures.
    """
    teacher, other = (
        torch.stack([run.test_bits for run in select(runs, structure, num_latents, start)]).mean(0)
        for start in ("teacher", against)
    )
    return interval(teacher - other)


def steps_to_match(runs: Sequence[LVDRun], structure: str, num_latents: int) -> int | None:
    """EM steps after which the teacher's start is as good as the random one ever gets, on average; None: never."""
    (teacher,) = select(runs, structure, num_latents, "teacher")
    random = torch.stack([run.bits for run in select(runs, structure, num_latents, "random")]).mean(0)
    reached = teacher.steps[teacher.bits <= random.min()]
    return int(reached[0]) if len(reached) else None


def lvd_table(world_name: str, runs: Sequence[LVDRun]) -> Table:
    """One row per circuit and K: test bits per code of each start, the gain, and processor time."""
    rows = []
    for structure, k in dict.fromkeys((run.structure, run.num_latents) for run in runs):
        random, (teacher,), longer = (select(runs, structure, k, start) for start in STARTS)
        match = steps_to_match(runs, structure, k)
        row = {
            "circuit": structure,
            "K": k,
            "random, by seed": _bits(random),
            "teacher": _bits([teacher]),
            "teacher minus random [95 %]": f"{gain(runs, structure, k):+.3f}",
            "EM steps of the teacher's start to the random one's best": (
                "never" if match is None else f"{match} of {int(teacher.steps[-1])}"
            ),
            "random: EM, s": f"{random[0].em_seconds:.0f}",
            "teacher: teaching + EM, s": f"{teacher.teach_seconds:.0f} + {teacher.em_seconds:.0f}",
        }
        if longer:
            row |= {
                "longer": _bits(longer),
                "teacher minus longer [95 %]": f"{gain(runs, structure, k, 'longer'):+.3f}",
            }
            row["longer: EM, s"] = f"{longer[0].em_seconds:.0f}"
        rows.append(row)
    return Table(f"{world_name}: test bits per code (lower is better)", pd.DataFrame(rows).fillna(""))


def _bits(runs: Sequence[LVDRun]) -> str:
    return " / ".join(f"{run.test_bits.mean():.3f}" for run in runs)


def plot_lvd(path: Path, found: Mapping[str, Sequence[LVDRun]]) -> Path:
    """A row per world and structure, a panel per K: held-out bits per code against EM steps, for every start and seed.

    The vertical axis ends where the random start is after one epoch: before it is at about log2 V bits.

    Args:
        found: name of the world -> its runs.
    """
    rows = [(world, name) for world, runs in found.items() for name in dict.fromkeys(run.structure for run in runs)]
    latents = sorted({run.num_latents for runs in found.values() for run in runs})
    width, height = 2.2 + 2.4 * len(latents), 0.5 + 2.6 * len(rows)
    figure, panels = new_figure(width, height, len(rows), len(latents), squeeze=False, sharey="row")
    for line, (world, name) in zip(panels, rows):
        for axis, k in zip(line, latents):
            for colour, start in enumerate(STARTS):
                for number, run in enumerate(select(found[world], name, k, start)):
                    label = None if number else LABELS[start]  # once for all seeds
                    axis.plot(run.steps, run.bits, markersize=4, label=label, **series_style(colour))
            axis.set_title(f"{world}, {name}, K = {k}", fontsize=9)
            axis.set_xlabel("EM steps")
        shown = torch.cat([run.bits[1:] for run in found[world] if run.structure == name])
        line[0].set_ylim(float(shown.min()) - 0.05, float(shown.max()) + 0.05)
        line[0].set_ylabel("held-out bits per code")
        line[-1].legend(frameon=False)  # the largest K has all starts
    return save_figure(figure, path)


def study(options) -> None:
    """Write lvd.md and lvd.png."""
    settings = replace(QUICK if options.quick else LVDSettings(), seeds=(options.seed, options.seed + 1))
    found = {name: measure_lvd(load(name), settings) for name in options.worlds.split(",")}
    common.write_page(options.out / "lvd.md", [lvd_table(name, runs) for name, runs in found.items()])
    print(f"picture: {plot_lvd(options.out / 'lvd.png', found)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = common.parser("lvd", __doc__, "docs/results/lvd")
    options.add_argument("--quick", action="store_true", help="in seconds, to see it work")
    common.run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
