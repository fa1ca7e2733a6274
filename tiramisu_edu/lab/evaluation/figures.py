"""Figures of an evaluation: quality against compute, and quality and time against the share of guided steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ...errors import TiramisuError
from ...files import atomic_path
from .cells import Method
from .measures import MEASURES
from .table import Results

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers carry the same information.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F", "#5B3A8C")
MARKERS = "osD^vP*X<>"


def plot_frontier(path: str | Path, results: Results, measure: str) -> Path:
    """Quality against network evaluations and against seconds: a panel pair per world, a line per method.

    A steered method has its base's colour and a filled marker on a solid line, dotted for the paper's mixture; the base
    is hollow and dashed. Bars are 95 % bootstrap intervals of the mean over images.
    """
    figure = _figure(len(results.worlds), 2)
    bases = list(dict.fromkeys(method.base for method in results.methods))
    for row, world in zip(figure.subplots(len(results.worlds), 2, squeeze=False), results.worlds):
        settings = results.of_world(world)
        for method in results.methods:
            costs = [[results.cost(s, method, t)[:2] for s in settings] for t in results.steps]
            points = [interval_of_mean(results, measure, world, method, t) for t in results.steps]
            for k, axis in enumerate(row):
                x = [sum(c[k] for c in cost) / len(cost) for cost in costs]
                _line(axis, x, points, method, bases)
        for axis, label in zip(row, ("network evaluations per image, F + 2 B", "seconds per image")):
            axis.set_xscale("log")
            axis.set_xlabel(label)
            axis.set_ylabel(f"{world}: {MEASURES[measure].title}")
    return _finish(figure, path)


def plot_guided_fraction(path: str | Path, results: Results, measure: str) -> Path:
    """Quality and time over the base's time against the share of guided steps (the paper's Figure 4).

    Raises:
        TiramisuError: the results hold no method with a stated fraction, or not its base.
    """
    steps = results.steps[0]
    families = list(dict.fromkeys(Method(m.sampler, m.guide) for m in results.methods if m.fraction is not None))
    if not families or any(family.base not in results.methods for family in families):
        raise TiramisuError("the fraction figure needs methods such as copaint+difference@0.2, and copaint itself")
    figure = _figure(len(results.worlds), 2)
    for row, world in zip(figure.subplots(len(results.worlds), 2, squeeze=False), results.worlds):
        settings = results.of_world(world)
        for number, family in enumerate(families):
            line = [m for m in results.methods if Method(m.sampler, m.guide) == family and m.fraction is not None]
            line = [family.base, *sorted(line, key=lambda m: m.fraction or 0)]
            x = [m.fraction or 0.0 for m in line]
            points = [interval_of_mean(results, measure, world, m, steps) for m in line]
            seconds = [sum(results.cost(s, m, steps)[1] for s in settings) for m in line]
            _line(row[0], x, points, family, families, own=number)
            style = {"color": COLOURS[number % 10], "marker": MARKERS[number % 10], "label": str(family)}
            row[1].plot(x, [s / seconds[0] for s in seconds], **style)
        row[0].set_ylabel(f"{world}: {MEASURES[measure].title}")
        row[1].set_ylabel("time over the base sampler's")
        for axis in row:
            axis.set_xlabel("share of the steps that are guided")
    return _finish(figure, path)


def interval_of_mean(
    results: Results, measure: str, world: str, method: Method, steps: int
) -> tuple[float, float, float]:
    """Mean over a world's masks, images and seeds, and its 95 % bootstrap interval over images."""
    settings = results.of_world(world)
    values = results.values(measure, settings, method, steps)
    applies = values.isfinite()
    images = results.identity(settings, method, steps)[applies].unique(return_inverse=True)[1]
    sums = torch.zeros(int(images.max()) + 1, dtype=torch.float64).index_add_(0, images, values[applies].double())
    counts = torch.bincount(images).double()
    drawn = torch.randint(len(sums), (2000, len(sums)), generator=torch.Generator().manual_seed(0))
    low, high = (sums[drawn].sum(1) / counts[drawn].sum(1)).quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return values[applies].mean().item(), low, high


def _line(
    axis,
    x: Sequence[float],
    points: Sequence[tuple[float, float, float]],
    method: Method,
    bases: Sequence[Method],
    own: int | None = None,
) -> None:
    number = bases.index(method.base) if own is None else own
    mean = [p[0] for p in points]
    bars = [[p[0] - p[1] for p in points], [p[2] - p[0] for p in points]]
    plain = method.guide == "none"
    axis.errorbar(
        x,
        mean,
        yerr=bars,
        color=COLOURS[number % len(COLOURS)],
        marker=MARKERS[number % len(MARKERS)],
        markerfacecolor="white" if plain else None,
        linestyle={"none": "--", "mixture": ":"}.get(method.guide, "-"),
        capsize=2,
        linewidth=1.4,
        markersize=5,
        label=str(method),
    )


def _figure(rows: int, columns: int) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * columns, 3.9 * rows), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(figure: Figure, path: str | Path) -> Path:
    for axis in figure.axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=8)
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return path
