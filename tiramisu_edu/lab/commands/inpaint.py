"""`tiramisu-edu inpaint`: repair held-out images, or one of your own, and show it in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...names import GUIDES, SAMPLERS, WORLDS
from .options import WorldOptions, option

HELP = "fill in the hidden part of images"


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu inpaint`."""

    world: str = option("faces", f"one of {', '.join(WORLDS)}, or folder:PATH")
    guide: str = option("difference", f"one of {', '.join(GUIDES)}")
    num_inference_steps: int = option(25, "denoising steps", metavar="T")
    guided_fraction: float | None = option(
        None,
        "share of the steps, from the noisiest on, that ask the circuit; None: mixture 0.2, difference 1",
        metavar="F",
    )
    eta: float | None = option(None, "0: deterministic, 1: the noise of DDPM; None: the sampler's own")
    seed: int = option(0, "of image choice, noise and intervals")
    json: Path | None = option(None, "also write the numbers to FILE", metavar="FILE", writes="file")
    image: Path | None = option(None, "a picture; default: held-out images", metavar="FILE")
    mask: str = option("left", "a layout or a picture, white = fill in", metavar="NAME|FILE")
    sampler: str = option("replacement", f"one of {', '.join(SAMPLERS)}")
    batch: int = option(64, "how many held-out images, or completions of FILE")
    out: Path = option(Path("out/inpaint.png"), "the picture to write; its suffix is its format", writes="picture")


def run(options: Options) -> int:
    """Complete the images with the plain and the steered sampler and with the circuit alone; print and draw it all."""
    import torch

    from ...diffusion.samplers import get_sampler
    from ...methods import make_guide
    from ...pictures import save_image
    from ..common import write_json
    from ..evaluation.comparison import Completed, circuit_samples, run_method
    from ..evaluation.measures import measure
    from ..evaluation.sheet import save_sheet
    from ..repair import comparison, repair_cases, result_paths, sheet_rows
    from ..zoo import world_of

    get_sampler(options.sampler)
    world, device = world_of(options), torch.device(options.device)
    make_guide(options.guide, world)  # what is missing or damaged shows before the work
    cases, has_truth = repair_cases(world, options.mask, options.batch, image=options.image, seed=options.seed)
    completed = result_paths(options, len(cases.images)) if options.image else []
    print(f"world {options.world}, seed {options.seed}, {len(cases.images)} images, mask {options.mask}")

    shared = ("sampler", "num_inference_steps", "guided_fraction", "eta", "seed")
    settings = {name: getattr(options, name) for name in shared} | {"device": device}
    methods, steered = {options.sampler: run_method(world, cases, guide="none", **settings)}, options.guide != "none"
    name = f"{options.sampler} + {options.guide}"
    if steered:
        methods[name] = run_method(world, cases, guide=options.guide, **settings)
    alone = circuit_samples(world, cases.images, cases.known, seed=options.seed)
    methods["circuit alone"] = Completed(alone, 0.0, 0.0, 0.0, 0.0)
    measured = {label: measure(world, done.images, cases) for label, done in methods.items()} if has_truth else {}
    report = {"seed": options.seed, "mask": options.mask, "methods": comparison(measured, cases)}
    if steered:
        fifth = run_method(world, cases, guide=options.guide, **settings | {"guided_fraction": 0.2}).guide_share
        share = methods[name].guide_share
        print(
            f"\n{name}: {methods[name].seconds:.2f} s; the circuit's share of the sampling time is {share:.1%}, "
            f"and {fifth:.1%} with 20 % of the steps guided"
        )
        report["guide_share"] = {"as_run": share, "at_20_percent": fifth}
    title = f"{world.label}, mask {Path(options.mask).name}, {options.num_inference_steps} steps, seed {options.seed}"
    print(f"picture: {save_sheet(options.out, sheet_rows(cases, methods, measured), title)}")
    for path, image in zip(completed, methods[name if steered else options.sampler].images):
        save_image(image, path)
    if completed:
        print("completed: " + ", ".join(map(str, completed)))
    write_json(options.json, report)
    return 0
