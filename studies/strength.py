"""How far the circuit's correction is right, by noise level: what the calibrated difference guide was fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from studies.common import with_options
from tiramisu_edu.lab.commands.options import WorldOptions, option
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.zoo import worlds_of
from tiramisu_edu.methods import fitted_weights
from tiramisu_edu.names import WORLDS
from tiramisu_edu.world import World

TIME = "time t / T: clean picture to noise"


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of this study."""

    worlds: tuple[str, ...] = option(("faces",), f"of {', '.join(WORLDS)}, folder:PATH", metavar="A,B")
    out: Path = option(Path("out/strength.png"), "the picture", writes="picture")


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


def study(options: Options) -> None:
    """Print the weights, and draw one picture of all worlds."""
    found = {world.label: strength_of_difference(world) for world in worlds_of(options, options.worlds).values()}
    print("world      t/T  weight of the circuit's correction")
    for name, columns in found.items():
        print("\n".join(f"{name:8} {t:5.3f}  {w:6.3f}" for t, w in zip(columns["time"], columns["weight"])))
    print(f"picture: {plot_strength(options.out, found)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    with_options(Options, study, "strength", __doc__, arguments)


if __name__ == "__main__":
    main()
