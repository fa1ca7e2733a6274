"""Contact sheets: what a world's pictures look like, and what each of its models makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from studies.common import parser, run
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import ddpm
from tiramisu_edu.lab.evaluation.comparison import circuit_samples
from tiramisu_edu.lab.evaluation.sheet import save_sheet
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.world import World


def save_contact_sheet(path: str | Path, world: World, *, columns: int = 12, steps: int = 50, seed: int = 0) -> Path:
    """One PNG with test pictures, samples of the denoiser and of the circuit, and the tokenizer's reconstructions.

    Args:
        path: the PNG.
        world: its models are on the CPU; rows of models that it lacks are left out.
        columns: pictures per row; real pictures and denoiser samples have two rows.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.
    """
    real = world.images("test")[0][: 2 * columns]
    drawn = denoiser_samples(world.denoiser, real, steps=steps, seed=seed)
    rows = {"real": real[:columns], "real ": real[columns:]}
    rows |= {"denoiser": drawn[:columns], "denoiser ": drawn[columns:]}
    rows["circuit"] = circuit_samples(world, real[:columns], nothing_known(real[:columns]), seed=seed)
    if world.tokenizer is not None:
        rows["tokenizer"] = world.tokenizer.decode(world.tokenizer.encode(real[:columns]))
    return save_sheet(path, rows, f"{world.name}: real pictures, samples, and the real pictures through the tokenizer")


def rules_broken(world: World, *, count: int = 256, steps: int = 50, seed: int = 0) -> dict[str, float]:
    """Share of pictures in which the judge reads a broken rule: real ones (its own mistakes), and samples.

    Args:
        world: a procedural one.
        count: pictures of each kind.
        steps: of the denoiser's ancestral sampling.
        seed: of all samples.

    Returns:
        "real", "denoiser", "weak denoiser", "circuit", "independent patches" -> share from 0 to 1.
    """
    real = world.images("test", count)[0]
    kinds = {"real": real}
    for name, denoiser in (("denoiser", world.denoiser), ("weak denoiser", world.weak_denoiser)):
        kinds[name] = denoiser_samples(denoiser, real, steps=steps, seed=seed)
    for name, circuit in (("circuit", world.circuit), ("independent patches", world.independent_circuit)):
        kinds[name] = circuit_samples(world, real, nothing_known(real), seed=seed, circuit=circuit)
    model = world.scene.model
    return {kind: (violations(model, world.judge.read(x)) > 0).double().mean().item() for kind, x in kinds.items()}


def denoiser_samples(denoiser: Denoiser, like: Tensor, *, steps: int = 50, seed: int = 0) -> Tensor:
    """Pictures from a denoiser alone, as many and of the shape of `like` (N, C, H, W)."""
    schedule, parts = denoiser.schedule.respace(steps), []
    generators = [torch.Generator().manual_seed(1_000_003 * seed + n) for n in range(len(like))]
    for first, part in zip(range(0, len(like), 64), torch.zeros_like(like).split(64)):
        own = generators[first : first + len(part)]
        parts.append(ddpm(denoiser, schedule, part, nothing_known(part), generator=own))
    return torch.cat(parts)


def nothing_known(like: Tensor) -> Tensor:
    """(N, 1, H, W) False."""
    return torch.zeros_like(like[:, :1], dtype=torch.bool)


def study(options) -> None:
    """Draw a sheet of each world; print how many pictures of each kind break a rule."""
    for name in options.worlds.split(","):
        world = load(name)
        print(f"picture: {save_contact_sheet(options.out / f'{name}.png', world, seed=options.seed)}")
        for kind, share in rules_broken(world, seed=options.seed).items() if world.scene is not None else ():
            print(f"{kind:20} {share:6.1%} of 256 pictures break a rule, as the judge reads them")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run(study, parser("contact", __doc__, "docs/images").parse_args(arguments))


if __name__ == "__main__":
    main()
