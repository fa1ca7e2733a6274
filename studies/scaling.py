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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm.auto import tqdm

from studies.common import parser, run, write_page
from studies.scaling_models import KINDS, CodeModel, ModelSettings, PatchModel, squared_error, train_model
from tiramisu_edu.circuits.circuit import bits_per_dimension
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.perceptual import perceptual_metric
from tiramisu_edu.lab.evaluation.significance import Interval, interval
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.recipes.tokenizer import TokenizerSettings
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask_batch
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


def measure_scaling(world: World, s: ScalingSettings) -> list[ScalingRow]:
    """Train and judge every circuit on a procedural world. `QUICK` shows in seconds that it works.

    Raises:
        TiramisuError: for a world that cannot be drawn at other sizes.
    """
    if world.scene is None:
        raise TiramisuError(f"{world.name} cannot be drawn at other sizes: choose a procedural world")
    found = []
    for size, kind in tqdm([(size, kind) for size in s.sizes for kind in s.kinds], desc=f"{world.name}: circuits"):
        train = world.scene.images("train", s.images, size=size)[0]
        validation = world.scene.images("validation", s.held_out, size=size)[0]
        began = time.process_time()
        model = train_model(kind, train, validation, s.models)
        row = judge_model(world, model, size, kind, s)._replace(train_seconds=time.process_time() - began)
        found.append(row)
        tqdm.write(f"{size} x {size}, {kind}: {row.nats:.0f} nats, {row.train_seconds:.0f} s of training")
    return found


def judge_model(world: World, model: PatchModel | CodeModel, size: int, kind: str, s: ScalingSettings) -> ScalingRow:
    """Likelihood, completions and cost of a trained model on test pictures; `train_seconds` is left 0.

    LPIPS and rules are the judge's, which reads 32 x 32: larger completions are averaged down to that for it.
    """
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
    bits = bits_per_dimension(model.code_nats(test), D) if isinstance(model, CodeModel) else None
    error = squared_error(model.tokenizer, test) if isinstance(model, CodeModel) else None
    times = mean_seconds / completions, draw_seconds / completions, 0.0
    return ScalingRow(size, kind, D, model.nats(test), bits, error, measures, *times, model.bytes)


def _timed(work: Callable[..., Tensor], *inputs: object) -> tuple[Tensor, float]:
    began = time.process_time()
    return work(*inputs), time.process_time() - began


def scaling_table(world: World, rows: Sequence[ScalingRow]) -> Table:
    """One row per size and kind; completions by mask, separated by slashes."""
    lines = []
    for row in rows:
        at_least, at_most = ("", "") if row.bits_per_code is None else ("≥ ", "≤ ")
        line = {
            "pictures": f"{row.size} x {row.size}",
            "circuit": row.kind,
            "variables": row.variables,
            "nats per picture": f"{at_least}{row.nats:.0f}",
            "bits per dimension": f"{at_most}{row.bits_per_dimension:.2f}",
            "bits per code": "" if row.bits_per_code is None else f"{row.bits_per_code:.2f}",
            "tokenizer's MSE": "" if row.tokenizer_mse is None else f"{row.tokenizer_mse:.4f}",
        }
        for name, title in MEASURED.items():
            line[title] = " / ".join(f"{values.mean():.3f}" for values in row.measures[name].values())
        line["ms per mean / sample"] = f"{1e3 * row.mean_seconds:.1f} / {1e3 * row.draw_seconds:.1f}"
        line |= {"training, s": f"{row.train_seconds:.0f}", "parameters, MB": f"{row.bytes / 1e6:.1f}"}
        lines.append(line)
    masks = " / ".join(rows[0].measures["lpips"])
    title = f"{world.name}: circuits alone; masks {masks}; {perceptual_metric(world.judge).name}, read at 32 x 32"
    return Table(title, pd.DataFrame(lines))


def plot_scaling(path: Path, found: Mapping[str, Sequence[ScalingRow]]) -> Path:
    """Two rows of panels per world: density, completions, time and bytes against the side of the pictures.

    Bars are 95 % intervals over pictures, each averaged over masks.

    Args:
        found: name of the world -> its rows.
    """
    titles = ["bits per dimension (codes: at most)", *MEASURED.values(), "ms per mean", "parameters, MB"]
    figure, panels = new_figure(11.5, 5.4 * len(found), 2 * len(found), 4)
    for (*line, legend), (world, rows) in zip(panels.reshape(len(found), 8), found.items()):
        for number, kind in enumerate(dict.fromkeys(row.kind for row in rows)):
            own = [row for row in rows if row.kind == kind]
            columns = [[exactly(row.bits_per_dimension) for row in own]]
            columns += [[interval(row.average(name)) for row in own] for name in MEASURED]
            columns += [[exactly(1e3 * row.mean_seconds) for row in own], [exactly(row.bytes / 1e6) for row in own]]
            for axis, points in zip(line, columns):
                bars = [[p.mean - p.low for p in points], [p.high - p.mean for p in points]]
                style = series_style(number) | {"label": kind, "capsize": 2}
                axis.errorbar([row.size for row in own], [p.mean for p in points], yerr=bars, **style)
        for axis, title in zip(line, titles):
            axis.set_title(title, fontsize=9)
            axis.set(xlabel="side of the pictures, pixels", xticks=sorted({row.size for row in rows}))
        for axis in line[-2:]:
            axis.set_yscale("log")
        legend.set_axis_off()
        legend.legend(*line[0].get_legend_handles_labels(), title=world, frameon=False, loc="center")
    return save_figure(figure, path)


def exactly(value: float) -> Interval:
    """A number without an interval."""
    return Interval(value, value, value)


def study(options) -> None:
    """Write scaling.md and scaling.png."""
    settings = QUICK if options.quick else ScalingSettings()
    settings = replace(settings, models=replace(settings.models, seed=options.seed))
    worlds = {name: load(name) for name in options.worlds.split(",")}
    found = {name: measure_scaling(world, settings) for name, world in worlds.items()}
    write_page(options.out / "scaling.md", [scaling_table(worlds[name], rows) for name, rows in found.items()])
    print(f"picture: {plot_scaling(options.out / 'scaling.png', found)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser("scaling", __doc__, "docs/results/scaling")
    options.add_argument("--quick", action="store_true", help="in seconds, to see it work")
    run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
