"""Tunes samplers and guides on validation images, each with the same number of tries, and keeps the best as data.

Methods can be compared only if all were tuned alike. Each sampler has eight candidates for its most important
options, tried on the same pictures, masks and noise; test images are not used. Two guides have constants that no
derivation gives, and eight candidates too: the latent guide's temperatures, and the bandwidth of the control without a
circuit.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint
from ...errors import TiramisuError
from ...files import write_text
from ..file_world import FileWorld
from .comparison import make_cases, run_method
from .measures import ENERGY, MEASURES, energies, measure
from .origin import file_digests

CANDIDATES = 8
BASE = "replacement"  # the sampler that carries a guide while it is tuned, with its own tuned options

_ETAS = [{"eta": eta} for eta in (0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0)]
_DESCENTS = [  # a cross: rates at the middle backtrack, then shorter and longer backtracks at the two middle rates
    *({"rate": rate, "backtrack": 0.5} for rate in (0.8, 2.5, 8.0, 25.0)),
    *({"rate": rate, "backtrack": backtrack} for backtrack in (0.25, 0.7) for rate in (2.5, 8.0)),
]

GRIDS: dict[str, list[dict[str, Any]]] = {
    "replacement": _ETAS,
    "ddnm": _ETAS,
    "ddrm": [{"eta": eta, "clip": clip} for clip in (False, True) for eta in (0.5, 0.7, 0.85, 1.0)],
    "repaint": [{"jump_length": j, "repeats": r} for j in (1, 2, 4, 8) for r in (2, 5)],
    "dps": [{"zeta": zeta} for zeta in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)],
    "resampling": [{"particles": 8, "resample_below": share} for share in (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)],
    "copaint": _DESCENTS,
    "copaint-tt": _DESCENTS,
    "daps": [{"ode_steps": k, "langevin_time": time} for time in (0.0, 0.005) for k in (1, 2, 3, 5)],
    "diffpir": [{"zeta": zeta} for zeta in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)],
    "ding": [{"power": power, "delayed": delayed} for delayed in (False, True) for power in (0.0, 0.03, 0.25, 1.0)],
    "tds": [{"data_variance": v} for v in (0.003, 0.01, 0.03, 0.12, 0.3, 1.0, 3.0, 10.0)],
}

GUIDE_GRIDS: dict[str, list[dict[str, Any]]] = {
    "latent": [{"tau_hidden": hidden, "tau_known": known} for known in (0.01, 1.0) for hidden in (0.3, 1, 3, 10)],
    "difference-kernel": [{"variance": v} for v in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)],
}


class Task(NamedTuple):
    """On what candidates are compared.

    Attributes:
        masks: each image is repaired under each.
        steps: denoising steps T.
        images: of the validation split.
        seed: of image choice and noise; an energy score takes the next one too.
        measure: decides which candidate is best; see `MEASURES`.
    """

    masks: list[str]
    steps: int
    images: int
    seed: int
    measure: str


def tune(world: FileWorld, name: str, task: Task, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """Try all candidates of a sampler or guide.

    Args:
        world: its validation split is used.
        name: of a sampler in `GRIDS` or a guide in `GUIDE_GRIDS`.
        task: on what they are compared.
        checkpoint: of what was tried, for one name or several; written after each candidate.

    Returns:
        "options": the best candidate, "tried": [(candidate, mean of the measure), ...], "made_from" (see
        `FileWorld.made_from`), and the fields of the task. A candidate with a picture that is not finite has None as
        its mean.

    Raises:
        TiramisuError: no candidate has a finite mean; see `best_of`.
    """
    cases = make_cases(world, task.masks, task.images, split="validation", seed=task.seed)
    trial = copy.copy(world)
    if name in GUIDE_GRIDS:
        tuned, sampler, guide = "guide_options", BASE, name
    else:
        tuned, sampler, guide = "sampler_options", name, "none"
    run: dict[str, Any] = {"sampler": sampler, "guide": guide, "num_inference_steps": task.steps}
    seeds = (task.seed, task.seed + 1) if task.measure in ENERGY else (task.seed,)
    kept, grid = checkpoint or Checkpoint(None, {}), (GRIDS | GUIDE_GRIDS)[name]
    state = kept.load() or {}
    tried: list[tuple[dict[str, Any], float | None]] = [(candidate, value) for candidate, value in state.get(name, [])]
    for candidate in tqdm(grid[len(tried) :], desc=name, unit="candidate", initial=len(tried), total=len(grid)):
        setattr(trial, tuned, {**getattr(world, tuned), name: candidate})  # as if it had been chosen before
        done = torch.stack([run_method(trial, cases, seed=s, device=world.device, **run).images for s in seeds])
        mean = float("nan")
        if done.isfinite().all():
            scores = energies(trial, done, cases) if len(seeds) > 1 else measure(trial, done[0], cases)
            mean = scores[task.measure].nanmean().item()  # NaN: does not apply to a picture
        tried.append((candidate, mean if math.isfinite(mean) else None))
        kept.save({**state, name: tried})
    made_from = world.made_from("denoiser", *(["tokenizer"] if name == "latent" else []))
    return {"options": best_of(tried, name, task.measure), "tried": tried, "made_from": made_from} | task._asdict()


def tuning_request(options: Any, world: FileWorld) -> dict[str, Any]:
    """What identifies a run of `tiramisu-edu tune`: its settings, all candidates, and the world's models."""
    names = ("world", "size", "masks", "steps", "images", "seed", "measure")
    asked = {name: getattr(options, name) for name in names}
    own = {"base": world.sampler_options.get(BASE, {}), "models": file_digests(world)}
    return asked | {"candidates": GRIDS | GUIDE_GRIDS, **own}


def best_of(tried: Sequence[tuple[dict[str, Any], float | None]], name: str, measure_name: str) -> dict[str, Any]:
    """The candidate with the best mean; those without one are counted in a warning, and never best.

    Raises:
        TiramisuError: none has a finite mean.
    """
    finite = [(mean, candidate) for candidate, mean in tried if mean is not None]
    failed = [str(candidate) for candidate, mean in tried if mean is None]
    if not finite:
        raise TiramisuError(f"no candidate of {name} has a finite {measure_name}: nothing can be tuned")
    if failed:
        warnings.warn(f"{name}: not finite, so left out: {', '.join(failed)}", stacklevel=2)
    best = min if MEASURES[measure_name].lower_is_better else max
    return best(finite, key=lambda pair: pair[0])[1]


def save_tuned(path: str | Path, found: Mapping[str, Any]) -> None:
    """Write what `tune` found as JSON, beside what was found before for other names, atomically."""
    kept = json.loads(Path(path).read_text(encoding="utf-8")) if Path(path).is_file() else {}
    write_text(path, json.dumps({**kept, **found}, indent=1, sort_keys=True) + "\n")
