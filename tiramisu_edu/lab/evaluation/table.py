"""From cells to tables: means per mask, paired differences with intervals, and who wins how many settings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import TiramisuError
from ...files import atomic_path
from ...masks import BOXES, PAPER_COLUMNS
from ...world import World
from . import paper
from .cells import CellResult, Method, cell_cases
from .factors import calibration
from .measures import MEASURES
from .significance import PairedInterval, paired_interval


class Setting(NamedTuple):
    """A world and a mask: what the paper counts wins over."""

    world: str
    mask: str


class Results:
    """The results of many cells, asked by world, mask, method and steps. Seeds are pooled."""

    def __init__(self, results: Iterable[CellResult]):
        self._cells: dict[tuple[Setting, Method, int], list[CellResult]] = {}
        for result in results:
            cell = result.cell
            key = (Setting(cell.world, cell.mask), cell.method, cell.steps)
            self._cells.setdefault(key, []).append(result)
        self.settings = list(dict.fromkeys(setting for setting, _, _ in self._cells))
        self.methods = list(dict.fromkeys(method for _, method, _ in self._cells))
        self.steps = list(dict.fromkeys(steps for _, _, steps in self._cells))

    @property
    def worlds(self) -> list[str]:
        """In the order of the cells."""
        return list(dict.fromkeys(setting.world for setting in self.settings))

    def of_world(self, world: str) -> list[Setting]:
        """The settings of one world."""
        return [setting for setting in self.settings if setting.world == world]

    def cells(self, setting: Setting, method: Method, steps: int) -> list[CellResult]:
        """One result per seed.

        Raises:
            TiramisuError: there is none.
        """
        found = self._cells.get((setting, method, steps))
        if not found:
            raise TiramisuError(f"no results for {method} with {steps} steps on {setting.world}, mask {setting.mask}")
        return sorted(found, key=lambda result: result.cell.seed)

    def values(self, measure: str, settings: Sequence[Setting], method: Method, steps: int) -> Tensor:
        """(N,) the measure of all images, seeds and settings, in an order that is the same for every method."""
        return torch.cat([r.metrics[measure] for s in settings for r in self.cells(s, method, steps)])

    def identity(self, settings: Sequence[Setting], method: Method, steps: int) -> Tensor:
        """(N,) the number of the image of each value; images of different worlds are different."""
        worlds = self.worlds
        numbers = [
            r.identity + 1_000_000 * worlds.index(s.world) for s in settings for r in self.cells(s, method, steps)
        ]
        return torch.cat(numbers)

    def mean(self, measure: str, settings: Sequence[Setting], method: Method, steps: int) -> float:
        """Mean over images, seeds and settings; images that the measure does not apply to (NaN) left out."""
        return self.values(measure, settings, method, steps).nanmean().item()

    def difference(
        self, measure: str, settings: Sequence[Setting], a: Method, b: Method, steps: int, steps_b: int | None = None
    ) -> PairedInterval:
        """Mean of a minus b, the same images and noise for both, with its 95 % interval over images."""
        first = self.values(measure, settings, a, steps)
        second = self.values(measure, settings, b, steps_b or steps)
        applies = first.isfinite() & second.isfinite()
        return paired_interval(
            first[applies],
            second[applies],
            torch.Generator().manual_seed(0),
            clusters=self.identity(settings, a, steps)[applies],
            lower_is_better=MEASURES[measure].lower_is_better,
        )

    def cost(self, setting: Setting, method: Method, steps: int) -> tuple[float, float, float]:
        """Per image: network evaluations F + 2 B, seconds, and the guide's share of these."""
        cells = self.cells(setting, method, steps)
        images = sum(len(r.identity) for r in cells)
        seconds = sum(r.seconds for r in cells)
        guide = sum(r.guide_seconds for r in cells)
        return cells[0].evaluations, seconds / images, guide / seconds if seconds else 0.0


class Grid(NamedTuple):
    """A table ready to print."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return f"**{self.title}**\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    def latex(self) -> str:
        """A booktabs table; bold cells stay bold."""
        body = [" & ".join(map(_latex, line)) + r" \\" for line in self.rows]
        columns = "l" + "r" * (len(self.header) - 1)
        head = " & ".join(map(_latex, self.header)) + r" \\"
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
        return f"% {self.title}\n" + "\n".join([*lines, r"\end{tabular}"]) + "\n"


def _latex(text: str) -> str:
    bold = text.startswith("**") and text.endswith("**")
    text = text.strip("*").replace("%", r"\%").replace("_", r"\_").replace("±", r"$\pm$")
    return rf"\textbf{{{text}}}" if bold else text


def means(results: Results, world: str, measure: str, steps: int) -> Grid:
    """One row per method: its mean under each mask, the best of each column in bold, the average, and what it costs."""
    better = min if MEASURES[measure].lower_is_better else max
    settings = results.of_world(world)
    groups = [*([s] for s in settings), settings]
    columns = []
    for group in groups:
        numbers = [f"{results.mean(measure, group, method, steps):.3f}" for method in results.methods]
        best = better(numbers, key=float)
        columns.append([f"**{x}**" if x == best else x for x in numbers])
    rows = []
    for method, *cells in zip(results.methods, *columns):
        costs = [results.cost(s, method, steps) for s in settings]
        evaluations, seconds, share = (sum(values) / len(values) for values in zip(*costs))
        rows.append([str(method), *cells, f"{evaluations:.0f}", f"{1000 * seconds:.1f}", f"{share:.1%}"])
    arrow = "lower" if MEASURES[measure].lower_is_better else "higher"
    title = f"{world}, {steps} steps: {MEASURES[measure].title} ({arrow} is better)"
    header = ["method", *(s.mask for s in settings), "average", "F + 2 B", "ms per image", "guide's share"]
    return Grid(title, header, rows)


def steered_against_base(results: Results, measure: str) -> Grid:
    """Each steered method minus its base: averages with 95 % intervals, and the settings won, tied and lost.

    A setting is a world and a mask. It is won where the mean is better, tied where the means agree to three decimals,
    as the paper's table counts; "clear" are those whose 95 % interval leaves out 0.
    """
    rows = []
    for method in results.methods:
        if method.base == method or method.base not in results.methods:
            continue
        for steps in results.steps:
            groups = [(world, results.of_world(world)) for world in results.worlds]
            groups += [("all", results.settings)] if len(groups) > 1 else []
            for name, settings in groups:
                rows.append([name, str(method), str(steps), *_against(results, measure, settings, method, steps)])
    header = ["world", "method", "steps", "base", "steered", "difference [95 %]", "won / tied / lost", "clear + / −"]
    return Grid(f"Steered against its base: {MEASURES[measure].title}", header, rows)


def _against(results: Results, measure: str, settings: list[Setting], method: Method, steps: int) -> list[str]:
    lower = MEASURES[measure].lower_is_better
    whole = results.difference(measure, settings, method, method.base, steps)
    won = tied = clear_won = clear_lost = 0
    for setting in settings:
        one = results.difference(measure, [setting], method, method.base, steps)
        gain = -one.difference if lower else one.difference
        tied += round(gain, 3) == 0
        won += round(gain, 3) > 0
        clear = one.low > 0 or one.high < 0
        clear_won += clear and gain > 0
        clear_lost += clear and gain < 0
    base, steered = (results.mean(measure, settings, m, steps) for m in (method.base, method))
    interval = f"{whole.difference:+.4f} [{whole.low:+.4f}, {whole.high:+.4f}]"
    score = f"{won} / {tied} / {len(settings) - won - tied}"
    return [f"{base:.3f}", f"{steered:.3f}", interval, score, f"{clear_won} / {clear_lost}"]


def best_of_all(results: Results, measure: str, steps: int) -> Grid:
    """In how many settings each method has the best mean of all; ties count for each that ties."""
    lower = MEASURES[measure].lower_is_better
    wins = dict.fromkeys(results.methods, 0)
    for setting in results.settings:
        numbers = {m: round(results.mean(measure, [setting], m, steps), 3) for m in results.methods}
        best = min(numbers.values()) if lower else max(numbers.values())
        for method, number in numbers.items():
            wins[method] += number == best
    rows = [[str(m), f"{n} of {len(results.settings)}"] for m, n in sorted(wins.items(), key=lambda item: -item[1])]
    return Grid(f"Best of all, {steps} steps: {MEASURES[measure].title}", ["method", "settings"], rows)


def calibrations(results: Results, world: World, steps: int) -> Grid:
    """How far each method's choices are from the exact conditional, pooled over masks and seeds; see `calibration`.

    Masks drawn anew for each image are left out: frequencies need cases that share their evidence.
    """
    scene = world.scene
    assert scene is not None, "calibration needs a procedural world"
    settings = [s for s in results.of_world(world.name) if PAPER_COLUMNS.get(s.mask, s.mask) in BOXES]
    rows = []
    for method in results.methods:
        parts = []
        for setting in settings:
            for result in results.cells(setting, method, steps):
                cases = cell_cases(world, result.cell)
                read = world.judge.read(result.completions.float() / 127.5 - 1)
                parts.append((read, cases.labels, *scene.seen(cases.known)))
        found = calibration(scene.model, *(torch.cat(column) for column in zip(*parts)))
        distance, chance = found.mean
        rows.append([str(method), f"{distance:.3f}", f"{chance:.3f}", str(int(found.cases.sum()))])
    title = f"{world.name}, {steps} steps: total variation from the exact conditional of open hidden factors"
    return Grid(title, ["method", "distance", "of exact draws, about", "cases"], rows)


def papers_table() -> Grid:
    """The paper's Table 1, averages over its seven masks, for the ordering of the methods."""
    rows = []
    for data, numbers in paper.AVERAGES.items():
        rows.append([data, *(f"**{x:.3f}**" if x == min(numbers) else f"{x:.3f}" for x in numbers)])
    title = f"The paper's own averages: LPIPS (AlexNet), {paper.STEPS} steps, {paper.IMAGES} images a cell"
    return Grid(title, ["data", *paper.METHODS], rows)


def write_per_image(path: str | Path, results: Iterable[CellResult]) -> Path:
    """Every number of every image as CSV, one row per completion."""
    path = Path(path)
    with atomic_path(path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = list(MEASURES)
        writer.writerow(["world", "mask", "method", "steps", "seed", "image", *names])
        for result in results:
            cell = result.cell
            lead = [cell.world, cell.mask, str(cell.method), cell.steps, cell.seed]
            for row, image in enumerate(result.identity.tolist()):
                numbers = [f"{result.metrics[n][row].item():.6g}" if n in result.metrics else "" for n in names]
                writer.writerow([*lead, image, *numbers])
    return path
