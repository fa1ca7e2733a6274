"""`tiramisu-edu show`: a contact sheet, what masks leave visible, circuit against denoiser, studies of circuits."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import TiramisuError
from ...files import atomic_path
from ..evaluation import paper

if TYPE_CHECKING:
    from ...world import World
    from ..table import Table


def run_show(options: argparse.Namespace) -> int:
    """Draw one picture for the worlds asked for, and print what it cannot show."""
    from ..zoo import load

    worlds = {name: load(name) for name in options.worlds.split(",")}
    if options.what == "sheet":
        from studies.contact import rules_broken, save_contact_sheet

        if len(worlds) > 1:
            raise TiramisuError("a contact sheet shows one world: give --worlds one name")
        (world,) = worlds.values()
        path = save_contact_sheet(options.out or f"out/sheet_{world.name}.png", world, seed=options.seed)
        if world.scene is not None:
            for kind, share in rules_broken(world, seed=options.seed).items():
                print(f"{kind:20} {share:6.1%} of 256 pictures break a rule, as the judge reads them")
    elif options.what == "visibility":
        for name, world in worlds.items():
            _print_visibility(name, world)
        return 0
    elif options.what == "lvd":
        path = _show_lvd(worlds, options)
    elif options.what == "scaling":
        path = _show_scaling(worlds, options)
    elif options.what == "strength":
        path = _show_strength(worlds, options)
    else:
        from studies.crossover import measure_crossover, plot_crossover

        found = {name: measure_crossover(world, seed=options.seed) for name, world in worlds.items()}
        print("world      t/T  denoiser   circuit   mixture  weight of the circuit")
        for name, c in found.items():
            for t, dm, pc, mix, w in zip(*(column.tolist() for column in c)):
                print(f"{name:8} {t:5.3f}  {dm:8.5f}  {pc:8.5f}  {mix:8.5f}  {w:6.3f}")
        path = plot_crossover(options.out or "out/crossover.png", found)
    print(f"picture: {path}")
    return 0


def _show_lvd(worlds: dict[str, World], options: argparse.Namespace) -> Path:
    """Circuits over codes from two starts."""
    from studies.lvd_study import QUICK, LVDSettings, lvd_table, measure_lvd, plot_lvd

    settings = replace(QUICK if options.quick else LVDSettings(), seeds=(options.seed, options.seed + 1))
    found = {name: measure_lvd(world, settings) for name, world in worlds.items()}
    path = plot_lvd(options.out or "out/lvd.png", found)
    _write_tables(path, [lvd_table(name, runs) for name, runs in found.items()])
    return path


def _show_scaling(worlds: dict[str, World], options: argparse.Namespace) -> Path:
    """Circuits over pixels, patches and codes, at two sizes."""
    from studies.scaling_study import QUICK, ScalingSettings, measure_scaling, plot_scaling, scaling_table

    settings = QUICK if options.quick else ScalingSettings()
    settings = replace(settings, models=replace(settings.models, seed=options.seed))
    found = {name: measure_scaling(world, settings) for name, world in worlds.items()}
    path = plot_scaling(options.out or "out/scaling.png", found)
    _write_tables(path, [scaling_table(worlds[name], rows) for name, rows in found.items()])
    return path


def _show_strength(worlds: dict[str, World], options: argparse.Namespace) -> Path:
    """What the calibrated difference guide was fitted to."""
    from studies.crossover import plot_strength, strength_of_difference

    found = {name: strength_of_difference(world) for name, world in worlds.items()}
    print("world      t/T  weight of the circuit's correction")
    for name, columns in found.items():
        for t, weight in zip(*(column.tolist() for column in columns)):
            print(f"{name:8} {t:5.3f}  {weight:6.3f}")
    return plot_strength(options.out or "out/strength.png", found)


def _write_tables(picture: Path, tables: list[Table]) -> None:
    """Print the tables, and write them as Markdown beside the picture."""
    text = "\n".join(table.markdown() for table in tables)
    print(text)
    with atomic_path(picture.with_suffix(".md")) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _print_visibility(name: str, world: World) -> None:
    """A Markdown table: which factors each mask shows (S), hides (h), or shows in part (p)."""
    if world.scene is None:
        raise TiramisuError(f"{name} has no factors: choose a procedural world")
    masks = [mask for mask in paper.MASKS if mask != "wide"]  # wide is drawn anew for each picture
    table = world.scene.visibility(masks)
    print(f"\n{name}: S seen, h hidden, p in part\n")
    print("| factor | " + " | ".join(masks) + " |")
    print("|" + "---|" * (1 + len(masks)))
    letters = {"seen": "S", "hidden": "h", "part": "p"}
    for factor in world.scene.model.names:
        print(f"| {factor} | " + " | ".join(letters[table[mask][factor]] for mask in masks) + " |")
