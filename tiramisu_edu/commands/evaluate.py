"""`tiramisu-edu evaluate`: each base sampler with and without the guide, paired, with intervals."""

from __future__ import annotations

import argparse
import time

from tqdm.auto import tqdm

from ..errors import TiramisuError
from ..evaluation.comparison import Scores, difference, make_cases, run_method
from .inpaint import chosen_device, format_interval, on_device, sampling_settings, write_json


def run_evaluate(options: argparse.Namespace) -> int:
    """Print a Markdown table: per base sampler, plain and steered means and the paired difference."""
    from ..diffusion.samplers import get_sampler
    from ..steering.guides import check_guide_name
    from ..zoo import load

    samplers, masks = options.samplers.split(","), options.masks.split(",")
    for name in samplers:
        get_sampler(name)
    if check_guide_name(options.guide) == "none":
        raise TiramisuError("nothing to compare: choose a --guide other than none")
    if options.seeds < 1:
        raise TiramisuError(f"--seeds must be at least 1, not {options.seeds}")
    device = chosen_device(options.device)
    world = on_device(load(options.world), device)
    cases = make_cases(world, masks, options.images, split=options.split, seed=options.seed)
    print(
        f"world {options.world}, {options.split} split: {options.images} images x {len(masks)} masks = "
        f"{len(cases.images)} pairs, {options.seeds} noise seeds from {options.seed}, "
        f"{options.num_inference_steps} steps, eta {options.eta:g}, guide {options.guide}\n"
    )
    print(
        "| sampler | agreement plain | steered | steered - plain [95 %] | MSE plain | steered "
        "| steered - plain [95 %] | s plain | s steered | circuit's share |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    start, report = time.perf_counter(), {}
    for sampler in samplers:
        scores = {guide: Scores() for guide in ("none", options.guide)}
        settings = sampling_settings(options, device)
        for repeat in tqdm(range(options.seeds), desc=sampler, unit="seed", leave=False):
            for guide, score in scores.items():
                settings["seed"] = options.seed + repeat
                run_method(world, cases, score, sampler=sampler, guide=guide, **settings)
        report[sampler] = _row(sampler, scores["none"], scores[options.guide], cases.identity)
    print(f"\n{time.perf_counter() - start:.0f} s in all; seconds are for all completions of a row")
    write_json(options.json, {"settings": {k: str(v) for k, v in vars(options).items()}, "samplers": report})
    return 0


def _row(sampler: str, plain: Scores, steered: Scores, identity) -> dict[str, object]:
    row: dict[str, object] = {}
    cells = [sampler]
    for measure in ("agreement", "mse"):
        interval = difference(steered, plain, measure, identity)
        means = [float(s.measure(measure).mean()) for s in (plain, steered)]
        cells += [f"{means[0]:.3f}", f"{means[1]:.3f}", format_interval(interval)]
        row[measure] = {"plain": means[0], "steered": means[1], **interval._asdict()}
    cells += [f"{plain.seconds:.1f}", f"{steered.seconds:.1f}", f"{steered.guide_share:.1%}"]
    print("| " + " | ".join(cells) + " |", flush=True)
    return row | {"seconds": {"plain": plain.seconds, "steered": steered.seconds}, "guide_share": steered.guide_share}
