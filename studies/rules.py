"""How often the judge reads a broken rule: in real pictures, which are its own mistakes, and in samples of models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd

from studies.common import parser, run, write_page
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.contact import denoiser_samples, nothing_known
from tiramisu_edu.lab.evaluation.comparison import circuit_samples
from tiramisu_edu.lab.file_world import FileWorld
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.lab.zoo import load

COUNT, STEPS = 256, 50  # pictures of each kind; of the denoisers' ancestral sampling


def rules_broken(world: FileWorld, *, count: int = COUNT, steps: int = STEPS, seed: int = 0) -> dict[str, float]:
    """Share of pictures in which the judge reads a broken rule: real ones (its own mistakes), and samples.

    Args:
        world: a procedural one.
        count: pictures of each kind.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.

    Returns:
        "real", "denoiser", "weak denoiser", "circuit", "independent patches" -> share from 0 to 1.

    Raises:
        TiramisuError: for a world without rules.
    """
    if world.scene is None:
        raise TiramisuError(f"{world.name} has no rules: choose a drawn world")
    real = world.images("test", count)[0]
    kinds = {"real": real}
    for name, denoiser in (("denoiser", world.denoiser), ("weak denoiser", world.weak_denoiser)):
        kinds[name] = denoiser_samples(denoiser, real, steps=steps, seed=seed)
    for name, circuit in (("circuit", world.circuit), ("independent patches", world.independent_circuit)):
        kinds[name] = circuit_samples(world, real, nothing_known(real), seed=seed, circuit=circuit)
    model = world.scene.model
    return {kind: (violations(model, world.judge.read(x)) > 0).double().mean().item() for kind, x in kinds.items()}


def study(options: argparse.Namespace) -> None:
    """Print the shares, and write them as Markdown: a column per world."""
    worlds = {name: load(name) for name in options.worlds.split(",")}
    shares = pd.DataFrame({name: rules_broken(world, seed=options.seed) for name, world in worlds.items()})
    frame = shares.map("{:.1%}".format).rename_axis("pictures").reset_index()
    title = f"Pictures, of {COUNT} each, in which the judge reads a broken rule; denoisers with {STEPS} ancestral steps"
    write_page(options.out, [Table(title, frame)])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run(study, parser("rules", __doc__, "out/rules.md").parse_args(arguments))


if __name__ == "__main__":
    main()
