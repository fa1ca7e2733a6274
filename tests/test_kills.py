"""Every training that lasts longer than half a minute, killed again and again, ends as if it never was."""

import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tiramisu_edu import Circuit, fit_em, load, structures
from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.lab.recipes import code_circuit, denoiser, guide_weights, judge, patch_circuit
from tiramisu_edu.lab.recipes.tokenizer import TokenizerSettings, train_tokenizer
from tiramisu_edu.lab.recipes.training import Job
from tiramisu_edu.masks import mask_batch
from tiramisu_edu.tokenizer import Tokenizer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(split="train", count=None, size=8):
    return torch.rand(count or 24, 3, size, size, generator=seeded(len(split))) * 2 - 1, torch.zeros(count or 24, 0)


NOISE = SimpleNamespace(name="noise", images=pictures)


def em(path, kept):
    train = torch.randint(0, 2, (60, 5), generator=seeded())
    circuit = Circuit(structures.hmm(5, num_categories=2, num_latents=3), generator=seeded())
    fit_em(circuit, train, validation=train[:9], epochs=4, batch_size=20, checkpoint=kept, progress=False)
    circuit.save(path)


def codebook(path, kept):
    settings = patch_circuit.PatchSettings(patch=2, num_codes=4)
    patch_circuit.fit_codebook(pictures()[0], settings, seeded(), "cpu", Checkpoint(kept, {})).save(path)


def the_patch_circuit(path, kept):
    settings = patch_circuit.PatchSettings(24, 4, 4, 3, rounds=2, epochs=1, batch_size=12)
    patch_circuit.train_patch_circuit(Job(NOISE, path, checkpoint=kept), settings)


def the_code_circuit(path, kept):
    job = Job(NOISE, path, checkpoint=kept)
    torch.manual_seed(0)
    Tokenizer(num_codes=4, code_size=2, width=4).save(job.beside("tokenizer"), {})
    code_circuit.train_code_circuit(job, code_circuit.CodeSettings(images=24, num_latents=3, epochs=2))


def the_denoiser(path, kept):
    denoiser.CALIBRATION, denoiser.Report.draw = {"points": 4, "repeats": 1}, lambda *_: None
    larger = SimpleNamespace(name="noise", images=lambda split, count: pictures(split, count, size=32))
    denoiser.train_world_denoiser(Job(larger, path, checkpoint=kept), denoiser.SCALES["toy"])


def weights(path, kept):
    world = load("digits")
    images, known = world.images("validation", 6)[0], mask_batch("wide", 6, 8, 8, generator=seeded())
    fit = guide_weights.Fit(num_levels=4, num_bins=2)
    guide_weights.fit_weights(world, images, known, fit, seeded(), kept).save(path)


def the_judge(path, kept):
    judge.train_judge(Job(load("digits"), path, checkpoint=kept), replace(judge.DIGITS, epochs=1))


def the_tokenizer(path, kept):
    settings = TokenizerSettings(num_codes=4, width=8, steps=6, unquantised_steps=2, batch_size=8)
    train_tokenizer(pictures()[0], settings, checkpoint=kept).save(path, {})


JOBS = [em, codebook, the_patch_circuit, the_code_circuit, the_denoiser, weights, the_judge, the_tokenizer]


def run(job, folder, saves):
    """In a process of its own, that is killed after so many saves; 0: never."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    torch.set_num_threads(1)
    Checkpoint.every, save, done = 0.0, Checkpoint.save, []

    def save_and_die(checkpoint, state):
        save(checkpoint, state)
        done.append(checkpoint.path)
        if len(done) == saves:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.save = save_and_die
    job(folder / "made", folder / "kept")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a server that forks")
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_killed_again_and_again(job, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_kills"])
    straight, killed = tmp_path / "straight", tmp_path / "killed"

    def ended(folder, saves):
        folder.mkdir(exist_ok=True)
        process = context.Process(target=run, args=(job, folder, saves))
        process.start()
        process.join(100)
        return process.exitcode

    assert ended(straight, saves=0) == 0
    deaths = 0
    while (code := ended(killed, saves=4)) != 0:
        assert code == -signal.SIGKILL and not (killed / "made").exists() and deaths < 20
        deaths += 1
    assert deaths
    for folder in (straight, killed):
        Checkpoint(folder / "kept", {}).remove()
    assert sorted(os.listdir(killed)) == sorted(os.listdir(straight))
    for name in os.listdir(straight):
        a, b = load_file(straight / name), load_file(killed / name)
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
