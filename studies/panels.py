"""Panels: G independent scenes in one picture. What a circuit knows of them, and what stored pictures with a kernel do.

python -m studies.panels --worlds rooms,faces --steer

The left half of every panel is known. A circuit of G panels is the product of G copies of the world's own, of the same
bytes for any G. A kernel stores whole pictures; one that is right in one panel is wrong in the next, so what it knows
of G panels with n^G pictures should be what it knows of one with n. Its bandwidth is tuned for every G and n on
validation pictures: for the known pixels alone in the table of errors, where wide enough it is the mean picture; for
noisy pictures where it steers.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from studies.common import below_the_command, parser, run, write_page
from studies.paired import scores
from tiramisu_edu.lab.evaluation.comparison import Cases, circuit_mean, make_cases, run_method
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.significance import Interval, interval
from tiramisu_edu.lab.file_world import FileWorld
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.controls.kernel import KernelCodebook
from tiramisu_edu.steering.evidence import Observation

PANELS, STORED = (1, 2, 4, 8), (256, 1024, 4096, 16_384)
BANDWIDTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
STEERED, SEEDS, STEPS, FEW = 4096, (0, 1), 12, 64  # stored pictures of the kernel that steers; panels that are painted
STEERING_BANDWIDTHS, LEVELS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), (0.1, 0.35)  # signal where a guide counts
MASK = "left"


@dataclass(frozen=True)
class PanelKernel(KernelCodebook):
    """Stored pictures of G panels: picture i has image orders[g, i] as its panel g.

    A batch holds the panels of one picture in G consecutive rows; their log densities add up.

    Args:
        orders: (G, n) long, a row per panel.
    """

    orders: Tensor

    def _log_density(self, images: Tensor, used: Tensor, scale: float, variance: float) -> Tensor:
        G = len(self.orders)
        of_images = super()._log_density(images, used, scale, variance)[:, 0].unflatten(0, (-1, G))  # (B / G, G, n)
        of_pictures = of_images.gather(2, self.orders.expand_as(of_images)).sum(1)
        return of_pictures.repeat_interleave(G, 0)[:, None]

    def mean(self, marginals: Tensor, seen: Observation) -> Tensor:
        of_pictures = marginals[:, 0].unflatten(0, (-1, len(self.orders)))
        index = self.orders.expand_as(of_pictures)
        of_images = torch.zeros_like(of_pictures).scatter_(2, index, of_pictures)
        return super().mean(of_images.flatten(0, 1)[:, None], seen)


def panel_kernel(images: Tensor, num_panels: int, variance: float) -> PanelKernel:
    """As many stored pictures as images, each image once in every panel."""
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(images), generator=generator) for _ in range(num_panels)]
    return PanelKernel(images, variance, torch.stack(orders))


def errors(images: Tensor, num_panels: int, variances: Sequence[float], cases: Cases) -> Tensor:
    """(V, N) squared error of the hidden half of each panel, for each bandwidth squared.

    Known pixels alone: log densities are those of bandwidth 1 over the variance, up to a constant.
    """
    kernel = panel_kernel(images, num_panels, 1.0)
    seen = Observation(torch.zeros_like(cases.images), 0.0, cases.images, cases.known)
    log_w = kernel.log_known(seen._replace(image=cases.images.double()))
    means = (kernel.mean(torch.softmax(log_w / v, -1).float(), seen) for v in variances)
    return torch.stack([hidden_mse(mean, cases.images, cases.known) for mean in means])


def tuned_variance(images: Tensor, num_panels: int, validation: Cases) -> float:
    """The bandwidth squared of least error."""
    return BANDWIDTHS[int(errors(images, num_panels, BANDWIDTHS, validation).mean(1).argmin())]


def steering_variance(images: Tensor, num_panels: int, validation: Cases) -> float:
    """The bandwidth squared of least error of E[x_0 | x_t, known], over the signal levels `LEVELS`."""
    found, x = [], validation.images
    for variance in STEERING_BANDWIDTHS:
        kernel, generator, error = panel_kernel(images, num_panels, variance), torch.Generator().manual_seed(0), 0.0
        for a in LEVELS:
            x_t = math.sqrt(a) * x + math.sqrt(1 - a) * torch.randn(x.shape, generator=generator)
            seen = Observation(x_t, a, x, validation.known)
            mean = kernel.mean(kernel.circuit().posterior_marginals(kernel.log_weights(seen)), seen)
            error += float(hidden_mse(mean, x, validation.known).mean())
        found.append(error)
    return STEERING_BANDWIDTHS[int(np.argmin(found))]


def by_picture(values: Tensor, num_panels: int) -> Interval:
    """Mean and interval, pictures of G panels being drawn."""
    return interval(values, torch.arange(len(values)) // num_panels)


def measure_world(world: FileWorld, validation: Cases, cases: Cases) -> pd.DataFrame:
    """One row per model and number of panels: model, stored, G, variance, MB, and the error with its interval."""
    train = world.images("train", max(STORED))[0]
    own = hidden_mse(circuit_mean(world.circuit, world.codebook, cases.images, cases.known), cases.images, cases.known)
    blank = hidden_mse(train.mean(0).expand_as(cases.images), cases.images, cases.known)
    size = sum((world.models / f"{part}.safetensors").stat().st_size for part in ("circuit", "codebook")) / 1e6
    rows: list[list[Any]] = []
    for G in PANELS:
        rows.append(["circuit", 0, G, math.nan, size, *by_picture(own, G)])
        rows.append(["mean picture", 0, G, math.nan, 0.0, *by_picture(blank, G)])
        for n in STORED:
            variance = tuned_variance(train[:n], G, validation)
            found = by_picture(errors(train[:n], G, [variance], cases)[0], G)
            rows.append([f"kernel, {n}", n, G, variance, 4e-6 * n * G * train[0].numel(), *found])
    return pd.DataFrame(rows, columns=["model", "stored", "G", "variance", "MB", *Interval._fields])


def fitted_law(found: pd.DataFrame) -> tuple[float, float]:
    """How the knowledge of kernels falls with G, by least squares, and the share of variance explained.

        log( mean picture's error - kernel's ) = a + b log log n - c log G

    Returns: c / b and R^2. With c = b all depends on log n / G alone: G panels take n^G pictures. In general they take
        n^(G^(c / b)). NaN where fewer than four kernels know more than the mean picture.
    """
    kernels, blank = found[found["stored"] > 0], found.loc[found["model"] == "mean picture", "mean"].iloc[0]
    kernels = kernels[blank - kernels["mean"] > 1e-3 * blank]  # those that know something
    if len(kernels) < 4:
        return math.nan, math.nan
    gain = np.log(blank - kernels["mean"].to_numpy())
    terms = np.stack([np.ones(len(kernels)), np.log(np.log(kernels["stored"])), -np.log(kernels["G"])], axis=1)
    solution, *_ = np.linalg.lstsq(terms, gain, rcond=None)
    explained = 1 - np.var(gain - terms @ solution) / np.var(gain)
    return float(solution[2] / solution[1]), float(explained)


def steer(world: FileWorld, validation: Cases, cases: Cases) -> Table:
    """Replacement without a guide, with the circuit, and with a kernel of whole pictures: energy scores and LPIPS."""
    cases, validation = (Cases(*(part[:FEW] for part in own)) for own in (cases, validation))
    train = world.images("train", STEERED)[0]
    guides: dict[str, tuple[int, Any]] = {"no guide": (1, "none"), "circuit, any G": (1, "difference")}
    for G in PANELS:
        kernel = panel_kernel(train, G, steering_variance(train, G, validation))
        name = f"kernel of {STEERED}, G = {G}, variance {kernel.variance:g}"
        guides[name] = (G, DifferenceGuide(kernel.circuit(), kernel))
    rows, base = [], dict[str, Tensor]()
    for name, (G, guide) in guides.items():
        task: dict[str, Any] = {"sampler": "replacement", "guide": guide, "num_inference_steps": STEPS}
        done = [run_method(world, cases, seed=s, device=torch.device("cpu"), **task) for s in SEEDS]
        found = scores(world, cases, done)
        base = base or found
        row = [name]
        for key, values in found.items():
            row += [f"{values.mean():.4f}", f"{by_picture(values - base[key], G):+.4f}"]
        rows.append(row)
        print(" | ".join(row), flush=True)
    columns = [text for key in found for text in (key, "minus no guide [95 %]")]
    title = f"{world.label}: replacement, {STEPS} steps, {len(cases.images)} panels, {len(SEEDS)} seeds"
    return Table(title, pd.DataFrame(rows, columns=["guide", *columns]))


def error_table(label: str, found: pd.DataFrame) -> Table:
    """A row per model, a column per G; MB at the largest."""
    text = found.assign(text=[f"{Interval(*row):.4f}" for row in found[list(Interval._fields)].to_numpy()])
    wide = text.pivot(index="model", columns="G", values="text").loc[list(dict.fromkeys(found["model"]))]
    last = found[found["G"] == max(PANELS)].set_index("model")
    wide[f"MB, G = {max(PANELS)}"] = last["MB"].map("{:.1f}".format)
    tuned = found[found["stored"] > 0].groupby("model")["variance"].agg(lambda own: ", ".join(f"{v:g}" for v in own))
    wide["variance, by G"] = tuned.reindex(wide.index).fillna("–")
    exponent, explained = fitted_law(found)
    title = f"{label}: squared error of the hidden halves [95 %] by number of panels G; "
    title += f"G panels take n^(G^{exponent:.2f}) pictures (R² = {explained:.3f})"
    return Table(title, wide.rename_axis(columns=None).reset_index())


def plot(path: Any, found: dict[str, pd.DataFrame]) -> Any:
    """Error against G, a panel per world and a line per model."""
    figure, axes = new_figure(5.2 * len(found), 3.6, 1, len(found), squeeze=False)
    for axis, (world, rows) in zip(axes[0], found.items()):
        for number, (model, line) in enumerate(rows.groupby("model", sort=False)):
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axis.errorbar(line["G"], line["mean"], yerr=bars, capsize=2, label=model, **series_style(number))
        axis.set(xscale="log", xlabel="panels in one picture", ylabel=f"{world}: error of the hidden halves")
        axis.set_xticks(PANELS, labels=list(map(str, PANELS)))
        axis.minorticks_off()
    return save_figure(figure, path, legend=axes[0, 0])


def study(options: argparse.Namespace) -> None:
    """The table of errors of each world, the table of steering where it is asked for, and the figure: as each ends."""
    found, tables = {}, []
    for name in options.worlds.split(","):
        world = load(name)
        validation, cases = (make_cases(world, [MASK], options.images, split=s) for s in ("validation", "test"))
        found[name] = measure_world(world, validation, cases)
        tables.append(error_table(name, found[name]))
        if options.steer:
            tables.append(steer(world, validation, cases))
        write_page(options.out / "panels.md", tables, below_the_command(__doc__))
        print(f"picture: {plot(options.out / 'panels.png', found)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    found = parser("panels", __doc__, "docs/results/panels")
    found.add_argument("--images", type=int, default=128, help="panels in all, a multiple of 8")
    found.add_argument("--steer", action="store_true", help="paint too, with the circuit and with kernels as guides")
    run(study, found.parse_args(arguments))


if __name__ == "__main__":
    main()
