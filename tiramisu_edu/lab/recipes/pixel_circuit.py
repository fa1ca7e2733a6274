"""The circuit over the digits' pixels: a hidden Chow-Liu tree with 32 states per latent, by mini-batch EM."""

from __future__ import annotations

from typing import Any

import torch

from ...circuits import structures
from ...circuits.circuit import Circuit, bits_per_dimension
from ...circuits.learning import em_step, fit_em, mean_log_likelihood
from ..worlds.digits import HEIGHT, NUM_LEVELS, WIDTH, categories
from .training import Job

NUM_LATENTS = 32
RECIPE: dict[str, Any] = {"epochs": 60, "batch_size": 64, "pseudocount": 0.5}  # chosen on the validation split


def train_digits_circuit(job: Job, recipe: dict[str, Any]) -> Circuit:
    """Learn the tree and the parameters from the training split and write the circuit.

    Args:
        job: the file to write.
        recipe: epochs, batch size and pseudocount of EM.

    Returns:
        The circuit; `facts` holds the held-out likelihoods.
    """
    train, generator = categories("train"), job.generator()
    circuit = Circuit(structures.hclt(train, num_categories=NUM_LEVELS, num_latents=NUM_LATENTS), generator=generator)
    more: dict[str, Any] = {"validation": categories("validation"), "checkpoint": job.checkpoint}
    fit_em(circuit, train, generator=generator, **recipe, **more)
    nats = {split: mean_log_likelihood(circuit, categories(split)) for split in ("train", "validation", "test")}
    facts: dict[str, Any] = {
        "data": "digits, training split",
        "structure": f"HCLT, {NUM_LATENTS} latent states",
        "seed": job.seed,
        **recipe,
        "nats": {split: round(value, 3) for split, value in nats.items()},
        "test_bits_per_pixel": round(bits_per_dimension(nats["test"], circuit.num_variables), 4),
    }
    circuit.facts = facts
    circuit.save(job.path, **facts)
    return circuit


def independent_pixels() -> Circuit:
    """The control with K = 1: every pixel's own frequencies in the training split, a pseudocount added."""
    graph = structures.factorized(HEIGHT * WIDTH, num_categories=NUM_LEVELS)
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    em_step(circuit, categories("train"), pseudocount=RECIPE["pseudocount"])
    return circuit
