"""Is a circuit as good a model of codes as a GPT? Bits per code of both on the same pictures, and what they cost.

    gpt           autoregressive transformer, trained until its learning rate is 0; weights of the best validation
    random        a circuit from a random start, then EM
    teacher       the same, its latents started as clusters of the picture around them (latent variable distillation)
    transformer   the same, clusters of a masked transformer's beliefs, as the paper has it

All see the same training codes and are judged on the same test codes. Circuits answer any conditional exactly; a GPT
answers those in reading order only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from studies import common
from studies.lvd import CodeData, LVDSettings, bits_per_code, code_data, train_from
from studies.masked_teacher import teach_by_transformer
from studies.transformers import TransformerSettings, train_transformer
from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.lab.palette import new_figure, save_figure, series_style
from tiramisu_edu.lab.recipes.code_circuit import STRUCTURE_IMAGES, code_graph
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.world import World


@dataclass(frozen=True)
class GPTSettings:
    """What is compared.

    Attributes:
        circuits: structure, K and start of each.
        lvd: pictures of each split, and the EM of every circuit; its other fields are not used.
        gpt, masked: the two transformers.
        minutes: after which the GPT stops, wherever it is.
    """

    circuits: tuple[tuple[str, int, str], ...] = (
        *((name, 128, start) for name in ("hclt", "quad_tree") for start in ("random", "teacher")),
        ("hclt", 256, "teacher"),
        ("quad_tree", 32, "random"),
        ("poon_domingos", 32, "random"),
    )
    lvd: LVDSettings = field(default_factory=lambda: LVDSettings(images=16_384))
    gpt: TransformerSettings = field(default_factory=TransformerSettings)
    masked: TransformerSettings = field(default_factory=lambda: TransformerSettings(causal=False, epochs=8))
    minutes: float | None = None


TINY: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "epochs": 2, "batch_size": 32, "warmup": 2}
QUICK = GPTSettings(
    circuits=(("quad_tree", 4, "random"), ("quad_tree", 4, "transformer"), ("poon_domingos", 2, "random")),
    lvd=LVDSettings(images=128, held_out=32, epochs=2, batch_size=64),
    gpt=TransformerSettings(**TINY),
    masked=TransformerSettings(causal=False, **TINY),
)


class Model(NamedTuple):
    """One trained model.

    name, start, size: which; "shipped" is a circuit of the world, whose training is not measured. parameters: numbers
    learned. before: processor time spent before training, on a teacher's clusters; a transformer that teaches is not in
    it. seconds, bits: processor time and validation bits per code after each epoch. test_bits: (N,) bits per code of
    each test picture, of the parameters that were best on validation.
    """

    name: str
    start: str
    size: str
    parameters: int
    before: float
    seconds: list[float]
    bits: list[float]
    test_bits: Tensor

    @property
    def label(self) -> str:
        return self.name if self.name == "gpt" else f"{self.name}, K = {self.size}, {self.start}"


def measure(world: World, s: GPTSettings, folder: Path) -> list[Model]:
    """Train all models on a world's codes; each is kept in a folder when it is done, and a GPT while it is trained."""
    assert world.tokenizer is not None, "the world has no codes"
    data, num_codes = code_data(world, s.lvd), world.tokenizer.num_codes
    masked = folder / f"{world.name}.masked"
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "gpt": partial(_gpt, data, num_codes, s, folder / f"{world.name}.gpt.training")
    }
    for name in world.code_circuits:
        jobs[f"{name}_shipped"] = partial(_shipped, data, world, name)
    for which in s.circuits:
        jobs["_".join(map(str, which))] = partial(_circuit, data, num_codes, s, which, masked)
    request, found = asdict(replace(s, circuits=(), minutes=None)), []
    for name, job in jobs.items():
        is_whole = name != "gpt" or s.minutes is None
        kept = Checkpoint(folder / f"{world.name}.{name}" if is_whole else None, request)
        found.append(Model(**kept.results([job], torch.Generator(), name)[0]))
    return found


def _gpt(data: CodeData, num_codes: int, s: GPTSettings, checkpoint: Path | None) -> dict[str, Any]:
    network, looks = train_transformer(data.train, data.validation, num_codes, s.gpt, checkpoint, s.minutes)
    size = f"{s.gpt.depth} x {s.gpt.width}, {len(looks.steps)} of {s.gpt.epochs} epochs"
    count = sum(p.numel() for p in network.parameters())
    return Model("gpt", "", size, count, 0.0, looks.seconds, looks.bits, network.bits(data.test))._asdict()


def _shipped(data: CodeData, world: World, name: str) -> dict[str, Any]:
    circuit = world.code_circuits[name]
    bits = bits_per_code(circuit, data.test)
    K = circuit.graph.regions[0].num_units
    return Model(name, "shipped", str(K), circuit.graph.num_parameters, 0.0, [], [], bits)._asdict()


def _circuit(
    data: CodeData, num_codes: int, s: GPTSettings, which: tuple[str, int, str], checkpoint: Path | None
) -> dict[str, Any]:
    name, K, start = which
    graph = graph_of(name, data.train[:STRUCTURE_IMAGES], num_codes, K)
    teacher = None
    if start == "transformer":
        network, _ = train_transformer(data.train, data.validation, num_codes, s.masked, checkpoint)
        teacher = partial(teach_by_transformer, codes=data.train, network=network)
    run = train_from(graph, data, start, seed=0, settings=s.lvd, teacher=teacher)
    epochs = len(run.bits) - 1
    seconds = [run.teach_seconds + run.em_seconds * epoch / epochs for epoch in range(epochs + 1)]
    print(f"{name}, K = {K}, {start}: {run.test_bits.mean():.3f} bits per code, {seconds[-1]:.0f} s", flush=True)
    measured = run.teach_seconds, seconds, run.bits.tolist(), run.test_bits
    return Model(name, start, str(K), graph.num_parameters, *measured)._asdict()


def graph_of(name: str, codes: Tensor, num_codes: int, num_latents: int) -> RegionGraph:
    """A structure over a square grid of codes (N, n); Poon-Domingos in squares of two codes a side."""
    if name != "poon_domingos":
        return code_graph(name, codes, num_codes, num_latents)
    side = round(codes.shape[1] ** 0.5)
    return structures.poon_domingos(side, side, num_categories=num_codes, num_latents=num_latents, step=2)


def table(world_name: str, models: Sequence[Model]) -> Table:
    """One row per model: test bits per code, and how much more than the first one's, paired by picture."""
    gpt = models[0].test_bits
    rows = [
        {
            "model": m.name.replace("_", " "),
            "K, or layers x width": m.size,
            "start": m.start,
            "parameters": f"{m.parameters / 1e6:.2f} M",
            "test bits per code [95 %]": f"{interval(m.test_bits):.3f}",
            "minus GPT's [95 %]": "" if m.test_bits is gpt else f"{interval(m.test_bits - gpt):+.3f}",
            "teaching + training, s": f"{m.before:.0f} + {m.seconds[-1] - m.before:.0f}" if m.seconds else "",
        }
        for m in models
    ]
    return Table(f"{world_name}: {len(gpt)} test pictures", pd.DataFrame(rows))


def plot(path: Path, found: Mapping[str, Sequence[Model]]) -> Path:
    """A panel per world: validation bits per code against processor time."""
    figure, panels = new_figure(4.8 * len(found), 4.2, 1, len(found), squeeze=False)
    for axis, (world, models) in zip(panels[0], found.items()):
        models = [model for model in models if model.seconds]
        for number, model in enumerate(models):
            axis.plot(model.seconds, model.bits, markersize=3, label=model.label, **series_style(number))
        axis.set(xscale="log", xlabel="processor time, s", ylabel="validation bits per code", title=world)
        highest = max(model.bits[-1] for model in models)
        axis.set_ylim(min(min(model.bits) for model in models) - 0.1, highest + 0.8)
        axis.legend(frameon=False, fontsize=7)
    return save_figure(figure, path)


def study(options) -> None:
    """Write gpt.md and gpt.png."""
    settings = QUICK if options.quick else GPTSettings()
    if options.epochs:
        settings = replace(settings, gpt=replace(settings.gpt, epochs=options.epochs))
    settings = replace(settings, minutes=options.minutes)
    if options.circuits:
        chosen = (text.split(":") for text in options.circuits.split(","))
        settings = replace(settings, circuits=tuple((name, int(K), start) for name, K, start in chosen))
    names = options.worlds.split(",")
    found = {name: measure(load(name), settings, options.checkpoints) for name in names}
    for name, models in found.items():
        common.write_page(options.out / f"{name}.md", [table(name, models)])
        print(f"picture: {plot(options.out / f'{name}.png', {name: models})}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = common.parser("gpt", __doc__, "docs/results/gpt")
    options.add_argument("--epochs", type=int, help="of the GPT; None: 20")
    options.add_argument("--minutes", type=float, help="after which the GPT stops, wherever it is")
    options.add_argument("--circuits", metavar="NAME:K:START,...", help="None: seven")
    options.add_argument("--checkpoints", type=Path, default=Path("out/gpt"), help="folder of what is done")
    options.add_argument("--quick", action="store_true", help="in seconds, to see it work")
    common.run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
