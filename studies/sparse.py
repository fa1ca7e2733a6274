"""What do sparse sums cost, or gain? A circuit over codes is trained, its smallest sum weights go, EM goes on.

    python -m studies.sparse --latents 64 --shares 0.25,0.1

Every sum unit keeps a share of its edges, the heaviest; EM at pseudocount 0 leaves the others at zero. Beside it stands
the dense circuit with half the states, a quarter of the sum weights. All see the same training codes, as often.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from studies import common
from studies.lvd import CodeData, LVDSettings, bits_per_code, code_data, with_latents
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import fit_em
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load

SETTINGS = LVDSettings(images=8_192, held_out=2_048, epochs=8)


class Trained(NamedTuple):
    """A circuit, the bits per code of each test picture (N,), and the processor time of its training."""

    circuit: Circuit
    bits: Tensor
    seconds: float


@torch.no_grad()
def prune(circuit: Circuit, share: float) -> None:
    """Each sum unit keeps this share of its edges, the heaviest, rounded up; in place."""
    for index, region in enumerate(circuit.graph.regions):
        if not region.is_input and region.tied_to is None:
            table = circuit.region_table(index)
            lightest = table.topk(math.ceil(share * table.shape[1]), dim=1).values[:, -1:]
            kept = table * (table >= lightest)
            circuit.set_region_table(index, kept / kept.sum(1, keepdim=True))


def sum_weights(circuit: Circuit) -> int:
    """How many weights of sums are not zero."""
    sums = (n for n, region in enumerate(circuit.graph.regions) if not region.is_input and region.tied_to is None)
    return sum(int((circuit.region_table(n) > 0).sum()) for n in sums)


def trained(circuit: Circuit, data: CodeData, epochs: int, pseudocount: float) -> Trained:
    """EM on a circuit, in place; the parameters that were best on the validation codes are kept."""
    began = time.process_time()
    more: dict[str, Any] = {"batch_size": SETTINGS.batch_size, "generator": torch.Generator().manual_seed(0)}
    fit_em(
        circuit, data.train, validation=data.validation, epochs=epochs, pseudocount=pseudocount, progress=False, **more
    )
    return Trained(circuit, bits_per_code(circuit, data.test), time.process_time() - began)


def compare(data: CodeData, graph: Any, latents: int, shares: Sequence[float], settings: LVDSettings) -> pd.DataFrame:
    """A row for each circuit: the first half of the passes, and the second with fewer edges or with all."""
    half = settings.epochs // 2
    first = trained(Circuit(with_latents(graph, latents)), data, half, settings.pseudocount)
    done = {f"K = {latents}, dense": trained(deepcopy(first.circuit), data, half, settings.pseudocount)}
    for share in shares:
        circuit = deepcopy(first.circuit)
        prune(circuit, share)
        cut = bits_per_code(circuit, data.test).mean()
        name = f"K = {latents}, {share:.0%} of the edges ({cut:.3f} before EM went on)"
        done[name] = trained(circuit, data, half, 0.0)
    smaller = trained(Circuit(with_latents(graph, latents // 2)), data, half, settings.pseudocount).circuit
    done[f"K = {latents // 2}, dense"] = trained(smaller, data, half, settings.pseudocount)
    dense = next(iter(done.values())).bits
    rows = []
    for name, run in done.items():
        paired = "" if run.bits is dense else f"{interval(run.bits - dense):+.3f}"
        row = {"circuit": name, "sum weights": f"{sum_weights(run.circuit):,}"}
        row |= {"test bits per code [95 %]": f"{interval(run.bits):.3f}", "minus the first [95 %]": paired}
        rows.append(row | {"last passes, s": f"{run.seconds:.0f}"})
    return pd.DataFrame(rows)


def study(options) -> None:
    """Write the table."""
    world = load(options.worlds)
    settings = LVDSettings(images=128, held_out=32, epochs=2) if options.quick else SETTINGS
    data = code_data(world, settings)
    shares = [float(text) for text in options.shares.split(",")]
    graph = world.code_circuits[options.circuit].graph
    title = f"{options.worlds}: {options.circuit}, {len(data.train)} training and {len(data.test)} test pictures"
    common.write_page(options.out, [Table(title, compare(data, graph, options.latents, shares, settings))])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = common.parser("sparse", __doc__, "docs/results/gpt/sparse.md")
    options.add_argument("--circuit", default="hclt", help="of the world: hclt or quad_tree")
    options.add_argument("--latents", type=int, default=64, help="K")
    options.add_argument("--shares", default="0.25,0.1", help="of the edges that are kept")
    options.add_argument("--quick", action="store_true", help="in seconds, to see it work")
    common.run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
