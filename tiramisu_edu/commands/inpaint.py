"""`tiramisu-edu inpaint`: repair held-out images, or one of your own, and show it in one picture."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import TiramisuError
from ..evaluation.comparison import Cases, Scores, circuit_samples, difference, make_cases, run_method
from ..evaluation.masks import MASKS, load_mask, mask_batch
from ..evaluation.sheet import damaged, save_sheet
from ..files import atomic_path
from ..worlds.pictures import load_image

if TYPE_CHECKING:
    from ..zoo import World

COLUMNS = 12  # images shown in the picture


def run_inpaint(options: argparse.Namespace) -> int:
    """Complete the images with the plain and the steered sampler and with the circuit alone; print and draw it all."""
    from ..diffusion.samplers import get_sampler
    from ..steering.guides import check_guide_name
    from ..zoo import load

    get_sampler(options.sampler)
    check_guide_name(options.guide)
    if options.batch < 1:
        raise TiramisuError(f"--batch must be at least 1, not {options.batch}")
    device = chosen_device(options.device)
    world = on_device(load(options.world), device)
    cases, has_truth = _cases(world, options)
    print(f"world {options.world}, seed {options.seed}, {len(cases.images)} images, mask {options.mask}")

    settings = sampling_settings(options, device)
    plain, steered, circuit = Scores(), Scores(), Scores()
    completions = {options.sampler: run_method(world, cases, plain, sampler=options.sampler, guide="none", **settings)}
    methods = {options.sampler: plain}
    if options.guide != "none":
        name = f"{options.sampler} + {options.guide}"
        completions[name] = run_method(world, cases, steered, sampler=options.sampler, guide=options.guide, **settings)
        methods[name] = steered
    completions["circuit alone"] = circuit_samples(world, cases, seed=options.seed, device=device)
    circuit.add(world, cases, completions["circuit alone"])
    methods["circuit alone"] = circuit
    report = {"seed": options.seed, "mask": str(options.mask), "methods": _report(methods, cases, has_truth)}
    if options.guide != "none":
        report["guide_share"] = _print_cost(world, cases, steered, options, settings)
    title = f"{options.world}, mask {Path(options.mask).name}, {options.num_inference_steps} steps, seed {options.seed}"
    path = save_sheet(options.out, _rows(cases, completions, methods, has_truth), title)
    write_json(options.json, report)
    print(f"picture: {path}")
    return 0


def _rows(
    cases: Cases, completions: dict[str, Tensor], methods: dict[str, Scores], has_truth: bool
) -> dict[str, Tensor]:
    """The rows of the picture; where the truth is known, each label says how many digits are right."""
    rows = {"truth": cases.images[:COLUMNS]} if has_truth else {}
    rows["damaged"] = damaged(cases.images, cases.known)[:COLUMNS]
    for label, images in completions.items():
        right = float(methods[label].measure("agreement").mean())
        score = f"\n{right:.0%} right" if has_truth else ""
        rows[label.replace(" + ", "\n+ ") + score] = images[:COLUMNS]
    return rows


def sampling_settings(options: argparse.Namespace, device: torch.device) -> dict:
    """The arguments of `run_method` that the command line sets."""
    return {
        "num_inference_steps": options.num_inference_steps,
        "guided_fraction": options.guided_fraction,
        "eta": options.eta,
        "seed": options.seed,
        "device": device,
    }


def _cases(world: World, options: argparse.Namespace) -> tuple[Cases, bool]:
    """The damaged images, and whether the truth under the damage is known."""
    height, width = world.images("test")[0].shape[-2:]
    is_layout = options.mask in MASKS
    if not is_layout and not Path(options.mask).exists():
        raise TiramisuError(f"unknown mask {options.mask!r}: choose one of {', '.join(MASKS)}, or a picture file")
    if options.image is None:
        if is_layout:
            return make_cases(world, [options.mask], options.batch, seed=options.seed), True
        cases = make_cases(world, ["left"], options.batch, seed=options.seed)
        return cases._replace(known=load_mask(options.mask, height, width).expand_as(cases.known)), True
    picture = load_image(options.image, (height, width), world.images("test")[0].shape[1])
    if picture.notice:
        print(f"notice: {picture.notice}")
    image = world.codebook.image(world.codebook.categories(picture.image), picture.image.shape)
    if not torch.equal(image, picture.image):
        print(f"notice: {options.image}: its pixels are rounded to the world's {len(world.codebook.levels)} levels")
    generator = torch.Generator().manual_seed(options.seed)
    known = mask_batch(options.mask, 1, height, width, generator=generator) if is_layout else None
    known = load_mask(options.mask, height, width)[None] if known is None else known
    number = min(options.batch, COLUMNS)
    nothing = torch.zeros(number, dtype=torch.long)
    return Cases(image.repeat(number, 1, 1, 1), nothing, known.repeat(number, 1, 1, 1), nothing), False


def _report(methods: dict[str, Scores], cases: Cases, has_truth: bool) -> dict[str, dict]:
    """Print a line per method; without a truth to compare with there is nothing to print."""
    if not has_truth:
        return {}
    base_name, base = next(iter(methods.items()))
    measures = {"agreement": "digit agreement", "mse": "hidden-pixel MSE"}
    print(f"\n{'':26}" + "".join(f"{title:>17}  {f'minus {base_name} [95 %]':>30}" for title in measures.values()))
    report: dict[str, dict] = {}
    for label, scores in methods.items():
        line, report[label] = f"{label:26}", {}
        for measure in measures:
            mean = float(scores.measure(measure).mean())
            report[label][measure] = {"mean": mean}
            text = ""
            if scores is not base and len(cases.images) > 1:
                interval = difference(scores, base, measure, cases.identity)
                report[label][measure] |= interval._asdict()
                text = format_interval(interval)
            line += f"{mean:17.3f}  {text:>30}"
        print(line)
    return report


def _print_cost(world: World, cases: Cases, steered: Scores, options: argparse.Namespace, settings: dict) -> dict:
    """Print the circuit's share of the sampling time, as run and with 20 % of the steps guided."""
    fifth = Scores()
    run_method(
        world, cases, fifth, sampler=options.sampler, guide=options.guide, **(settings | {"guided_fraction": 0.2})
    )
    print(
        f"\n{options.sampler} + {options.guide}: {steered.seconds:.2f} s; the circuit's share of the sampling time is "
        f"{steered.guide_share:.1%}, and {fifth.guide_share:.1%} with 20 % of the steps guided"
    )
    return {"as_run": steered.guide_share, "at_20_percent": fifth.guide_share}


def format_interval(interval: tuple) -> str:
    """`+0.123 [+0.100, +0.146]`."""
    return f"{interval[0]:+.3f} [{interval[1]:+.3f}, {interval[2]:+.3f}]"


def write_json(path: Path | None, report: dict) -> None:
    """Write the report, where one was asked for, atomically."""
    if path is not None:
        with atomic_path(path) as unfinished:
            unfinished.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def chosen_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        TiramisuError: when there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise TiramisuError(f"device {name!r} is not available here: use --device cpu") from None
    return device


def on_device(world: World, device: torch.device) -> World:
    """The world with its denoiser and circuit on a device; the judge stays where the pictures are looked at."""
    return dataclasses.replace(world, denoiser=world.denoiser.to(device), circuit=world.circuit.to(device))
