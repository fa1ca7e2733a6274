"""From numbers per image to tables: means per mask, differences with intervals, and who wins how many settings.

All tables are made of one data frame with a row per completion, `per_image`. Kept as a CSV file, it makes the tables
again.

A setting is a world and a mask: what the paper counts wins over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from ...files import atomic_path
from ..table import Table
from .cells import CellResult, Method
from .measures import ENERGY, MEASURES
from .sanity import BLURRED, SANITY
from .significance import Interval, interval, shown

KEYS = ["world", "mask", "method", "steps", "seed", "image"]
COSTS = ["evaluations", "seconds", "guide_seconds"]
SETTING = ["world", "mask"]
BESIDE = ("lpips", *ENERGY, "determined", "agreement", "violations", "seam")  # averages in every table of means


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


def judging(frame: pd.DataFrame, measure: str) -> list[str]:
    """The measures that decide: the one that is asked for, and the energy scores, where the rows have them."""
    return [measure, *(name for name in ENERGY if name != measure and name in frame and frame[name].notna().any())]


def of_samplers(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without those of `SANITY`."""
    return frame[~frame["method"].isin(list(SANITY))]


def of_numbers(frame: pd.DataFrame, measure: str) -> Iterator[Table]:
    """Per world and number of steps the means; what may decide; who gains over its base; who is best of all."""
    steps, measures = frame["steps"].unique(), judging(frame, measure)
    yield from (means(frame, world, measure, t) for world in frame["world"].unique() for t in steps)
    if set(SANITY) & set(frame["method"]):
        yield from (what_may_decide(frame, measures, t) for t in steps)
    found = (steered_against_base(of_samplers(frame), name) for name in measures)
    yield from (table for table in found if table is not None)
    yield from (best_of_all(frame, measures, t) for t in steps)


def means(frame: pd.DataFrame, world: str, measure: str, steps: int) -> Table:
    """One row per method: its mean under each mask, the average, the averages of other measures, and what it costs.

    The best sampler of each column is bold.
    """
    own = frame[(frame["world"] == world) & (frame["steps"] == steps)]
    masks, methods = own["mask"].unique(), own["method"].unique()
    numbers = own.groupby(["method", "mask"])[measure].mean().unstack()[masks]
    numbers["average"] = own.groupby("method")[measure].mean()
    numbers = numbers.loc[methods].round(3)
    beside = [name for name in BESIDE if name != measure and name in own and own[name].notna().any()]
    numbers = numbers.join(own.groupby("method")[beside].mean().round(3))
    samplers, text = ~numbers.index.isin(list(SANITY)), numbers.map(lambda number: shown(number, ".3f"))
    best = numbers[samplers].agg({name: better(name if name in beside else measure) for name in numbers})
    text = text.mask(numbers.eq(best) & samplers[:, None], "**" + text + "**")
    text = text.rename(columns={name: MEASURES[name].title for name in beside})
    if "seconds" in own:
        cost = own.groupby(["method", "mask"])[COSTS].mean()
        cost["share"] = cost["guide_seconds"] / cost["seconds"]
        cost = cost.groupby("method").mean()
        text["F + 2 B"] = cost["evaluations"].map("{:.0f}".format)
        text["ms per image"] = (1000 * cost["seconds"]).map("{:.1f}".format)
        text["guide's share"] = cost["share"].map(lambda share: shown(share, ".1%"))
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


def best_of_all(frame: pd.DataFrame, measures: Sequence[str], steps: int) -> Table:
    """In how many settings each method has the best mean of all, by each measure; ties count for each that ties."""
    own, rows = of_samplers(frame[frame["steps"] == steps]), {}
    for name in measures:
        numbers = own.groupby([*SETTING, "method"])[name].mean().round(3).unstack()[own["method"].unique()]
        wins = numbers.eq(numbers.agg(better(name), axis=1), axis=0).sum()
        barred = [world for world in own["world"].unique() if _flaws(frame, world, name, steps)[1]]
        note = f" (may not decide in {', '.join(barred)})" if barred else ""
        rows[MEASURES[name].title + note] = wins.map(f"{{}} of {len(numbers)}".format)
    found = pd.DataFrame(rows).sort_values(list(rows), key=lambda x: -x.str.split().str[0].astype(int), kind="stable")
    return Table(f"Best of all, {steps} steps: settings won", found.rename_axis("method").reset_index())


def what_may_decide(frame: pd.DataFrame, measures: Sequence[str], steps: int) -> Table:
    """Per world and measure whether it puts the sanity rows where they belong; see `sanity`.

    A measure may not decide in a world where it puts a blurred picture before the best of the samplers, or the best of
    the samplers clearly before exact draws.
    """
    rows = []
    for world, name in ((w, m) for w in frame["world"].unique() for m in measures):
        values, flaws = _flaws(frame, world, name, steps)
        rows.append([world, MEASURES[name].title, *values, f"no: {' and '.join(flaws)}" if flaws else "yes"])
    header = ["world", "measure", "best sampler", "its average", *SANITY, "may decide"]
    return Table(f"What may decide, {steps} steps: averages over masks", pd.DataFrame(rows, columns=header))


def _flaws(frame: pd.DataFrame, world: str, measure: str, steps: int) -> tuple[list[str], list[str]]:
    """The best sampler, its average and those of the sanity rows; and what is wrong with their order."""
    own = frame[(frame["world"] == world) & (frame["steps"] == steps)]
    averages, sign = own.groupby("method")[measure].mean(), 1 if better(measure) == "min" else -1
    best = (sign * averages.drop([name for name in SANITY if name in averages])).idxmin()
    kept = {name: averages.get(name, float("nan")) for name in SANITY}
    flaws = [f"{name} comes first" for name in BLURRED if sign * (kept[name] - averages[best]) < 0]
    if "exact-draw" in averages:
        numbers = cases(own, measure)
        gap = over_images(sign * (numbers["exact-draw", steps] - numbers[best, steps]))
        flaws += [f"{best} comes before exact draws"] if gap.low > 0 else []
    return [best, *(shown(value, ".3f") for value in (averages[best], *kept.values()))], flaws
