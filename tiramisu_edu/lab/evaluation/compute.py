"""Methods at equal compute: who is best within a budget, what is on the frontier, who gets there how much sooner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .cells import Method
from .figures import interval_of_mean
from .measures import MEASURES
from .table import Grid, Results, Setting


class Point(NamedTuple):
    """A method at a number of steps in one world.

    evaluations: F + 2 B per image. seconds: per image. mean, low, high: of the measure, with its 95 % interval.
    """

    method: Method
    steps: int
    evaluations: float
    seconds: float
    mean: float
    low: float
    high: float

    @property
    def text(self) -> str:
        return f"{self.method}, {self.steps} steps"


def points(results: Results, world: str, measure: str) -> list[Point]:
    """All methods at all numbers of steps."""
    settings, found = results.of_world(world), []
    for method in results.methods:
        for steps in results.steps:
            costs = [results.cost(s, method, steps) for s in settings]
            evaluations, seconds = (sum(c[k] for c in costs) / len(costs) for k in (0, 1))
            interval = interval_of_mean(results, measure, world, method, steps)
            found.append(Point(method, steps, evaluations, seconds, *interval))
    return found


def pareto(found: Sequence[Point], cost: str, measure: str) -> list[Point]:
    """The points that no other equals or beats in both cost and mean, cheapest first.

    Args:
        found: from `points`.
        cost: "evaluations" or "seconds".
        measure: says which way is better.
    """
    sign = 1 if MEASURES[measure].lower_is_better else -1
    front: list[Point] = []
    for point in sorted(found, key=lambda p: (getattr(p, cost), sign * p.mean)):
        if not front or sign * point.mean < sign * front[-1].mean:
            front.append(point)
    return front


def frontier(results: Results, world: str, measure: str, cost: str = "evaluations") -> Grid:
    """The frontier as a table."""
    front = pareto(points(results, world, measure), cost, measure)
    rows = [
        [f"{p.evaluations:.0f}", f"{1000 * p.seconds:.0f}", p.text, f"{p.mean:.3f} [{p.low:.3f}, {p.high:.3f}]"]
        for p in front
    ]
    steered = sum(p.method.steered for p in front)
    title = (
        f"{world}: frontier of {MEASURES[measure].title} against {cost}; {steered} of its {len(front)} points steered"
    )
    return Grid(title, ["F + 2 B", "ms", "method", "mean [95 %]"], rows)


def best_within(results: Results, measure: str, budgets: Sequence[float]) -> Grid:
    """In how many settings a steered method is the best of all that a budget allows.

    Each method enters with the greatest number of steps, of those that were run, whose F + 2 B is within the budget;
    so nothing is chosen by its result. The winner has the best mean; a tie to three decimals counts as steered only
    where all that tie are. A budget has no row where none can pay it, or where it buys what the one before it bought.
    """
    sign = 1 if MEASURES[measure].lower_is_better else -1
    rows, before = [], None
    for budget in budgets:
        affordable = {
            (setting, method): max(
                (t for t in results.steps if results.cost(setting, method, t)[0] <= budget), default=0
            )
            for setting in results.settings
            for method in results.methods
        }
        if not any(affordable.values()) or affordable == before:
            continue
        won, winners = 0, dict[Method, int]()
        for setting in results.settings:
            means = {
                method: sign * round(results.mean(measure, [setting], method, affordable[setting, method]), 3)
                for method in results.methods
                if affordable[setting, method]
            }
            best = [method for method, mean in means.items() if mean == min(means.values())]
            won += bool(best) and all(method.steered for method in best)
            for method in best:
                winners[method] = winners.get(method, 0) + 1
        names = ", ".join(f"{m} {n}" for m, n in sorted(winners.items(), key=lambda item: -item[1]))
        rows.append([f"{budget:g}", f"{won} of {len(results.settings)}", names])
        before = affordable
    title = f"Best of all within a budget of network evaluations: {MEASURES[measure].title}"
    return Grid(title, ["F + 2 B at most", "won by a steered method", "winners"], rows)


def sooner(results: Results, measure: str, base: Method, steps: int) -> Grid:
    """The cheapest point of another method that is as good as the base at `steps`, world by world."""
    sign = 1 if MEASURES[measure].lower_is_better else -1
    rows = []
    for world in results.worlds:
        found = points(results, world, measure)
        goal = next(p for p in found if (p.method, p.steps) == (base, steps))
        enough = [p for p in found if p.method.steered and sign * p.mean <= sign * goal.mean]
        row = [world, f"{goal.mean:.3f}", f"{goal.evaluations:.0f}", f"{1000 * goal.seconds:.0f}"]
        if enough:
            first = min(enough, key=lambda p: p.evaluations)
            settings: list[Setting] = results.of_world(world)
            gap = results.difference(measure, settings, first.method, base, first.steps, steps)
            interval = f"{gap.difference:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
            row += [first.text, f"{first.evaluations:.0f}", f"{1000 * first.seconds:.0f}", interval]
            row += [f"{first.evaluations / goal.evaluations:.2f}", f"{first.seconds / goal.seconds:.2f}"]
        else:
            row += ["none", "", "", "", "", ""]
        rows.append(row)
    header = ["world", "mean", "F + 2 B", "ms", "as good", "F + 2 B", "ms", "difference [95 %]", "evaluations", "time"]
    return Grid(f"What reaches {base} at {steps} steps: {MEASURES[measure].title}", header, rows)
