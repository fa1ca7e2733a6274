"""Circuits over the VQ codes of pictures: a hidden Chow-Liu tree or a quad-tree, distilled and refined by EM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...circuits import structures
from ...circuits.circuit import Circuit, bits_per_dimension
from ...circuits.learning import READ, fit_em, mean_log_likelihood
from ...circuits.regions import RegionGraph
from ...errors import TiramisuError
from ...tokenizer import PATCH, Tokenizer
from ..datafiles import digest_of
from ..memory import PROGRAM
from ..worlds.stored import Pictures
from .picture_teacher import teach
from .training import Source

STRUCTURES = ("hclt", "quad_tree")


STRUCTURE_IMAGES = 4_096  # for the mutual information of a Chow-Liu tree, which costs (64 x 256)^2 per image
RECIPE: dict[str, Any] = {"batch_size": 256, "pseudocount": 0.2}  # of EM


def train_code_circuit(
    scene: Source,
    path: str | Path,
    tokenizer_path: str | Path,
    structure: str,
    *,
    seed: int = 0,
    num_images: int = 16_384,
    num_latents: int = 32,
    epochs: int = 12,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
) -> Circuit:
    """Learn a circuit over a tokenizer's codes of the training split, and write it.

    Args:
        scene: whose pictures.
        path: the file to write, atomically.
        tokenizer_path: the tokenizer whose codes are the variables.
        structure: "hclt" or "quad_tree".
        seed: of distillation and of the mini-batches.
        num_images: of the training split.
        num_latents: K, states per latent.
        epochs: passes of EM over the codes.
        device: where to learn.
        checkpoint: file to resume EM from.

    Returns:
        The circuit; `facts` holds the held-out bits per code.
    """
    tokenizer = Tokenizer.load(tokenizer_path).to(device)
    train = scene.images("train", num_images)[0]
    codes, validation, test = (
        encode(tokenizer, images) for images in (train, *(scene.images(split)[0] for split in ("validation", "test")))
    )
    generator = torch.Generator().manual_seed(seed)
    graph = code_graph(structure, codes[:STRUCTURE_IMAGES], tokenizer.num_codes, num_latents)
    circuit = Circuit(graph, generator=generator).to(device)
    teach(circuit, codes, train, generator)
    more: dict[str, Any] = {"validation": validation, "checkpoint": checkpoint, "generator": generator}
    fit_em(circuit, codes, epochs=epochs, **RECIPE, **more)
    nats = mean_log_likelihood(circuit, test)
    circuit.facts = {
        "data": f"{scene.name}, VQ codes of {len(train)} training images of {train.shape[2]} x {train.shape[3]}",
        "structure": f"{structure}, K = {num_latents}",
        "seed": seed,
        "test_bits_per_code": round(bits_per_dimension(nats, circuit.num_variables), 4),
        "made_from": {"tokenizer": digest_of(Path(tokenizer_path))},
    }
    circuit.save(path, half=True, **circuit.facts)
    return circuit


def code_graph(structure: str, codes: Tensor, num_codes: int, num_latents: int) -> RegionGraph:
    """The region graph over a square grid of codes (N, D).

    Raises:
        TiramisuError: for another structure.
    """
    if structure == "hclt":
        return structures.hclt(codes, num_categories=num_codes, num_latents=num_latents)
    if structure == "quad_tree":
        grid = round(codes.shape[1] ** 0.5)
        return structures.quad_tree(grid, grid, num_categories=num_codes, num_latents=num_latents)
    raise TiramisuError(f"unknown structure {structure!r}: choose one of {', '.join(STRUCTURES)}")


def encode(tokenizer: Tokenizer, images: Pictures, batch: int = 256) -> Tensor:
    """Codes (N, D) long of images (N, C, H, W), batch by batch."""
    device = tokenizer.codebook.device
    return torch.cat([tokenizer.encode(part.to(device)).cpu() for part in images.split(batch)])


def code_memory(num_codes: int, num_latents: int, count: int, size: int) -> float:
    """About how many bytes `train_code_circuit` takes for `count` pictures of size x size."""
    D = (size // PATCH) ** 2
    of_pictures = count * (2 * 8 * D + 4 * 300 * 3)
    of_parameters = 6 * 4 * D * num_latents * (num_latents + num_codes)
    return PROGRAM + of_pictures + of_parameters + 4 * 4 * D * READ * num_latents + 8 * 3 * num_codes**2
