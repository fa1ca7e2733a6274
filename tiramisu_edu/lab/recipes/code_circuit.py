"""Circuits over the VQ codes of pictures: a hidden Chow-Liu tree or a quad-tree, distilled and refined by EM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...circuits import structures
from ...circuits.circuit import Circuit, bits_per_dimension
from ...circuits.learning import READ, fit_em, mean_log_likelihood
from ...circuits.regions import RegionGraph
from ...errors import known_name
from ...tokenizer import PATCH, Tokenizer
from ..datafiles import digest_of
from ..memory import PROGRAM
from ..worlds.stored import Pictures
from .picture_teacher import teach
from .training import Job

STRUCTURES = ("hclt", "quad_tree")
STRUCTURE_IMAGES = 4_096  # for the mutual information of a Chow-Liu tree, which costs (64 x 256)^2 per image
ENCODED = 256  # pictures at once
RECIPE: dict[str, Any] = {"batch_size": 256, "pseudocount": 0.2}  # of EM


@dataclass(frozen=True)
class CodeSettings:
    """Sizes of a circuit over codes.

    Attributes:
        structure: one of `STRUCTURES`.
        num_codes: of the tokenizer, for what is known of the memory before it is read.
        images: of the training split.
        num_latents: K, states per latent.
        epochs: passes of EM over the codes.
    """

    structure: str = "hclt"
    num_codes: int = 256
    images: int = 16_384
    num_latents: int = 32
    epochs: int = 12


def train_code_circuit(job: Job, settings: CodeSettings) -> Circuit:
    """Learn a circuit over the codes of the training split by the tokenizer beside it, and write it.

    Returns:
        The circuit; `facts` holds the held-out bits per code.
    """
    s, generator, made_of = settings, job.generator(), job.made("tokenizer")
    tokenizer = Tokenizer.load(made_of).to(job.device)
    train = job.source.images("train", s.images)[0]
    held_out = (job.source.images(split)[0] for split in ("validation", "test"))
    codes, validation, test = (encode(tokenizer, images) for images in (train, *held_out))
    graph = code_graph(s.structure, codes[:STRUCTURE_IMAGES], tokenizer.num_codes, s.num_latents)
    circuit = Circuit(graph, generator=generator).to(job.device)
    teach(circuit, codes, train, generator)
    more: dict[str, Any] = {"validation": validation, "checkpoint": job.checkpoint, "generator": generator}
    fit_em(circuit, codes, epochs=s.epochs, **RECIPE, **more)
    bits = bits_per_dimension(mean_log_likelihood(circuit, test), circuit.num_variables)
    circuit.facts = {
        "data": f"{job.source.name}, VQ codes of {len(train)} training images of {train.shape[2]} x {train.shape[3]}",
        "structure": f"{s.structure}, K = {s.num_latents}",
        "seed": job.seed,
        "test_bits_per_code": round(bits, 4),
        "made_from": {"tokenizer": digest_of(made_of)},
    }
    circuit.save(job.path, half=True, **circuit.facts)
    return circuit


def code_graph(structure: str, codes: Tensor, num_codes: int, num_latents: int) -> RegionGraph:
    """The region graph over a square grid of codes (N, D).

    Raises:
        TiramisuError: for another structure.
    """
    if known_name("structure", structure, STRUCTURES) == "hclt":
        return structures.hclt(codes, num_categories=num_codes, num_latents=num_latents)
    grid = round(codes.shape[1] ** 0.5)
    return structures.quad_tree(grid, grid, num_categories=num_codes, num_latents=num_latents)


def encode(tokenizer: Tokenizer, images: Pictures) -> Tensor:
    """Codes (N, D) long of images (N, C, H, W), batch by batch."""
    device = tokenizer.codebook.device
    return torch.cat([tokenizer.encode(part.to(device)).cpu() for part in images.split(ENCODED)])


def code_memory(settings: CodeSettings, count: int, size: int) -> float:
    """About how many bytes `train_code_circuit` takes for `count` pictures of size x size, as measured."""
    s, D, N = settings, (size // PATCH) ** 2, min(count, settings.images)
    of_pictures = N * (2 * 8 * D + 4 * 300 * 3)
    of_parameters = 16 * 4 * D * s.num_latents * (s.num_latents + s.num_codes)
    of_batches = 4 * D * (4 * min(N, READ) * s.num_latents + ENCODED * (600 + 8 * s.num_codes))
    return PROGRAM + of_pictures + of_parameters + of_batches + 8 * 3 * s.num_codes**2
