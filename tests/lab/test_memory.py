"""What each recipe says that it needs, against the memory that it takes."""

import multiprocessing
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tiramisu_edu.lab.commands.train import Options
from tiramisu_edu.lab.memory import GB, PROGRAM
from tiramisu_edu.lab.recipes import denoiser, denoiser_training, parts
from tiramisu_edu.lab.recipes.training import Job
from tiramisu_edu.lab.worlds.stored import Stored
from tiramisu_edu.steering.patches import PatchCodebook
from tiramisu_edu.tokenizer import Tokenizer

# Part, size, pictures, options of the command, and other settings: each time another term is the largest.
CASES = [
    ("tokenizer", 32, 2500, {"steps": 2}, {}),
    ("tokenizer", 32, 1500, {"steps": 2}, {"num_codes": 1024, "width": 32}),
    ("tokenizer", 64, 100, {"steps": 2}, {"num_codes": 64, "batch_size": 128}),
    ("denoiser", 32, 200, {"steps": 1}, {"batch_size": 24}),
    ("denoiser", 32, 100, {"steps": 1, "scale": "gpu"}, {"batch_size": 8}),
    ("circuit", 32, 300, {"num_latents": 4}, {"rounds": 1, "epochs": 1, "num_codes": 64}),
    ("circuit_independent", 64, 400, {}, {}),
    ("circuit_independent", 64, 800, {"patch": 8}, {"num_codes": 16}),
    ("judge", 32, 300, {"scale": "toy"}, {"num_test": 1024}),
    ("codes_hclt", 32, 600, {"num_latents": 8}, {"epochs": 1}),
    ("codes_quad_tree", 32, 1000, {"num_latents": 96}, {"epochs": 1}),
]


LATE = 0.1 * GB  # of the program's own share: what is loaded while it works


def pictures(count, size, held_out):
    """Coarse noise in a file, as pictures of a folder are kept, and labels."""

    def images(split, wanted=None):
        most = count if split == "train" else held_out
        number, generator = min(wanted or most, most), torch.Generator().manual_seed(len(split))
        noise = (torch.rand(1, 3, size // 4, size // 4, generator=generator) * 2 - 1 for _ in range(number))
        large = (each.repeat_interleave(4, 2).repeat_interleave(4, 3) for each in noise)
        return Stored.write(large, number, parts.Path("nowhere")), torch.arange(number) % 10

    return SimpleNamespace(name="noise", images=images)


def resident(what):
    """Bytes of this process: VmRSS now, VmHWM at most."""
    with open("/proc/self/status") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def measure(case, folder, found):
    """In a process of its own: what the recipe says, what it took more than before, and what there was before."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    torch.set_num_threads(1)
    name, size, count, options, more = case
    denoiser.CALIBRATION, denoiser.Report.draw = {"points": 1, "repeats": 1}, lambda *_: None
    if options.get("scale") == "gpu":  # whose weights are what counts
        denoiser_training._held_out_loss = lambda *_: 1.0
    part = parts.plan(Options("faces", **options)).parts[name]
    settings = part.settings
    if name == "denoiser":
        settings = replace(settings, settings=replace(settings.settings, **more))
    else:
        settings = replace(settings, **more)
    job = Job(
        pictures(count, size, 1024 if name == "judge" else 64),
        folder / f"{name}.safetensors",
        checkpoint=folder / "kept",
    )
    Tokenizer(num_codes=getattr(settings, "num_codes", 1)).save(job.beside("tokenizer"), {})
    if name == "circuit_independent":
        patch, channels = settings.patch, 3 * settings.patch**2
        means = torch.rand((size // patch) ** 2, settings.num_codes, channels)
        PatchCodebook(means, means + 0.1, patch, (3, size, size)).save(job.beside("codebook"))
    before = resident("VmRSS")
    part.train(job, settings)
    found.put((part.memory(settings, count, size), resident("VmHWM") - before, before))


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[4] or case[3]}")
def test_no_estimate_is_below_what_is_measured(case, tmp_path):
    """Neither is it far above: a machine that could do the work would be refused."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.lab.test_memory"])
    found = context.Queue()
    process = context.Process(target=measure, args=(case, tmp_path, found))
    process.start()
    said, taken, before = found.get(timeout=100)
    process.join(100)
    assert before <= PROGRAM - LATE
    assert taken - LATE <= said - PROGRAM <= 3 * taken
