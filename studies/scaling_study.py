"""Where should a circuit live as pictures grow: on pixels, on patches or on codes?

    pixel   Gaussian leaves over blocks of 2 x 2 pixels
    patch   Gaussian leaves over patches of 4 x 4 pixels
    code    the codes of a tokenizer, one for each 4 x 4 patch

All have the same kind of tree, the same K, the same training pictures and as many EM steps, at every size. A picture of
twice the side has four times the variables.

What may be compared. Pixel and patch circuits are densities of the same 3 H W numbers. A code circuit is a distribution
over codes, and its bits per code say nothing beside nats per picture. With a Gaussian around the decoded picture it
becomes a density of pixels too, of which one term of the sum over all codes is a lower bound:

    log p(x) >= log p_PC(z) + log N(x; decode(z), s2),   z = encode(x),  s2 the mean squared error on training pictures

Completions are pictures whatever made them: they can all be compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from tiramisu_edu.lab.evaluation.table import Grid
from tiramisu_edu.lab.recipes.tokenizer import TokenizerSettings
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm.auto import tqdm

from studies.scaling_models import KINDS, CodeModel, ModelSettings, PatchModel, squared_error, train_model
from tiramisu_edu.circuits.circuit import bits_per_dimension
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.evaluation.figures import COLOURS, MARKERS
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.perceptual import perceptual_metric
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.masks import mask_batch

if TYPE_CHECKING:
    from tiramisu_edu.world import World


@dataclass(frozen=True)
class ScalingSettings:
    """What is compared.

    Attributes:
        sizes: sides of the pictures in pixels, multiples of 32.
        kinds: of `KINDS`.
        images: of the training split, also for the tokenizers.
        held_out: pictures of the validation split, which choose the parameters, and of the test split, for the nats.
        completions: test pictures that are completed under each mask.
        masks: layouts.
        models: the budget of each circuit.
    """

    sizes: tuple[int, ...] = (32, 64)
    kinds: tuple[str, ...] = tuple(KINDS)
    images: int = 2_048
    held_out: int = 512
    completions: int = 64
    masks: tuple[str, ...] = ("left", "expand1", "wide")
    models: ModelSettings = field(default_factory=ModelSettings)


QUICK = ScalingSettings(
    images=96,
    held_out=16,
    completions=4,
    models=ModelSettings(
        teach_images=96,
        num_latents=4,
        num_codes=4,
        tree_codes=2,
        rounds=1,
        epochs=1,
        tokenizer=TokenizerSettings(num_codes=16, width=16, steps=20, unquantised_steps=5),
    ),
)


class ScalingRow(NamedTuple):
    """What one circuit reaches and costs.

    size, kind: which. variables: D. nats: mean log density of a test picture; for codes a lower bound of it.
    bits_per_code: None for pixels and patches. tokenizer_mse: squared error of encoding and decoding, likewise.
    measures: name -> mask -> (N,), with the names of `MEASURED`. mean_seconds, draw_seconds: processor time of one
    completion. train_seconds: processor time, the tokenizer's included. bytes: of all parameters in float32.
    """

    size: int
    kind: str
    variables: int
    nats: float
    bits_per_code: float | None
    tokenizer_mse: float | None
    measures: dict[str, dict[str, Tensor]]
    mean_seconds: float
    draw_seconds: float
    train_seconds: float
    bytes: int

    @property
    def bits_per_dimension(self) -> float:
        """Of pixels with 256 levels, 2 / 255 apart, between which the density is taken to be constant."""
        return bits_per_dimension(self.nats, 3 * self.size**2) + math.log2(127.5)

    def average(self, name: str) -> Tensor:
        """A measure per picture, (N,), averaged over masks."""
        return torch.stack(list(self.measures[name].values())).mean(0)


MEASURED = {
    "mse of mean": "hidden-pixel MSE of the mean",
    "mse of sample": "hidden-pixel MSE of a sample",
    "lpips": "LPIPS of a sample",
    "violations": "rules broken by a sample",
}


def measure_scaling(
    world: World, settings: ScalingSettings | None = None, *, progress: bool = True
) -> list[ScalingRow]:
    """Train and judge every circuit.

    Args:
        world: a procedural one, which can be drawn at any size.
        settings: see `ScalingSettings`; its defaults if None. `QUICK` shows in seconds that it works.

    Raises:
        TiramisuError: for a world that cannot be drawn at other sizes, or an unknown kind.
    """
    s = settings or ScalingSettings()
    if world.scene is None:
        raise TiramisuError(f"{world.name} cannot be drawn at other sizes: choose a procedural world")
    unknown = [kind for kind in s.kinds if kind not in KINDS]
    if unknown:
        raise TiramisuError(f"unknown kind of circuit {unknown[0]!r}: choose one of {', '.join(KINDS)}")
    cells = [(size, kind) for size in s.sizes for kind in s.kinds]
    found = []
    for size, kind in tqdm(cells, desc=f"{world.name}: circuits", disable=not progress):
        train = world.scene.images("train", s.images, size=size)[0]
        validation = world.scene.images("validation", s.held_out, size=size)[0]
        began = time.process_time()
        model = train_model(kind, train, validation, s.models)
        row = judge_model(world, model, size, kind, s)._replace(train_seconds=time.process_time() - began)
        found.append(row)
        if progress:
            tqdm.write(f"{size} x {size}, {kind}: {row.nats:.0f} nats, {row.train_seconds:.0f} s of training")
    return found


def judge_model(world: World, model: PatchModel | CodeModel, size: int, kind: str, s: ScalingSettings) -> ScalingRow:
    """Likelihood, completions and cost of a trained model on test pictures; `train_seconds` is left 0.

    LPIPS and rules are the judge's, which reads 32 x 32: larger completions are averaged down to that for it.
    """
    assert world.scene is not None
    test = world.scene.images("test", s.held_out, size=size)[0]
    truth = test[: s.completions]
    small = adaptive_avg_pool2d(truth, world.judge.shape[-1])
    measures: dict[str, dict[str, Tensor]] = {name: {} for name in MEASURED}
    mean_seconds = draw_seconds = 0.0
    for name in s.masks:
        generator = torch.Generator().manual_seed(s.models.seed)
        known = mask_batch(name, len(truth), size, size, generator=generator)
        mean, seconds = _timed(model.mean, truth, known)
        mean_seconds += seconds
        drawn, seconds = _timed(model.draw, truth, known, generator)
        draw_seconds += seconds
        shown = adaptive_avg_pool2d(drawn.clamp(-1, 1), small.shape[-1])
        measures["mse of mean"][name] = hidden_mse(mean, truth, known)
        measures["mse of sample"][name] = hidden_mse(drawn, truth, known)
        measures["lpips"][name] = perceptual_metric(world.judge).distance(shown, small)
        measures["violations"][name] = violations(world.scene.model, world.judge.read(shown))
    completions = len(truth) * len(s.masks)
    D = model.circuit.num_variables
    bits = error = None
    if isinstance(model, CodeModel):
        bits = bits_per_dimension(model.code_nats(test), D)
        error = squared_error(model.tokenizer, test)
    return ScalingRow(
        size=size,
        kind=kind,
        variables=D,
        nats=model.nats(test),
        bits_per_code=bits,
        tokenizer_mse=error,
        measures=measures,
        mean_seconds=mean_seconds / completions,
        draw_seconds=draw_seconds / completions,
        train_seconds=0.0,
        bytes=model.bytes,
    )


def _timed(work: Callable[..., Tensor], *inputs: object) -> tuple[Tensor, float]:
    began = time.process_time()
    return work(*inputs), time.process_time() - began


def scaling_table(world: World, rows: Sequence[ScalingRow]) -> Grid:
    """One row per size and kind; completions by mask, separated by slashes."""
    lines = []
    for row in rows:
        bits = "" if row.bits_per_code is None else f"{row.bits_per_code:.2f}"
        error = "" if row.tokenizer_mse is None else f"{row.tokenizer_mse:.4f}"
        least = "" if row.bits_per_code is None else "≥ ", "" if row.bits_per_code is None else "≤ "
        by_mask = [" / ".join(f"{values.mean():.3f}" for values in row.measures[name].values()) for name in MEASURED]
        lines.append(
            [
                f"{row.size} x {row.size}",
                row.kind,
                str(row.variables),
                f"{least[0]}{row.nats:.0f}",
                f"{least[1]}{row.bits_per_dimension:.2f}",
                bits,
                error,
                *by_mask,
                f"{1e3 * row.mean_seconds:.1f} / {1e3 * row.draw_seconds:.1f}",
                f"{row.train_seconds:.0f}",
                f"{row.bytes / 1e6:.1f}",
            ]
        )
    header = ["pictures", "circuit", "variables", "nats per picture", "bits per dimension", "bits per code"]
    header += ["tokenizer's MSE", *MEASURED.values(), "ms per mean / sample", "training, s", "parameters, MB"]
    masks = " / ".join(rows[0].measures["lpips"])
    title = f"{world.name}: circuits alone; masks {masks}; {perceptual_metric(world.judge).name}, read at 32 x 32"
    return Grid(title, header, lines)


def plot_scaling(path: str | Path, found: Mapping[str, Sequence[ScalingRow]]) -> Path:
    """Two rows of panels per world: density, completions, time and bytes against the side of the pictures.

    Bars are 1.96 standard errors over pictures, each averaged over masks.

    Args:
        found: name of the world -> its rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = ["bits per dimension (codes: at most)", *MEASURED.values(), "ms per mean", "parameters, MB"]
    figure = Figure(figsize=(11.5, 5.4 * len(found)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 * len(found), 4).reshape(len(found), 8)
    for (*line, legend), (world, rows) in zip(panels, found.items()):
        for kind, colour, marker in zip(dict.fromkeys(row.kind for row in rows), COLOURS, MARKERS):
            own = [row for row in rows if row.kind == kind]
            style = {"color": colour, "marker": marker, "label": kind, "capsize": 2}
            columns = [[(row.bits_per_dimension, 0.0) for row in own]]
            columns += [[_mean_and_bar(row.average(name)) for row in own] for name in MEASURED]
            columns += [[(1e3 * row.mean_seconds, 0.0) for row in own], [(row.bytes / 1e6, 0.0) for row in own]]
            for axis, points in zip(line, columns):
                values, bars = zip(*points)
                axis.errorbar([row.size for row in own], values, yerr=bars, **style)
        for axis, title in zip(line, titles):
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("side of the pictures, pixels")
            axis.set_xticks(sorted({row.size for row in rows}))
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
        for axis in line[-2:]:
            axis.set_yscale("log")
        legend.set_axis_off()
        legend.legend(*line[0].get_legend_handles_labels(), title=world, frameon=False, loc="center")
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return path


def _mean_and_bar(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(1.96 * values.std() / len(values) ** 0.5)
