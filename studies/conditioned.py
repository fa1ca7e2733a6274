"""The control that every practitioner would train: a denoiser that sees the known pixels and the mask.

python -m studies.conditioned --worlds digits --minutes 18

It is the shipped UNet with C + 1 more input channels, the known pixels (0 where hidden) and the mask; their weights
begin at 0. It starts from the shipped denoiser and is trained further, by the recipe of that denoiser, on the masks of
the evaluation: in all it has had more training than the denoiser beside it. It is sampled by plain DDIM and needs no
guide. The last table has a mask of a kind that it was not trained on.

Every method has the same pictures, masks and noise, and two seeds. Differences are method minus conditioned denoiser,
by whole pictures; positive ones say that the conditioned denoiser is better. E is F + B evaluations of the network for
one image.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pixel_unshuffle

from studies.common import below_the_command, parser, run, write_page
from studies.paired import SEEDS, complete, scores
from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.networks import build_network, network_config
from tiramisu_edu.diffusion.samplers import ddim
from tiramisu_edu.lab.common import fast_bfloat16
from tiramisu_edu.lab.evaluation.comparison import Cases, make_cases, run_method
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.lab.evaluation.significance import interval
from tiramisu_edu.lab.recipes.denoiser import DIGITS, SCALES
from tiramisu_edu.lab.recipes.denoiser_training import TrainingSettings, learning_rate, target
from tiramisu_edu.lab.recipes.training import Clock, Training, adamw
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.masks import mask_batch
from tiramisu_edu.names import PAPER_MASKS
from tiramisu_edu.world import World

MASKS, UNSEEN = ("left", "expand1", "vstrip", "wide"), ("vertical_strips",)
RIVALS = ("dps", "replacement", "replacement+difference", "dps+difference")
POOL = 512  # masks drawn of each kind for training


class Conditioned(nn.Module):
    """A network (x_t, t) -> output that also sees `given`, (B, C + 1, H, W): known pixels and mask, in blocks."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        described = network_config(denoiser.network)
        config, channels = described["config"], described["config"]["in_channels"]
        more = channels + denoiser.patch**2
        self.network = build_network(described | {"config": {**config, "in_channels": channels + more}})
        weights = dict(denoiser.network.state_dict())
        of_x_t = weights["conv_in.weight"]
        weights["conv_in.weight"] = torch.cat([of_x_t, of_x_t.new_zeros(len(of_x_t), more, *of_x_t.shape[2:])], 1)
        self.network.load_state_dict(weights)
        self.patch, self.given = denoiser.patch, torch.empty(0)

    def condition(self, images: Tensor, known: Tensor) -> None:
        """What is given of the images that are denoised next."""
        self.given = pixel_unshuffle(torch.cat([torch.where(known, images, 0), known.float()], 1), self.patch)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.network(torch.cat([x_t, self.given], 1), t).sample


class Average(nn.Module):
    """The moving average of a network's weights, and a copy of it at its best on held-out pictures."""

    best_loss: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.now, self.best = copy.deepcopy(network).eval(), copy.deepcopy(network).eval()
        self.register_buffer("best_loss", torch.tensor(math.inf))

    def look(self, loss: Tensor) -> None:
        """Keep the average if its loss is the least so far."""
        if loss < self.best_loss:
            self.best_loss = loss
            self.best.load_state_dict(self.now.state_dict())


def batches(world: World, split: str, generator: torch.Generator) -> Callable[[int], tuple[Tensor, ...]]:
    """Size -> a random batch: pictures, their known pixels by masks as the evaluation draws them, times, noise."""
    images = world.images(split)[0]
    masks = torch.cat([mask_batch(name, POOL, *images.shape[2:], generator=generator) for name in PAPER_MASKS])

    def batch(size: int) -> tuple[Tensor, ...]:
        rows, kinds, i = (
            torch.randint(most, (size,), generator=generator) for most in (len(images), len(masks), len(world.schedule))
        )
        x_0 = images[rows]
        return x_0, masks[kinds], i, torch.randn(x_0.shape, generator=generator)

    return batch


def loss_of(denoiser: Any, batch: tuple[Tensor, ...], bfloat16: bool = False) -> Tensor:
    """Mean squared error of v over the hidden pixels and the known ones, as the shipped denoiser was trained."""
    x_0, known, i, noise = batch
    denoiser.network.condition(x_0, known)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        output = denoiser.output(denoiser.schedule.add_noise(x_0, i, noise), i)
    return mse_loss(output.float(), target(denoiser, x_0, noise, i).float())


def train(world: World, settings: TrainingSettings, path: Path) -> tuple[Denoiser, str]:
    """The conditioned denoiser of a world, and a sentence about its training; a killed run goes on from `path`."""
    network, generator = Conditioned(world.denoiser), torch.Generator().manual_seed(settings.seed)
    network.requires_grad_(True)
    student, average = wrapped(world.denoiser, network.train()), Average(network)
    judged = wrapped(world.denoiser, average.now)
    draw = batches(world, "train", generator)
    held_out = batches(world, "validation", torch.Generator().manual_seed(1))(1024)
    bfloat16 = settings.patch > 1 and fast_bfloat16("cpu")

    @torch.no_grad()
    def after(step: int, loss: Tensor) -> None:
        for mine, theirs in zip(average.now.parameters(), network.parameters()):
            mine.lerp_(theirs, 1 - min(settings.average_decay, step / (9 + step)))
        if step % settings.validate_every == 0 or clock.finished:
            average.look(torch.stack([loss_of(judged, part) for part in zip(*(p.split(256) for p in held_out))]).mean())
            print(f"step {step}, held out at best {average.best_loss:.4f}", flush=True)

    clock = Clock(settings.steps, settings.minutes)
    rate = adamw(network, lambda step: learning_rate(settings, clock.at(step)), settings.weight_decay)
    training = Training(network, rate, generator, clock, {"average": average}, settings.gradient_norm)
    request = {"settings": asdict(settings), "world": world.name}
    training.run(
        world.name,
        lambda step: loss_of(student, draw(settings.batch_size), bfloat16),
        Checkpoint(path, request),
        after=after,
    )
    extra = sum(p.numel() for p in network.parameters()) / sum(p.numel() for p in world.denoiser.parameters()) - 1
    note = f"{clock.step} steps in {clock.seconds / 60:.0f} minutes, {extra:.1%} more weights than the shipped denoiser"
    return wrapped(world.denoiser, average.best), f"{note}, held-out loss of v {average.best_loss:.4f}"


def wrapped(shipped: Denoiser, network: nn.Module) -> Denoiser:
    """A denoiser of another network, in all else as the shipped one."""
    return Denoiser(network, shipped.schedule, shipped.prediction_type, patch=shipped.patch, clip=shipped.clip)


def plain(denoiser: Any) -> Callable[..., Tensor]:
    """DDIM of a conditioned denoiser, called as any sampler."""

    def sample(_: Denoiser, schedule: Any, image: Tensor, known: Tensor, **options: Any) -> Tensor:
        denoiser.network.condition(image, known)
        return ddim(denoiser, schedule, image, known, **options)

    return sample


def compared(world: World, denoiser: Denoiser, cases: Cases, steps: int) -> list[list[str]]:
    """A row per method, the conditioned denoiser first: its scores and by how much they differ from the first row's."""
    run: dict[str, Any] = {
        "sampler": plain(denoiser),
        "guide": "none",
        "num_inference_steps": steps,
        "device": torch.device("cpu"),
    }
    done = {"conditioned": [run_method(world, cases, seed=s, **run) for s in SEEDS]}
    done |= {method: complete(world, cases, method, steps) for method in RIVALS}
    rows: list[list[str]] = []
    first: dict[str, Tensor] = {}
    for method, runs in done.items():
        errors = [hidden_mse(each.images, cases.images, cases.known) for each in runs]
        found = {"hidden MSE": torch.stack(errors).mean(0), **scores(world, cases, runs)}
        first = first or found
        row = [method, f"{steps}", f"{runs[0].forward + runs[0].backward:.0f}"]
        for name, values in found.items():
            row += [f"{values.mean():.4f}"]
            row += ["–" if method == "conditioned" else f"{interval(values - first[name], cases.identity):+.4f}"]
        rows.append(row)
        print(" | ".join(row), flush=True)
    return [["method", "steps", "E", *(text for name in first for text in (name, "minus conditioned [95 %]"))], *rows]


def study(options: argparse.Namespace) -> None:
    """Train and compare, world by world."""
    steps = [int(count) for count in options.steps.split(",")]
    for name in options.worlds.split(","):
        tables, world = [], load(name)
        recipe = DIGITS if name == "digits" else SCALES["laptop"]
        settings = replace(recipe.settings, seed=options.seed, minutes=options.minutes)
        denoiser, note = train(world, settings, Path(f"build/conditioned/{name}.checkpoint"))
        for masks in (MASKS, UNSEEN):
            cases = make_cases(world, masks, options.images)
            columns, *rows = [row for n, s in enumerate(steps) for row in compared(world, denoiser, cases, s)[n > 0 :]]
            seen = "masks of the training" if masks == MASKS else "a mask of another kind"
            title = f"{name}, {seen}: {', '.join(masks)}; {options.images} test pictures. {note}"
            tables.append(Table(title, pd.DataFrame(rows, columns=columns)))
        write_page(options.out / f"{name}.md", tables, below_the_command(__doc__))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    found = parser("conditioned", __doc__, "docs/results/conditioned", "digits, clothes, faces, rooms")
    found.add_argument("--images", type=int, default=32, help="test pictures")
    found.add_argument("--minutes", type=float, default=8.0, help="of training")
    found.add_argument("--steps", default="4,12,25", metavar="A,B", help="of sampling")
    run(study, found.parse_args(arguments))


if __name__ == "__main__":
    main()
