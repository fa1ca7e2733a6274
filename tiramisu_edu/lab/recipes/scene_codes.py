"""Circuits over the VQ codes of faces and rooms: a hidden Chow-Liu tree or a quad-tree, distilled and refined by EM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...circuits import structures
from ...circuits.circuit import Circuit, bits_per_dimension
from ...circuits.learning import fit_em, mean_log_likelihood
from ...circuits.regions import RegionGraph
from ...errors import TiramisuError
from ...tokenizer import Tokenizer
from ..worlds.scene import Scene
from .picture_teacher import teach

STRUCTURES = ("hclt", "quad_tree")


@dataclass(frozen=True)
class CodeSettings:
    """Sizes of a code circuit.

    Attributes:
        images: of the training split.
        structure_images: of these, for the mutual information of a Chow-Liu tree, which costs (64 x 256)^2 per image.
        num_latents: K, states per latent.
        epochs: passes of EM over the codes.
        batch_size: pictures per EM step.
        pseudocount: samples' worth of evenness added to each node's edges.
    """

    images: int = 16_384
    structure_images: int = 4_096
    num_latents: int = 32
    epochs: int = 12
    batch_size: int = 256
    pseudocount: float = 0.2


def train_code_circuit(
    scene: Scene,
    path: str | Path,
    tokenizer_path: str | Path,
    structure: str,
    *,
    seed: int = 0,
    size: int = 32,
    settings: CodeSettings | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Circuit:
    """Learn a circuit over a tokenizer's codes of the training split, and write it.

    Args:
        scene: whose pictures.
        path: the file to write, atomically.
        tokenizer_path: the tokenizer whose codes are the variables.
        structure: "hclt" or "quad_tree".
        seed: of distillation and of the mini-batches.
        size: of the pictures in pixels.
        settings: see `CodeSettings`; its defaults if None.
        checkpoint: file to resume EM from.

    Returns:
        The circuit; `facts` holds the held-out bits per code.
    """
    s = settings or CodeSettings()
    tokenizer = Tokenizer.load(tokenizer_path)
    train = scene.images("train", s.images, size=size)[0]
    codes = encode(tokenizer, train)
    held_out = {split: encode(tokenizer, scene.images(split, size=size)[0]) for split in ("validation", "test")}
    generator = torch.Generator().manual_seed(seed)
    circuit = Circuit(
        code_graph(structure, codes[: s.structure_images], tokenizer.num_codes, s.num_latents), generator=generator
    )
    teach(circuit, codes, train, generator)
    fit_em(
        circuit,
        codes,
        validation=held_out["validation"],
        epochs=s.epochs,
        batch_size=s.batch_size,
        pseudocount=s.pseudocount,
        checkpoint=checkpoint,
        generator=generator,
        progress=progress,
    )
    nats = mean_log_likelihood(circuit, held_out["test"])
    circuit.facts = {
        "data": f"{scene.name}, VQ codes of {s.images} training images of {size} x {size}",
        "structure": f"{structure}, K = {s.num_latents}",
        "seed": seed,
        "test_bits_per_code": round(bits_per_dimension(nats, circuit.num_variables), 4),
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


def encode(tokenizer: Tokenizer, images: Tensor, batch: int = 1024) -> Tensor:
    """Codes (N, D) long of images (N, C, H, W), batch by batch."""
    return torch.cat([tokenizer.encode(part) for part in images.split(batch)])
