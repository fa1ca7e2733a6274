"""`tiramisu-edu show`: a world's contact sheet, or where its circuit predicts better than its denoiser."""

from __future__ import annotations

import argparse

from ..errors import TiramisuError


def run_show(options: argparse.Namespace) -> int:
    """Draw one picture for the worlds asked for."""
    from ..zoo import load

    worlds = {name: load(name) for name in options.worlds.split(",")}
    if options.what == "sheet":
        from ..evaluation.contact import save_contact_sheet

        if len(worlds) > 1:
            raise TiramisuError("a contact sheet shows one world: give --worlds one name")
        (world,) = worlds.values()
        path = save_contact_sheet(options.out or f"out/sheet_{world.name}.png", world, seed=options.seed)
    else:
        from ..evaluation.crossover import measure_crossover, plot_crossover

        found = {name: measure_crossover(world, seed=options.seed) for name, world in worlds.items()}
        print("world    noise  denoiser   circuit   mixture  weight of the circuit")
        for name, c in found.items():
            for a, dm, pc, mix, w in zip(*(column.tolist() for column in c)):
                print(f"{name:8} {(1 - a) ** 0.5:5.3f}  {dm:8.5f}  {pc:8.5f}  {mix:8.5f}  {w:6.3f}")
        path = plot_crossover(options.out or "out/crossover.png", found)
    print(f"picture: {path}")
    return 0
