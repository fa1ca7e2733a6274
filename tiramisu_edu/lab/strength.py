"""How far the circuit's correction is right, by noise level: what the calibrated difference guide was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..methods import fitted_weights
from ..world import World
from .palette import new_figure, save_figure, series_style

TIME = "time t / T: clean picture to noise"


def strength_of_difference(world: World) -> pd.DataFrame:
    """Columns time (t / T) and weight of the calibrated difference guide, from noise to clean picture."""
    table = fitted_weights(world, "difference")
    gaps = (world.schedule.log_snr.float()[None] - table.log_snr[:, None]).abs()  # (L, N)
    return pd.DataFrame({"time": gaps.argmin(1) / (len(world.schedule) - 1), "weight": table.weights.mean(1)})


def plot_strength(path: str | Path, found: Mapping[str, pd.DataFrame]) -> Path:
    """The weight of the circuit's correction against time, a line per world."""
    figure, axis = new_figure(6.4, 3.6)
    for number, (name, columns) in enumerate(found.items()):
        axis.plot(columns["time"], columns["weight"], markersize=4, label=name, **series_style(number))
    axis.set(ylim=(0, 1.05), ylabel="weight of the circuit's correction", xlabel=TIME)
    axis.legend(frameon=False)
    return save_figure(figure, path)
