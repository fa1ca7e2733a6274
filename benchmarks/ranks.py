"""The same training by one, two and four processes: seconds, and how far the results differ.

    python -m benchmarks.ranks --out docs/benchmarks/ranks.md

Processes of one machine talk over gloo, each on one thread, as `torchrun` starts them. More processes than cores are
slower; what is to be seen there is that the result stays.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.clustering import kmeans
from tiramisu_edu.circuits.learning import fit_em
from tiramisu_edu.diffusion.networks import build_network
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.files import write_text
from tiramisu_edu.lab.recipes.denoiser_training import TrainingSettings, train_denoiser
from tiramisu_edu.lab.recipes.picture_teacher import teach
from tiramisu_edu.lab.table import Table
from tiramisu_edu.ranks import process_rank, summed

RANKS = (1, 2, 4)
NETWORK = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 64],
}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=_generator()) * 2 - 1


def _parameters(circuit: Circuit) -> Tensor:
    return torch.cat([table.detach().flatten() for table in circuit.parameter_list])


def denoiser() -> Tensor:
    """Ten steps of 32 pictures of 32 x 32."""
    torch.manual_seed(0)
    network = build_network({"class": "UNet2DModel", "config": NETWORK})
    settings = TrainingSettings(steps=10, batch_size=32, warmup=2, validate_every=10)
    train_denoiser(network, _pictures(256), Schedule.cosine(100), settings)
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def em() -> Tensor:
    """Four steps of EM with 4096 rows, a quad-tree of 64 variables with 64 values, K = 32."""
    circuit = Circuit(structures.quad_tree(8, 8, num_categories=64, num_latents=32), generator=_generator())
    fit_em(circuit, torch.randint(64, (4096, 64), generator=_generator()), epochs=4, progress=False)
    return _parameters(circuit)


def clusters() -> Tensor:
    """64 clusters of 16 384 points of 48 numbers."""
    return kmeans(torch.randn(1, 16_384, 48, generator=_generator()), 64, generator=_generator())[0].flatten()


def distillation() -> Tensor:
    """A quad-tree of 64 variables, K = 32, taught by 2048 pictures."""
    circuit = Circuit(structures.quad_tree(8, 8, num_categories=64, num_latents=32), generator=_generator())
    teach(circuit, torch.randint(64, (2048, 64), generator=_generator()), _pictures(2048), _generator())
    return _parameters(circuit)


PARTS: dict[str, Callable[[], Tensor]] = {
    "denoiser": denoiser,
    "EM": em,
    "k-means": clusters,
    "latent variable distillation": distillation,
}


def work(out: Path) -> None:
    """One process: every part, and in the first one's file what it made and what it took."""
    torch.set_num_threads(1)
    if torch.distributed.is_torchelastic_launched():
        torch.distributed.init_process_group("gloo")
    found = {}
    for name, part in PARTS.items():
        summed([torch.zeros(1)])  # all begin together
        wall, processor = time.perf_counter(), time.process_time()
        made = part()
        (spent,) = summed([torch.tensor([time.process_time() - processor], dtype=torch.float64)])
        found[name] = {"made": made, "wall": time.perf_counter() - wall, "processor": float(spent)}
    if process_rank() == 0:
        torch.save(found, out)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def measure(ranks: int, out: Path) -> dict[str, dict]:
    """What so many processes made and took, by part."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
    command = [sys.executable, "-m", *launcher, "benchmarks.ranks", "--work", str(out)]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    return torch.load(out)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=(__doc__ or "").split("\n")[0])
    options.add_argument("--out", type=Path, help="also write the table to FILE")
    options.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if chosen.work:
        return work(chosen.work)
    with tempfile.TemporaryDirectory() as folder:
        found = {ranks: measure(ranks, Path(folder) / str(ranks)) for ranks in RANKS}
    rows = []
    for name, part in PARTS.items():
        row = {"part": name, "what": (part.__doc__ or "").rstrip(".")}
        for ranks, parts in found.items():
            row[f"{ranks}: wall / processor, s"] = f"{parts[name]['wall']:.1f} / {parts[name]['processor']:.1f}"
            if ranks > 1:
                far = (parts[name]["made"] - found[1][name]["made"]).abs().max() / found[1][name]["made"].abs().max()
                row[f"{ranks}: off by"] = f"{far:.1e}"
        rows.append(row)
    title = f"Processes on {os.cpu_count()} cores; largest difference from one process, over the largest number"
    text = Table(title, pd.DataFrame(rows)).markdown()
    print(text)
    if chosen.out:
        write_text(chosen.out, text)


if __name__ == "__main__":
    main()
