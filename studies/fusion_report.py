"""A fusion study on paper: tables with intervals, the trade-off as a figure, and a line per pair as CSV."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import torch
from tiramisu_edu.lab.evaluation.table import Grid
from torch import Tensor

from studies.fusion_study import Fused, FusionStudy, at_equal_agreement, interval_over_pairs, meter, rises
from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.evaluation.figures import COLOURS, MARKERS


def fusion_tables(study: FusionStudy) -> list[Grid]:
    """What each method reaches at each level, how agreement rises, rules at equal agreement, log Z as a meter."""
    return [_levels(study), _rises(study), _equal(study), _meter(study)]


def _levels(study: FusionStudy) -> Grid:
    points = [("plain sampler", "0", study.free)]
    points += [(method, f"{level:g}", fused) for (method, level), fused in study.fused.items()]
    points += [("references pasted", "", study.pasted)]
    rows = [
        [
            method,
            level,
            _with_interval(fused.agreement, "{:.3f}"),
            _with_interval(fused.violations, "{:.2f}"),
            f"{float(fused.realism.mean()):.2f}",
            f"{float(fused.diversity.mean()):.3f}" if fused is not study.pasted else "",
            f"{float(fused.contradiction.mean()):.1f}" if level not in ("", "0") else "",
        ]
        for method, level, fused in points
    ]
    P, N = study.free.violations.shape
    header = ["method", "coherence", "agreement", "rules broken", "realism", "diversity", "contradiction, nats"]
    title = (
        f"{study.world}, {study.regions}: {P} pairs, {N} pictures of each, {study.steps} steps; 95 % intervals over "
        f"pairs; real pictures have realism {study.real:.2f}"
    )
    return Grid(title, header, rows)


def _rises(study: FusionStudy) -> Grid:
    levels = ["0", *(f"{level:g}" for level in study.coherences)]
    header = ["method", *(f"{before} to {after}" for before, after in itertools.pairwise(levels))]
    rows = [
        [method, *(f"{r.difference:+.3f} [{r.low:+.3f}, {r.high:+.3f}]" for r in rises(study, method))]
        for method in study.methods
    ]
    return Grid(f"{study.world}: rise of agreement from level to level", header, rows)


def _equal(study: FusionStudy) -> Grid:
    rows = []
    for control in study.methods:
        method = control.partition(", ")[0]
        if method == control or method not in study.methods:
            continue
        for e in at_equal_agreement(study, method, control):
            gap = f"{e.difference:+.2f} [{e.low:+.2f}, {e.high:+.2f}]"
            rows.append([method, control, f"{e.agreement:.3f}", f"{e.method:.2f}", f"{e.control:.2f}", gap])
    header = ["method", "control", "agreement", "rules broken", "by the control", "difference [95 %]"]
    return Grid(f"{study.world}: rules broken at equal agreement", header, rows)


def _meter(study: FusionStudy) -> Grid:
    methods = [method for method in study.methods if ", " not in method]
    rows = [[method, *(f"{meter(study, method, level):+.2f}" for level in study.coherences)] for method in methods]
    title = f"{study.world}: rank correlation of a pair's contradiction with the rules its pasted parts break"
    return Grid(title, ["method", *(f"{level:g}" for level in study.coherences)], rows)


def _with_interval(values: Tensor, form: str) -> str:
    found = interval_over_pairs(values, torch.zeros_like(values))
    return f"{form} [{form}, {form}]".format(found.difference, found.low, found.high)


def write_pairs(path: str | Path, study: FusionStudy) -> Path:
    """A CSV with a line per method, level and pair, means over the seeds."""
    with atomic_path(path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["method", "coherence", "pair", "agreement_0", "agreement_1", "rules_broken", "diversity", "nats"]
        )
        points = [("plain sampler", 0.0, study.free), *((*key, fused) for key, fused in study.fused.items())]
        for method, level, fused in points:
            columns = [*fused.agreement_each.mean(2), fused.violations.mean(1), fused.diversity, fused.contradiction]
            for pair, line in enumerate(torch.stack([column.double() for column in columns], 1).tolist()):
                writer.writerow([method, level, pair, *(f"{number:.4f}" for number in line)])
    return Path(path)


def plot_fusion(path: str | Path, study: FusionStudy) -> Path:
    """Agreement against coherence, and rules broken against agreement, a line per method with 95 % intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.3), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    rise, trade = figure.subplots(1, 2)
    families = list(dict.fromkeys(method.partition(", ")[0] for method in study.methods))
    lines = {"": "-", "K = 1": "--", "no circuit": ":"}
    for method in study.methods:
        family, _, control = method.partition(", ")
        own = families.index(family)
        style = {"color": COLOURS[own], "marker": MARKERS[own], "linestyle": lines[control], "label": method}
        style |= {"markerfacecolor": "white"} if control else {}
        points = [study.free, *(study.fused[method, level] for level in study.coherences)]
        agreement, rules = _means([p.agreement for p in points]), _means([p.violations for p in points])
        rise.errorbar([0, *study.coherences], agreement[0], yerr=agreement[1:], capsize=2, markersize=4, **style)
        trade.errorbar(agreement[0], rules[0], yerr=rules[1:], capsize=2, markersize=4, **style)
        if not control:
            for level, x, y in zip(study.coherences, agreement[0][1:], rules[0][1:]):
                trade.annotate(f"{level:g}", (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
    _references(rise, trade, study.pasted)
    rise.set(xlabel="coherence", ylabel=f"{study.world}: agreement with the references")
    trade.set(xlabel="agreement with the references", ylabel="rules broken per picture")
    for axis in (rise, trade):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = trade.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return Path(path)


def _references(rise, trade, pasted: Fused) -> None:
    """The pasted references: a line to reach, and a point."""
    agreement, rules = float(pasted.agreement.mean()), float(pasted.violations.mean())
    rise.axhline(agreement, color="#7F7F7F", linewidth=1)
    trade.plot([agreement], [rules], "*", color="#7F7F7F", markersize=9, label="references pasted")


def _means(values: list[Tensor]) -> tuple[list[float], list[float], list[float]]:
    """Means, and how far their intervals reach below and above."""
    found = [interval_over_pairs(v, torch.zeros_like(v)) for v in values]
    return (
        [f.difference for f in found],
        [f.difference - f.low for f in found],
        [f.high - f.difference for f in found],
    )
