"""Networks, k-means and distilled circuits under torchrun: two and four processes make what one makes."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's store needs libuv, which Windows lacks")

TRAIN = """
    import sys, torch
    from torch import nn
    from tests.test_ranks import found
    if torch.distributed.is_torchelastic_launched():
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
    else:
        rank = 0
    made = found(f"{sys.argv[1]}.{rank}")
    torch.save(made, f"{sys.argv[2]}.{rank}")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
"""


def found(checkpoint):
    """Weights of a denoiser and of a tokenizer, a patch codebook, and a circuit taught by its pictures."""
    from diffusers import UNet2DModel

    from tiramisu_edu.circuits import structures
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.diffusion.schedule import Schedule
    from tiramisu_edu.lab.recipes.denoiser_training import TrainingSettings, train_denoiser
    from tiramisu_edu.lab.recipes.patch_circuit import PatchSettings, fit_codebook, refit
    from tiramisu_edu.lab.recipes.picture_teacher import teach
    from tiramisu_edu.lab.recipes.tokenizer import TokenizerSettings, train_tokenizer

    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    network = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, norm_num_groups=4, layers_per_block=1, **blocks)
    settings = TrainingSettings(steps=6, batch_size=10, warmup=2, validate_every=3)
    more = {"validation": images[:7], "checkpoint": checkpoint}
    denoiser = train_denoiser(network, images, Schedule.cosine(50), settings, **more).denoiser

    sizes = {"num_codes": 5, "code_size": 3, "width": 8, "steps": 8, "unquantised_steps": 2, "batch_size": 6}
    tokenizer = train_tokenizer(images, TokenizerSettings(**sizes))

    generator = torch.Generator().manual_seed(0)
    codebook = fit_codebook(images, PatchSettings(patch=4, num_codes=4), generator)
    codes = codebook.categories(images)
    circuit = Circuit(structures.hclt(codes, num_categories=4, num_latents=3), generator=generator)
    teach(circuit, codes, images, generator)
    refined = refit(circuit, codebook, images)
    books = {"means": codebook.means, "refined": refined.means, "variances": refined.variances}
    return [denoiser.network.state_dict(), tokenizer.state_dict(), books, circuit.state_dict()]


def run(tmp_path, ranks, name):
    """What each rank made, in its own folder: nothing is shared but messages."""
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAIN))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    out = tmp_path / f"{name}{ranks}"
    command = [sys.executable, *launcher, str(script), str(tmp_path / f"run{name}"), str(out)]
    subprocess.run(command, env=environment, check=True, timeout=600)
    return [torch.load(f"{out}.{rank}") for rank in range(ranks)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes, and the folder with its checkpoint."""
    folder = tmp_path_factory.mktemp("alone")
    return {"made": run(folder, 1, "whole")[0], "folder": folder}


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ranks", [2, 4])
def test_several_processes_make_what_one_makes(tmp_path, alone, ranks):
    for made in run(tmp_path, ranks, "shared"):
        for one, several in zip(alone["made"], made, strict=True):
            same(one, several)


def test_a_run_goes_on_from_the_checkpoint_of_the_first_process(tmp_path, alone):
    """The others have none on their own disks."""
    shutil.copy(alone["folder"] / "runwhole.0", tmp_path / "runkilled.0")
    for made in run(tmp_path, 2, "killed"):
        assert all(torch.equal(made[0][name], value) for name, value in alone["made"][0].items())
    assert not (tmp_path / "runkilled.1").exists()
