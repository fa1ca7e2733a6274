"""What does latent variable distillation gain? The same circuit over codes from two starts, with the same EM steps.

    random    theta proportional to exp(uniform), as every `Circuit` begins
    teacher   the latents are clusters of what surrounds their patch in the picture, all parameters are counts of these
    longer    at the largest K, the random start with several times the EM steps: clustering takes time too

Data, order of mini-batches, step sizes and number of steps are the same for the first two, so only the start differs.
Which start is better is asked at several numbers K of latent states.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import fit_em
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.evaluation.figures import COLOURS, MARKERS
from tiramisu_edu.lab.evaluation.significance import PairedInterval, paired_interval
from tiramisu_edu.lab.evaluation.table import Grid
from tiramisu_edu.lab.recipes.picture_teacher import teach

if TYPE_CHECKING:
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


def measure_lvd(world: World, settings: LVDSettings | None = None, *, progress: bool = True) -> list[LVDRun]:
    """Train every circuit from both starts.

    Args:
        world: one with a tokenizer and code circuits.
        settings: see `LVDSettings`; its defaults if None. `QUICK` shows in seconds that it works.

    Raises:
        TiramisuError: the world has no such code circuit.
    """
    s = settings or LVDSettings()
    missing = [name for name in s.structures if name not in world.code_circuits]
    if missing:
        have = ", ".join(world.code_circuits) or "none"
        raise TiramisuError(f"{world.name} has no code circuit {missing[0]!r}; it has {have}")
    data = code_data(world, s)
    starts = [("random", seed) for seed in s.seeds] + [("teacher", s.seeds[0])]
    cells = [(name, k, start, seed) for name in s.structures for k in s.latents for start, seed in starts]
    cells += [(name, max(s.latents), "longer", s.seeds[0]) for name in s.structures]
    found = []
    for name, k, start, seed in tqdm(cells, desc=f"{world.name}: circuits", disable=not progress):
        graph = with_latents(world.code_circuits[name].graph, k)
        run = train_from(graph, data, start, seed=seed, settings=s)
        found.append(run._replace(structure=name))
        if progress:
            tqdm.write(f"{name}, K = {k}, {start}, seed {seed}: {run.test_bits.mean():.3f} bits per code")
    return found


def code_data(world: World, settings: LVDSettings) -> CodeData:
    """The first pictures of each split and their codes."""
    from tiramisu_edu.lab.recipes.code_circuit import encode

    if world.tokenizer is None:
        raise TiramisuError(f"{world.name} has no tokenizer, so no codes")
    images = world.images("train", settings.images)[0]
    held_out = [world.images(split, settings.held_out)[0] for split in ("validation", "test")]
    return CodeData(images, *(encode(world.tokenizer, pictures) for pictures in (images, *held_out)))


def with_latents(graph: RegionGraph, num_latents: int) -> RegionGraph:
    """The same regions with K units each; the root keeps its one."""
    *inner, root = graph.regions
    return replace(graph, regions=(*(replace(region, num_units=num_latents) for region in inner), root))


def train_from(graph: RegionGraph, data: CodeData, start: str, *, seed: int, settings: LVDSettings) -> LVDRun:
    """EM from one of `STARTS`; the run's `structure` is left empty."""
    if start not in STARTS:
        raise TiramisuError(f"unknown start {start!r}: choose one of {', '.join(STARTS)}")
    began = time.process_time()
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(seed))
    if start == "teacher":
        teach(circuit, data.train, data.images, torch.Generator().manual_seed(seed))
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
    trained = time.process_time()
    per_epoch = -(-len(data.train) // (settings.batch_size or len(data.train)))
    with torch.no_grad():
        test_bits = -circuit.log_likelihood(data.test).double() / (circuit.num_variables * math.log(2))
    return LVDRun(
        structure="",
        num_latents=graph.regions[0].num_units,
        start=start,
        seed=seed,
        steps=per_epoch * torch.arange(epochs + 1),
        bits=torch.tensor(history.bits_per_dimension, dtype=torch.float64),
        test_bits=test_bits,
        teach_seconds=taught - began,
        em_seconds=trained - taught,
    )


def select(runs: Sequence[LVDRun], structure: str, num_latents: int, start: str) -> list[LVDRun]:
    """The runs of one circuit and start, one per seed."""
    return [r for r in runs if (r.structure, r.num_latents, r.start) == (structure, num_latents, start)]


def gain(runs: Sequence[LVDRun], structure: str, num_latents: int, against: str = "random") -> PairedInterval:
    """Bits per code of the teacher's start minus another one's, paired by test picture; negative: the teacher wins.

    Per picture the seeds of a start are averaged first, so the interval is over pictures.
    """
    teacher, other = (
        torch.stack([run.test_bits for run in select(runs, structure, num_latents, start)]).mean(0)
        for start in ("teacher", against)
    )
    return paired_interval(teacher, other, torch.Generator().manual_seed(0))


def steps_to_match(runs: Sequence[LVDRun], structure: str, num_latents: int) -> int | None:
    """EM steps after which the teacher's start is as good as the random one ever gets, on average; None: never."""
    (teacher,) = select(runs, structure, num_latents, "teacher")
    random = torch.stack([run.bits for run in select(runs, structure, num_latents, "random")]).mean(0)
    reached = teacher.steps[teacher.bits <= random.min()]
    return int(reached[0]) if len(reached) else None


def lvd_table(world_name: str, runs: Sequence[LVDRun]) -> Grid:
    """One row per circuit and K: test bits per code of each start, the gain, and processor time."""
    rows = []
    for structure, k in dict.fromkeys((run.structure, run.num_latents) for run in runs):
        random, (teacher,), longer = (select(runs, structure, k, start) for start in STARTS)
        match = steps_to_match(runs, structure, k)
        extra = ["", "", ""]
        if longer:
            extra = [_bits(longer), _interval(gain(runs, structure, k, "longer")), f"{longer[0].em_seconds:.0f}"]
        row = [structure, str(k), _bits(random), _bits([teacher]), _interval(gain(runs, structure, k))]
        row += ["never" if match is None else f"{match} of {int(teacher.steps[-1])}"]
        row += [f"{random[0].em_seconds:.0f}", f"{teacher.teach_seconds:.0f} + {teacher.em_seconds:.0f}", *extra]
        rows.append(row)
    header = ["circuit", "K", "random, by seed", "teacher", "teacher minus random [95 %]"]
    header += ["EM steps of the teacher's start to the random one's best", "random: EM, s", "teacher: teaching + EM, s"]
    header += ["longer", "teacher minus longer [95 %]", "longer: EM, s"]
    return Grid(f"{world_name}: test bits per code (lower is better)", header, rows)


def _bits(runs: Sequence[LVDRun]) -> str:
    return " / ".join(f"{run.test_bits.mean():.3f}" for run in runs)


def _interval(found: PairedInterval) -> str:
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def plot_lvd(path: str | Path, found: Mapping[str, Sequence[LVDRun]]) -> Path:
    """A row per world and structure, a panel per K: held-out bits per code against EM steps, for every start and seed.

    The vertical axis ends where the random start is after one epoch: before it is at about log2 V bits.

    Args:
        found: name of the world -> its runs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [(world, name) for world, runs in found.items() for name in dict.fromkeys(run.structure for run in runs)]
    latents = sorted({run.num_latents for runs in found.values() for run in runs})
    figure = Figure(figsize=(2.2 + 2.4 * len(latents), 0.5 + 2.6 * len(rows)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for line, (world, name) in zip(figure.subplots(len(rows), len(latents), squeeze=False, sharey="row"), rows):
        for axis, k in zip(line, latents):
            for start, colour, marker in zip(STARTS, COLOURS, MARKERS):
                for number, run in enumerate(select(found[world], name, k, start)):
                    label = None if number else LABELS[start]  # once for all seeds
                    axis.plot(run.steps, run.bits, color=colour, marker=marker, markersize=4, label=label)
            axis.set_title(f"{world}, {name}, K = {k}", fontsize=9)
            axis.set_xlabel("EM steps")
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
        shown = torch.cat([run.bits[1:] for run in found[world] if run.structure == name])
        line[0].set_ylim(float(shown.min()) - 0.05, float(shown.max()) + 0.05)
        line[0].set_ylabel("held-out bits per code")
        line[-1].legend(frameon=False)  # the largest K has all starts
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return path
