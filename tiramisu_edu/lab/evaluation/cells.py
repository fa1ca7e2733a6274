"""One cell of the table: a method on a world's images under one mask, with one seed. The unit that is run and kept.

A cell's file holds the completions, every number of every image, and the cost. Inside is everything that decided its
numbers, and its name ends in a digest of that. A cell of other origin is run again, so a table is made of cells that
belong together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...diffusion.samplers import get_sampler
from ...errors import FileError, TiramisuError, known_name
from ...files import load_safetensors, save_safetensors
from ...names import GUIDES
from ...world import World
from ..file_world import FileWorld
from ..zoo import load
from .comparison import Cases, Completed, make_cases, run_method
from .measures import measure
from .origin import origin
from .sanity import SANITY
from .sheet import as_levels

KIND, VERSION = "evaluation cell", 1
COSTS = ("seconds", "guide_seconds", "forward", "backward")


@dataclass(frozen=True, order=True)
class Method:
    """A sampler and its guide, written `sampler`, `sampler+guide` or `sampler+guide@fraction`.

    Attributes:
        sampler: its name; "twisted" is the particle filter that needs no guide; or a row of `sanity.SANITY`.
        guide: its name, "none" for the plain sampler.
        fraction: share of the steps that are guided; None is the guide's own default.
    """

    sampler: str
    guide: str = "none"
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> Method:
        """The method of that name.

        Raises:
            TiramisuError: not of this form, or no such sampler or guide.
        """
        found = re.fullmatch(r"([a-z-]+)(?:\+([a-z-]+)(?:@(0(?:\.[0-9]+)?|1(?:\.0+)?))?)?", text.strip())
        if found is None:
            raise TiramisuError(f"cannot read the method {text!r}: write sampler, sampler+guide or sampler+guide@0.2")
        sampler, guide, fraction = found.groups()
        if sampler not in ("twisted", *SANITY):
            get_sampler(sampler)
        return cls(sampler, known_name("guide", guide or "none", GUIDES), None if fraction is None else float(fraction))

    @property
    def base(self) -> Method:
        """The same sampler without a guide."""
        return Method(self.sampler)

    @property
    def steered(self) -> bool:
        """Whether a circuit takes part."""
        return self.guide != "none" or self.sampler == "twisted"

    def __str__(self) -> str:
        if self.guide == "none":
            return self.sampler
        return f"{self.sampler}+{self.guide}" + ("" if self.fraction is None else f"@{self.fraction:g}")


@dataclass(frozen=True)
class Cell:
    """The settings of one run. Two equal cells give equal numbers.

    Attributes:
        world, mask: names.
        method: see `Method`.
        steps: denoising steps T.
        seed: of the noise. Image choice and masks have seed 0 in all cells: every method repairs the same pictures.
        images: how many, of the split.
        split: "test", or "validation" for tuning.
        eta: 0 is deterministic DDIM, 1 has the noise of DDPM; None is the sampler's own choice.
        dtype: of the denoising network, "float32" or "bfloat16"; everything else is computed in float32.
        size, models: of a folder, as `load` takes them.
    """

    world: str
    mask: str
    method: Method
    steps: int
    seed: int
    images: int
    split: str = "test"
    eta: float | None = None
    dtype: str = "float32"
    size: int | None = None
    models: str | None = None

    def load(self) -> FileWorld:
        """Its world; nothing is read yet."""
        return load(self.world, size=self.size, models=self.models)

    @property
    def name(self) -> str:
        """The name of its file, without the folder. Whatever decides its numbers is in the digest at its end."""
        world = re.sub(r"[^A-Za-z0-9]+", "-", self.world)
        extra = ("" if self.split == "test" else f"-{self.split}") + ("" if self.eta is None else f"-eta{self.eta:g}")
        what = f"{world}-{self.mask}-{self.method}-{self.steps}x{self.images}-{self.seed}{extra}"
        digest = hashlib.sha256(json.dumps(origin_of(self.load(), self), sort_keys=True).encode()).hexdigest()
        return f"{what}-{digest[:8]}.safetensors"


@dataclass(frozen=True)
class CellResult:
    """What a cell gave.

    Attributes:
        cell: its settings.
        completions: (N, C, H, W) uint8, 0 for -1 and 255 for 1.
        metrics: name -> (N,) float64, one number per image.
        identity: (N,) number of the image in its split.
        seconds, guide_seconds: of all N, as in `InpaintResult`, and the guide's part of them.
        forward, backward: network evaluations per image.
        origin: what decided the numbers, see `origin_of`; empty where it is not known.
    """

    cell: Cell
    completions: Tensor
    metrics: dict[str, Tensor]
    identity: Tensor
    seconds: float
    guide_seconds: float
    forward: float
    backward: float
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) the completions in [-1, 1]."""
        return self.completions.float() / 127.5 - 1

    @property
    def evaluations(self) -> float:
        """Network evaluations per image, a backward pass counted as two by convention: F + 2 B."""
        return self.forward + 2 * self.backward


def cell_cases(world: World, cell: Cell) -> Cases:
    """The damaged pictures of a cell: the same for every method and seed."""
    return make_cases(world, [cell.mask], cell.images, split=cell.split, seed=0)


def origin_of(world: FileWorld, cell: Cell) -> dict[str, Any]:
    """What decides a cell's numbers in a world, as it is now: the settings, the files read, options and sources."""
    return {"request": dataclasses.asdict(cell), **origin(world, cell.method.sampler, cell.method.guide)}


def run_cell(world: FileWorld, cell: Cell, device: torch.device) -> CellResult:
    """Complete all images of a cell and measure them."""
    cases, made_from, method = cell_cases(world, cell), origin_of(world, cell), cell.method
    if method.sampler in SANITY:
        filled = SANITY[method.sampler](world, cases, cell.split, cell.seed)
        done = Completed(torch.where(cases.known, cases.images, filled))
    else:
        settings: dict[str, Any] = {
            "sampler": method.sampler,
            "guide": method.guide,
            "guided_fraction": method.fraction,
        }
        settings |= {"num_inference_steps": cell.steps, "eta": cell.eta}
        done = run_method(world, cases, seed=cell.seed, device=device, **settings)
    levels, metrics = as_levels(done.images), measure(world, done.images, cases)
    return CellResult(cell, levels, metrics, cases.identity, *done[1:], made_from)


def save_cell(folder: str | Path, result: CellResult) -> Path:
    """Keep a result, atomically; returns the file."""
    path = Path(folder) / result.cell.name
    tensors = {f"metric.{name}": values for name, values in result.metrics.items()}
    tensors |= {"completions": result.completions, "identity": result.identity}
    facts = {name: getattr(result, name) for name in (*COSTS, "origin")}
    save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=facts)
    return path


def load_cell(folder: str | Path, cell: Cell) -> CellResult | None:
    """The kept result; None where there is none, where it is damaged, or where its origin is another than now."""
    path = Path(folder) / cell.name
    if not path.is_file():
        return None
    try:
        tensors, facts = load_safetensors(path, kind=KIND, version=VERSION)
    except FileError:
        return None
    if facts.get("origin") != origin_of(cell.load(), cell):
        return None
    metrics = {name.removeprefix("metric."): values for name, values in tensors.items() if name.startswith("metric.")}
    costs = [float(facts[name]) for name in COSTS]
    found: list[Any] = [tensors["completions"], metrics, tensors["identity"], *costs, facts["origin"]]
    return CellResult(cell, *found)
