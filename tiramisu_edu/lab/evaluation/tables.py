"""From numbers per image to tables: means per mask, differences with intervals, and who wins how many settings.

All tables are made of one data frame with a row per completion, `per_image`. Kept as a CSV file, it makes the tables
again.

A setting is a world and a mask: what the paper counts wins over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from ...files import atomic_path
from ..table import Table
from .cells import CellResult, Method
from .measures import MEASURES
from .significance import Interval, interval, shown

KEYS = ["world", "mask", "method", "steps", "seed", "image"]
COSTS = ["evaluations", "seconds", "guide_seconds"]
SETTING = ["world", "mask"]


def per_image(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per completion.

    Returns: columns `KEYS`, the names of `MEASURES` (NaN where one does not apply), and `COSTS` per image:
        evaluations is F + 2 B.
    """
    parts = []
    for result in results:
        cell, N = result.cell, len(result.identity)
        rows = {"world": cell.world, "mask": cell.mask, "method": str(cell.method), "steps": cell.steps}
        rows |= {"seed": cell.seed, "image": result.identity.numpy()}
        rows |= {name: result.metrics[name].numpy() if name in result.metrics else float("nan") for name in MEASURES}
        costs = (result.evaluations, result.seconds / N, result.guide_seconds / N)
        parts.append(pd.DataFrame(rows | dict(zip(COSTS, costs))))
    return pd.concat(parts, ignore_index=True)


def write_per_image(path: Path, frame: pd.DataFrame) -> None:
    """The data frame as CSV with six digits; without the costs, which differ from run to run."""
    with atomic_path(path) as unfinished:
        frame[[*KEYS, *MEASURES]].to_csv(unfinished, index=False, float_format="%.6g")


def better(measure: str) -> str:
    """How pandas finds the best value of a measure: "min" or "max"."""
    return "min" if MEASURES[measure].lower_is_better else "max"


def over_images(values: pd.Series) -> Interval:
    """Mean and 95 % interval of values indexed by world, image and more, whole images being drawn."""
    return interval(values, values.groupby(["world", "image"]).ngroup())


def cases(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure with a row per world, mask, seed and image and a column per (method, steps).

    Two numbers of a row are of the same picture, damaged in the same way and completed from the same noise.
    """
    return frame.set_index([*SETTING, "seed", "image", "method", "steps"])[measure].unstack(["method", "steps"])


def of_numbers(frame: pd.DataFrame, measure: str) -> Iterator[Table]:
    """Per world and number of steps the means; who gains over its base; who is best of all."""
    steps = frame["steps"].unique()
    yield from (means(frame, world, measure, t) for world in frame["world"].unique() for t in steps)
    if (against := steered_against_base(frame, measure)) is not None:
        yield against
    yield from (best_of_all(frame, measure, t) for t in steps)


def means(frame: pd.DataFrame, world: str, measure: str, steps: int) -> Table:
    """One row per method: its mean under each mask, the best of each column in bold, the average, and what it costs."""
    own = frame[(frame["world"] == world) & (frame["steps"] == steps)]
    masks, methods = own["mask"].unique(), own["method"].unique()
    numbers = own.groupby(["method", "mask"])[measure].mean().unstack()[masks]
    numbers["average"] = own.groupby("method")[measure].mean()
    numbers = numbers.loc[methods].round(3)
    text = numbers.map(lambda number: shown(number, ".3f"))
    text = text.mask(numbers == numbers.agg(better(measure)), "**" + text + "**")
    if "seconds" in own:
        cost = own.groupby(["method", "mask"])[COSTS].mean()
        cost["share"] = cost["guide_seconds"] / cost["seconds"]
        cost = cost.groupby("method").mean()
        text["F + 2 B"] = cost["evaluations"].map("{:.0f}".format)
        text["ms per image"] = (1000 * cost["seconds"]).map("{:.1f}".format)
        text["guide's share"] = cost["share"].map("{:.1%}".format)
    arrow = "lower" if better(measure) == "min" else "higher"
    title = f"{world}, {steps} steps: {MEASURES[measure].title} ({arrow} is better)"
    return Table(title, text.rename_axis(columns=None).reset_index())


def steered_against_base(frame: pd.DataFrame, measure: str) -> Table | None:
    """Each steered method minus its base: averages with 95 % intervals, and the settings won, tied and lost.

    A setting is won where the mean is better, and tied where the means agree to three decimals, as the paper's table
    counts. It is clear where the 95 % interval leaves out 0.

    Returns: None where no method has its base among the methods.
    """
    numbers, worlds = cases(frame, measure), list(frame["world"].unique())
    rows = []
    for method in frame["method"].unique():
        base = str(Method.parse(method).base)
        if base == method or base not in set(frame["method"]):
            continue
        for steps in frame["steps"].unique():
            pair = pd.DataFrame({"base": numbers[base, steps], "steered": numbers[method, steps]})
            won = _settings_won(pair, better(measure))
            for world in [*worlds, "all"] if len(worlds) > 1 else worlds:
                own, counts = (x if world == "all" else x.loc[[world]] for x in (pair, won))
                gap = over_images(own["steered"] - own["base"])
                won_tied_lost = " / ".join(str(counts[name].sum()) for name in ("won", "tied", "lost"))
                clear = f"{counts['clear +'].sum()} / {counts['clear −'].sum()}"
                texts = (*(shown(own[name].mean(), ".3f") for name in ("base", "steered")), f"{gap:+.4f}")
                rows.append([world, method, steps, *texts, won_tied_lost, clear])
    header = ["world", "method", "steps", "base", "steered", "difference [95 %]", "won / tied / lost", "clear + / −"]
    title = f"Steered against its base: {MEASURES[measure].title}"
    return Table(title, pd.DataFrame(rows, columns=header)) if rows else None


def _settings_won(pair: pd.DataFrame, best: str) -> pd.DataFrame:
    """Whether the steered method wins each setting, and whether clearly; one row per setting."""
    gap = pair["base"] - pair["steered"] if best == "min" else pair["steered"] - pair["base"]
    rows = {}
    for setting, values in gap.groupby(SETTING):
        gain = over_images(values)
        mean = round(gain.mean, 3)
        rows[setting] = [mean > 0, mean == 0, mean < 0, gain.low > 0, gain.high < 0]
    return pd.DataFrame(rows, index=["won", "tied", "lost", "clear +", "clear −"]).T


def best_of_all(frame: pd.DataFrame, measure: str, steps: int) -> Table:
    """In how many settings each method has the best mean of all; ties count for each that ties."""
    own = frame[frame["steps"] == steps]
    numbers = own.groupby([*SETTING, "method"])[measure].mean().round(3).unstack()[own["method"].unique()]
    wins = numbers.eq(numbers.agg(better(measure), axis=1), axis=0).sum().sort_values(ascending=False, kind="stable")
    rows = [[method, f"{count} of {len(numbers)}"] for method, count in wins.items()]
    title = f"Best of all, {steps} steps: {MEASURES[measure].title}"
    return Table(title, pd.DataFrame(rows, columns=["method", "settings"]))
