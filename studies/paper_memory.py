"""What the parts of the paper's configuration take on this machine: seconds, and memory at the peak.

    python -m studies.paper_memory

Every part runs in a process of its own, with random weights: 16 x 16 codes of 1024, pictures of 256 x 256, one thread.
A part that needs more memory than is free is left out, and the table says so.
"""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from studies import common
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.pyjuice import load_pyjuice
from tiramisu_edu.diffusion.networks import build_network
from tiramisu_edu.lab.memory import GB, PROGRAM, free_memory
from tiramisu_edu.lab.table import Table
from tiramisu_edu.tokenizer import VQTokenizer

SIDE, CODES, PICKS = 16, 1024, 64  # of codes; codes; products that a unit of a sparse circuit mixes
BLOCKS = {"in_channels": 3, "out_channels": 3, "layers_per_block": 2}
VQ_GAN = BLOCKS | {
    "block_out_channels": [128, 128, 256, 256, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4 + ["AttnDownEncoderBlock2D"],
    "up_block_types": ["AttnUpDecoderBlock2D"] + ["UpDecoderBlock2D"] * 4,
    "latent_channels": 256,
    "num_vq_embeddings": CODES,
    "sample_size": 256,
}
DENOISER = BLOCKS | {  # of google/ddpm-celebahq-256
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "down_block_types": ["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4,
    "sample_size": 256,
}

Steps = Iterator[str]  # yields the name of each step when it is done


def circuit(K: int) -> Steps:
    """Our quad-tree."""
    made = Circuit(structures.quad_tree(SIDE, SIDE, num_categories=CODES, num_latents=K))
    yield f"build {made.graph.num_parameters / 1e6:.0f} M parameters"
    evidence = torch.randn(1, SIDE**2, CODES)
    made.posterior_marginals(evidence)
    yield "first query"
    made.posterior_marginals(evidence)
    yield "all marginals of a picture"


def sparse_file(K: int, path: Path) -> None:
    """A quad-tree as PyJuice writes it, each unit of a sum with a product vector of its own, C = 256."""
    random, vectors = np.random.default_rng(0), list[dict[str, Any]]()

    def add(**entry: Any) -> int:
        vectors.append(entry)
        return len(vectors) - 1

    def region(top: int, left: int, side: int) -> int:
        if side == 1:
            table = random.dirichlet(np.ones(256), K).astype(np.float32).reshape(-1)
            name = b"\x80\x02cpyjuice.nodes.distributions.categorical\nCategorical\n)\x81"
            kind = name + pickle.dumps({"num_cats": 256}, 2)[2:-1] + b"b."
            sizes = {"type": "Input", "num_node_blocks": K, "block_size": 1, "chs": ()}
            return add(**sizes, scope=[top * SIDE + left], params=table, dist=kind)
        half, units = side // 2, 1 if side == SIDE else K
        below = tuple(region(top + a, left + b, half) for a in (0, half) for b in (0, half))
        shape = {"type": "Product", "num_node_blocks": PICKS, "block_size": 1, "chs": below}
        products = [add(**shape, edge_ids=random.integers(0, K, (PICKS, 4))) for _ in range(units)]
        edges = np.stack([np.repeat(np.arange(units), PICKS), np.arange(units * PICKS)])
        weights = random.dirichlet(np.ones(PICKS), units).astype(np.float32).reshape(-1, 1, 1)
        sizes = {"type": "Sum", "num_node_blocks": units, "block_size": 1}
        return add(**sizes, chs=tuple(products), edge_ids=edges, params=weights)

    region(0, 0, SIDE)
    path.write_bytes(pickle.dumps(vectors))


def sparse(K: int) -> Steps:
    """Import of a PyJuice circuit with sparse products."""
    with tempfile.TemporaryDirectory() as folder:
        sparse_file(K, Path(folder) / "circuit.jpc")
        yield "write"
        made = load_pyjuice(Path(folder) / "circuit.jpc")
        yield f"read {len(made.graph.regions)} regions, {made.graph.num_parameters / 1e6:.0f} M parameters"
        made.posterior_marginals(torch.zeros(1, SIDE**2, 256))
        yield "all marginals of a picture"


def vq_gan(_: int) -> Steps:
    """A VQ-GAN, f = 16."""
    tokenizer = VQTokenizer(build_network({"class": "VQModel", "config": VQ_GAN})).eval()
    yield "build"
    with torch.no_grad():
        codes = tokenizer.encode(torch.zeros(1, 3, 256, 256))
        yield "encode a picture"
        tokenizer.decode(codes.expand(8, -1))
    yield "decode eight"


def denoiser(_: int) -> Steps:
    """A denoiser of 256 x 256."""
    network = build_network({"class": "UNet2DModel", "config": DENOISER}).eval()
    yield "build"
    picture = torch.zeros(1, 3, 256, 256, requires_grad=True)
    with torch.no_grad():
        network(picture, 1)
    yield "one call"
    network(picture, 1).sample.sum().backward()
    yield "one call back and forth, as CoPaint has it"


# part -> what it makes, its size, and about how many bytes it takes beside the program
PARTS: dict[str, tuple[Callable[[int], Steps], int, float]] = {
    **{f"quad-tree, K = {K}": (circuit, K, 2.2 * 4 * 256 * K * (CODES + K / 3)) for K in (256, 512, 1024)},
    **{f"sparse .jpc, K = {K}": (sparse, K, 2.5 * 4 * 85 * 5 * PICKS * K**2) for K in (64, 128, 256, 1024)},
    "VQ-GAN": (vq_gan, 0, 3 * GB),
    "denoiser": (denoiser, 0, 6 * GB),
}


def work(part: str) -> None:
    """One part, in this process: its steps and their seconds, and the peak, as a line of JSON."""
    make, size, _ = PARTS[part]
    steps, began = [], time.process_time()
    for name in make(size):
        steps.append([name, time.process_time() - began])
        began = time.process_time()
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"steps": steps, "peak": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def measured(part: str) -> dict[str, str]:
    """A row of the table."""
    needed = PARTS[part][2] + PROGRAM
    row = {"part": part, "expected, GB": f"{needed / GB:.1f}"}
    if needed > free_memory():
        return row | {"peak, GB": "", "processor seconds": f"left out: {free_memory() / GB:.1f} GB are free"}
    command = [sys.executable, "-m", "studies.paper_memory", "--part", part]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    seconds = "; ".join(f"{name}: {spent:.2f}" for name, spent in found["steps"])
    return row | {"peak, GB": f"{found['peak'] / GB:.1f}", "processor seconds": seconds}


def study(options) -> None:
    """Write the table, or do one part."""
    if options.part:
        return work(options.part)
    names = options.only.split(";") if options.only else list(PARTS)
    rows = []
    for name in names:
        rows.append(measured(name))
        print(rows[-1], flush=True)
    common.write_page(options.out, [Table("Parts of the paper's configuration, one thread", pd.DataFrame(rows))])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = common.parser("paper_memory", __doc__, "docs/results/paper_memory.md", worlds="")
    options.add_argument("--only", metavar="A;B", help=f"of {'; '.join(PARTS)}")
    options.add_argument("--part", choices=PARTS, help="one, in this process")
    common.run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
