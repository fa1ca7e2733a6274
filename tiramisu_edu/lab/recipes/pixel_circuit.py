"""The circuit over the digits' pixels: a hidden Chow-Liu tree with 32 states per latent, by mini-batch EM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...circuits import structures
from ...circuits.circuit import Circuit, bits_per_dimension
from ...circuits.learning import em_step, fit_em, mean_log_likelihood
from ..worlds.digits import HEIGHT, NUM_LEVELS, WIDTH, categories

NUM_LATENTS = 32
RECIPE: dict[str, Any] = {"epochs": 60, "batch_size": 64, "pseudocount": 0.5}  # chosen on the validation split


def train_digits_circuit(path: str | Path, *, seed: int = 0, checkpoint: str | Path | None = None) -> Circuit:
    """Learn the tree and the parameters from the training split and write the circuit.

    Args:
        path: the file to write, atomically.
        seed: of the random start and of the mini-batches.
        checkpoint: file to resume from.

    Returns:
        The circuit; `facts` holds the held-out likelihoods.
    """
    generator = torch.Generator().manual_seed(seed)
    train = categories("train")
    circuit = Circuit(structures.hclt(train, num_categories=NUM_LEVELS, num_latents=NUM_LATENTS), generator=generator)
    more: dict[str, Any] = {"checkpoint": checkpoint, "generator": generator}
    fit_em(circuit, train, validation=categories("validation"), **RECIPE, **more)
    nats = {split: mean_log_likelihood(circuit, categories(split)) for split in ("train", "validation", "test")}
    facts: dict[str, Any] = {
        "data": "digits, training split",
        "structure": f"HCLT, {NUM_LATENTS} latent states",
        "seed": seed,
        **RECIPE,
        "nats": {split: round(value, 3) for split, value in nats.items()},
        "test_bits_per_pixel": round(bits_per_dimension(nats["test"], circuit.num_variables), 4),
    }
    circuit.facts = facts
    circuit.save(path, **facts)
    return circuit


def independent_pixels() -> Circuit:
    """The control with K = 1: every pixel's own frequencies in the training split, a pseudocount added."""
    graph = structures.factorized(HEIGHT * WIDTH, num_categories=NUM_LEVELS)
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    em_step(circuit, categories("train"), pseudocount=RECIPE["pseudocount"])
    return circuit
