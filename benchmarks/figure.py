"""The benchmark in one figure: ratios to the limit with their goals, and how the time grows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.circuits import Growth, Row
from tiramisu_edu.files import atomic_path
from tiramisu_edu.lab.palette import series_style


def save_figure(path: Path, limits: list[Row], growth: list[Growth], facts: str) -> None:
    """Write the PNG, atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    queries = list(dict.fromkeys(row.query for row in limits))
    figure = Figure(figsize=(4.2 * (len(queries) + 1), 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(queries) + 1)
    for axis, query in zip(axes, queries):
        rows = [row for row in limits if row.query == query]
        for n, name in enumerate(dict.fromkeys(row.structure for row in rows)):
            own = [row for row in rows if row.structure == name]
            axis.plot([r.num_latents for r in own], [r.ratio for r in own], label=name, **series_style(n))
        latents = sorted({row.num_latents for row in rows})
        goals = {row.num_latents: row.goal for row in rows}
        axis.plot(latents, [goals[k] for k in latents], color="black", linestyle=":", label="goal")
        axis.axhline(1.0, color="grey", linewidth=0.8)
        axis.set(title=query, xlabel="K, units per region", ylabel="time / time of its matrix products", ylim=(0, None))
        axis.set_xscale("log", base=2)
        axis.set_xticks(latents, [str(k) for k in latents])
        axis.legend(frameon=False)
    for n, g in enumerate(growth):
        relative = [s / g.sizes[0] for s in g.sizes]
        scaled = [t / g.seconds[0] for t in g.seconds]
        axes[-1].plot(relative, scaled, label=f"{g.what}: slope {g.exponent:.2f}", **series_style(n))
    axes[-1].set(title="growth of all marginals", xlabel="size / smallest", ylabel="time / time at smallest")
    axes[-1].set_xscale("log", base=2)
    axes[-1].set_yscale("log", base=2)
    axes[-1].legend(frameon=False, title="K against K²")
    figure.suptitle(facts, fontsize=7)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
