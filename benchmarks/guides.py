"""What a guide adds to the time of its sampler, for every world, sampler and guide asked for.

    python -m benchmarks.guides --worlds faces --samplers replacement,copaint --guides difference,latent

Runs without and with the guide alternate, with the same pictures, noise and steps, on one thread; seconds are the
process's own, so that other programs do not count. The guide is timed inside the guided run: base is the rest of that
run's fastest repetition. Goals: at 20 % of the steps at most 1.05 times CoPaint, and 1.10 times any other sampler.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor

from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.common import machine_facts
from tiramisu_edu.lab.evaluation.comparison import generators_for, make_cases
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.guide import own_generator

COLUMNS = ["world", "sampler", "guide", "guided", "B", "base ms", "guide ms", "per guided step", "total / base", "goal"]
STEPS = 15


class Timed:
    """A guide, and the seconds spent in it; its attributes are the guide's own."""

    def __init__(self, guide: Any):
        self.guide, self.seconds = guide, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guide, name)

    def __call__(self, step: Step) -> Tensor:
        start = time.process_time()
        x_0 = self.guide(step)
        self.seconds += time.process_time() - start
        return x_0


def measure(world_name: str, sampler: str, guide: str, *, fraction: float, batch: int, repeats: int) -> list[str]:
    """A line of the table: least milliseconds of a run without the guide, and of the guide within one."""
    world = load(world_name)
    world.calibrate()
    cases = make_cases(world, ["left"], batch)
    rest, guided, steps = [], [], 0
    for _ in range(repeats):
        generator = generators_for(cases, 0)
        timed = Timed(make_guide(guide, world, fraction=fraction, generator=own_generator(generator)))
        options: dict[str, Any] = {"sampler": sampler, "num_inference_steps": STEPS}
        start = time.process_time()
        inpaint(world, cases.images, cases.known, guide=timed, generator=generator, **options)
        guided.append(timed.seconds)
        rest.append(time.process_time() - start - timed.seconds)
        steps = timed.cost["steps"]
    base, own, goal = min(rest), min(guided), 1.05 if sampler.startswith("copaint") else 1.10
    numbers = f"{1e3 * base:.0f}", f"{1e3 * own:.1f}", f"{1e3 * own / steps:.1f}", f"{1 + own / base:.3f}"
    reached = f"≤ {goal:.2f} {'met' if 1 + own / base <= goal else 'short'}" if fraction <= 0.2 else ""
    return [world_name, sampler, guide, f"{fraction:.0%}", str(batch), *numbers, reached]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (("worlds", "faces"), ("samplers", "replacement"), ("guides", "difference,mixture,latent")):
        parser.add_argument(f"--{name}", default=default, help="names, with commas")
    parser.add_argument("--fraction", type=float, default=0.2, help="guided share of the steps")
    parser.add_argument("--batch", default="16", help="pictures at once; several with commas")
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine_facts(torch.device('cpu'))}; {STEPS} steps, left half hidden\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    worlds, samplers, guides = (getattr(options, name).split(",") for name in ("worlds", "samplers", "guides"))
    cases = [(w, s, g, int(b)) for w in worlds for s in samplers for g in guides for b in options.batch.split(",")]
    for world, sampler, guide, batch in cases:
        line = measure(world, sampler, guide, fraction=options.fraction, batch=batch, repeats=options.repeats)
        print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
