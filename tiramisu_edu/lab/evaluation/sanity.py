"""Rows that tell what a measure is worth: completions of known quality that no diffusion sampler made.

    circuit-mean     E[x | known pixels] under the circuit: blurred, and the same for every seed
    blurred-truth    the true picture, blurred: how little a measure minds blur
    exact-draw       a draw of the hidden factors given the others, where they are listed

Each is written where a sampler's name would stand. A measure that ranks a blurred picture above all samplers, or a
sampler above exact draws, rewards something else than true completions, and may not decide which method is better.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..file_world import FileWorld
from ..worlds.scene import Scene
from .comparison import Cases, circuit_mean

Fill = Callable[[FileWorld, Cases, str, int], Tensor]


def fill_circuit_mean(world: FileWorld, cases: Cases, split: str, seed: int) -> Tensor:
    """The posterior mean of the world's circuit."""
    return circuit_mean(world.circuit, world.codebook, cases.images, cases.known).clamp(-1, 1)


def fill_blurred_truth(world: FileWorld, cases: Cases, split: str, seed: int) -> Tensor:
    """The mean of 3 x 3 pixels, taken twice."""
    padded = F.pad(cases.images, (2, 2, 2, 2), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, 3, 1), 3, 1)


def fill_exact_draw(world: FileWorld, cases: Cases, split: str, seed: int) -> Tensor:
    """Other factors in the same picture, see `exact_draws`."""
    return exact_draws(world.scene, cases, split, torch.Generator().manual_seed(seed))


SANITY: dict[str, Fill] = {
    "circuit-mean": fill_circuit_mean,
    "blurred-truth": fill_blurred_truth,
    "exact-draw": fill_exact_draw,
}
BLURRED = ("circuit-mean", "blurred-truth")


def sanity_of(world: FileWorld) -> list[str]:
    """The rows that a world has."""
    made = "circuit" in world.parts and (world.listed or (world.models / "circuit.safetensors").is_file())
    has = {"circuit-mean": made, "exact-draw": world.scene is not None}
    return [name for name in SANITY if has.get(name, True)]


def exact_draws(scene: Scene, cases: Cases, split: str, generator: torch.Generator) -> Tensor:
    """Pictures whose hidden factors are drawn from their exact conditional, (B, C, H, W).

    The draw is told what the known pixels nearly determine: the picture's place, light, shades and noise, and the
    factors of which a glimpse shows. So no sampler beats it on average, by a proper score.

    Args:
        cases: different pictures of a split, each once.
        generator: of the factors.
    """
    _, hidden = scene.seen(cases.known)
    states = scene.model.sample_given(cases.labels, ~hidden, generator)
    return scene.redrawn(split, cases.identity, states)
