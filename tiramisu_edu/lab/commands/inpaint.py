"""`tiramisu-edu inpaint`: repair held-out images, or one of your own, and show it in one picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...names import GUIDES, SAMPLERS, WORLDS
from .options import WorldOptions, option

HELP = "fill in the hidden part of images"
SHARED = ("sampler", "num_inference_steps", "guided_fraction", "eta", "seed")  # by all methods


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu inpaint`."""

    world: str = option("faces", f"one of {', '.join(WORLDS)}, or folder:PATH")
    guide: str | None = option(
        None, f"one of {', '.join(GUIDES)}; None: difference, or of a folder the better of it and difference-field"
    )
    num_inference_steps: int = option(25, "denoising steps", metavar="T")
    guided_fraction: float | None = option(
        None, "share of the steps, from the noisiest on, that are guided; None: mixture 0.2, difference 1", metavar="F"
    )
    eta: float | None = option(None, "0: deterministic, 1: the noise of DDPM; None: the sampler's own")
    seed: int = option(0, "of image choice, noise and intervals")
    json: Path | None = option(None, "also write the numbers to FILE", metavar="FILE", writes="file")
    image: Path | None = option(None, "a picture; default: held-out images", metavar="FILE")
    mask: str = option("left", "a layout or a picture, white = fill in", metavar="NAME|FILE")
    sampler: str = option("replacement", f"one of {', '.join(SAMPLERS)}")
    batch: int = option(64, "how many held-out images, or completions of FILE, 12 at most")
    out: Path = option(Path("out/inpaint.png"), "the sheet; each completed picture goes beside it", writes="picture")


def run(options: Options) -> int:
    """Complete the images with the plain and the steered sampler and with the circuit alone; print and draw it all."""
    from ...diffusion.samplers import get_sampler
    from ...methods import make_guide
    from ..common import completed_paths, save_completed, write_json
    from ..evaluation.comparison import Completed, circuit_samples, run_method
    from ..evaluation.measures import measure
    from ..evaluation.sheet import save_sheet
    from ..photo_files import complete_own
    from ..repair import comparison, repair_cases, sheet_rows
    from ..zoo import world_of

    get_sampler(options.sampler)
    world = world_of(options)
    options = replace(options, guide=options.guide or world.best_guide)
    guide = make_guide(options.guide, world, fraction=options.guided_fraction)  # what is missing shows before the work
    if options.image is not None:
        return complete_own(world, options)
    cases = repair_cases(world, options.mask, options.batch, seed=options.seed)
    completed = completed_paths(options, [f"test_{n}" for n in cases.identity.tolist()])
    print(f"world {options.world}, seed {options.seed}, {len(cases.images)} images, mask {options.mask}")

    settings = {name: getattr(options, name) for name in SHARED} | {"device": world.device}
    methods, steered = {options.sampler: run_method(world, cases, guide="none", **settings)}, options.guide != "none"
    name = f"{options.sampler} + {options.guide}"
    if steered:
        methods[name] = run_method(world, cases, guide=options.guide, **settings)
    if not name.endswith("-field"):  # which needs no circuit
        methods["circuit alone"] = Completed(circuit_samples(world, cases.images, cases.known, seed=options.seed))
    measured = {label: measure(world, done.images, cases) for label, done in methods.items()}
    report = {"seed": options.seed, "mask": options.mask, "methods": comparison(measured, cases)}
    if guide is not None:
        done = methods[name]
        share, fifth = done.guide_share, done.guide_share_at(0.2, guide.fraction, options.num_inference_steps)
        print(f"\n{name}: {done.seconds:.2f} s; the guide's share of the sampling time is {share:.1%},", end=" ")
        print(f"and {fifth:.1%} with 20 % of the steps guided")
        report["guide_share"] = {"as_run": share, "at_20_percent": fifth}
    print(save_completed(completed, methods[name if steered else options.sampler].images))
    title = f"{world.label}, mask {Path(options.mask).name}, {options.num_inference_steps} steps, seed {options.seed}"
    print(f"picture: {save_sheet(options.out, sheet_rows(cases, methods, measured), title)}")
    write_json(options.json, report)
    return 0
