"""A tokenizer that can be written down, and a world made of toys."""

import torch

from tests.steering.toy import coupled_patches, exact_denoiser
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.lab.file_world import FileWorld
from tiramisu_edu.steering.patches import from_patches, to_patches

SIDE, GRID, NUM_CODES = 2, 2, 5


class FlatTokenizer:
    """Five grey levels as codes: a patch of 2 x 2 pixels is its mean's nearest level, a code a flat patch."""

    levels = torch.linspace(-0.9, 0.9, NUM_CODES)
    num_codes, limit = NUM_CODES, 1.0

    def encode(self, images):
        return self.log_probabilities(images).argmax(-1)

    def decode(self, codes):
        values = self.levels[codes][..., None].expand(*codes.shape, SIDE**2)
        return from_patches(values, SIDE, (1, GRID * SIDE, GRID * SIDE))

    def log_probabilities(self, images, temperature=1.0):
        distance = (to_patches(images, SIDE).mean(-1, keepdim=True) - self.levels).abs()
        return torch.log_softmax(-distance / temperature, -1)


def code_circuit(seed=0, spread=3.0, dtype=torch.float32):
    """A random circuit over the 2 x 2 codes in which they depend strongly on each other."""
    graph = structures.quad_tree(GRID, GRID, num_categories=NUM_CODES, num_latents=4)
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    g = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for table in circuit.parameter_list:
            table.copy_(torch.softmax(spread * torch.randn(table.shape, generator=g).to(dtype), -1))
    return circuit


def toy_world(**more):
    """The toy of two patches as a world; `more` adds attributes."""
    circuit, book = coupled_patches()
    denoiser = exact_denoiser(circuit, book)

    def images(split, count=None):
        drawn = circuit.sample(count or 64, generator=torch.Generator().manual_seed(len(split)))
        return book.image(drawn, torch.Generator().manual_seed(1)).clamp(-1, 1), drawn

    world = FileWorld("toy")
    vars(world).update({"circuit": circuit, "codebook": book, "denoiser": denoiser, "images": images, **more})
    return world
