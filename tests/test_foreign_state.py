"""Another default dtype, inference mode and threads change nothing: the main path gives the same bits."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch

from tiramisu_edu import inpaint, load
from tiramisu_edu.masks import mask, mask_batch
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.evidence import Observation


def main_path(inference=False):
    """What the main path makes, by name."""
    from tiramisu_edu import fuse

    made = {}
    with torch.inference_mode() if inference else nullcontext():
        for name in ("digits", "faces", "rooms"):
            world = load(name)
            made[name], made[f"{name} states"] = world.images("test", 1)
            known = mask("left", *made[name].shape[2:])
            for guide in ("difference", "mixture") if name != "rooms" else ():
                repaired = inpaint(world, made[name], known, guide=guide, num_inference_steps=2, guided_fraction=1)
                made[f"{name} {guide}"] = repaired.images
        faces = load("faces")
        made["dps"] = inpaint(faces, made["faces"], known, sampler="dps", guide=None, num_inference_steps=2).images
        pair = torch.cat([made["faces"], made["faces"].flip(-1)])
        made["fused"] = fuse(faces, pair, "left-right", num_inference_steps=2).images
        generator = torch.Generator().manual_seed(0)
        made["thick"] = mask_batch("thick", 4, 32, 32, generator=generator)
        made["drawn"] = faces.codebook.image(faces.codebook.categories(pair), generator=generator)
        made["digits levels"] = load("digits").codebook.levels
        made["judged"] = faces.judge.read(pair)
    return made


def test_the_main_path_is_the_same_under_foreign_defaults(tmp_path):
    script = (
        "import sys, torch; torch.set_default_dtype(torch.float64); torch.set_num_threads(1)\n"
        "from tests.test_foreign_state import main_path\n"
        "torch.save({k: v.clone() for k, v in main_path(inference=True).items()}, sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "made")], check=True, timeout=300)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected, found = main_path(), torch.load(tmp_path / "made")
    torch.set_num_threads(threads)
    for name, tensor in expected.items():
        assert tensor.dtype == found[name].dtype and torch.equal(tensor, found[name]), name


def test_images_in_double_precision_can_be_repaired():
    world = load("faces")
    images = world.images("test", 1)[0]
    known = mask("left", 32, 32)
    for guide in ("difference", "mixture", "latent"):
        single, double = (
            inpaint(world, x, known, guide=guide, num_inference_steps=2).images for x in (images, images.double())
        )
        assert double.dtype == torch.float64 and torch.isfinite(double).all()
        assert guide != "difference" or (single - double).abs().max() < 1e-3


def test_weights_read_in_inference_mode_are_ordinary_ones(tmp_path):
    with torch.inference_mode():
        world = load("faces")
        models = [world.denoiser, world.tokenizer, world.judge, world.circuit]
        assert not world.codebook.means.is_inference()
    assert not any(weight.is_inference() for model in models for weight in model.state_dict().values())


def in_four_threads(job, count=4):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(job, range(count)))


def test_four_threads_read_a_world_once():
    for name in ("digits", "faces"):
        world = load(name)
        parts = [
            part
            for part in ("denoiser", "circuit", "codebook", "judge", "tokenizer")
            if part in (*world.parts, "codebook")
        ]
        found = in_four_threads(lambda n: [getattr(world, part) for part in parts])  # noqa: B023
        assert all(a is b for row in found for a, b in zip(row, found[0]))


@pytest.fixture(scope="module")
def faces():
    world = load("faces")
    return world, world.images("test", 4)[0], mask("left", 32, 32)


@pytest.mark.parametrize("what", ["denoiser", "judge", "tokenizer", "inpaint", "guide"])
def test_four_threads_get_what_one_gets(faces, what):
    world, images, known = faces
    guide = make_guide("difference", world)

    def job(n):
        image = images[n : n + 1]
        match what:
            case "denoiser":
                return torch.stack(world.denoiser(image, 100 * n)[:2])
            case "judge":
                return world.judge.features(image)
            case "tokenizer":
                return world.tokenizer.decode(world.tokenizer.encode(image))
            case "inpaint":
                return inpaint(world, image, known, num_inference_steps=2).images
            case "guide":
                made = inpaint(world, image, known, guide=guide, num_inference_steps=2, record=True)
                return torch.cat([made.images, *(moment.circuit for moment in made.trajectory)])

    alone = [job(n) for n in range(4)]
    before = guide.cost.total()
    together = in_four_threads(job)
    assert all(torch.equal(a, b) for a, b in zip(alone, together))
    assert guide.cost.total() == 2 * before


def test_a_guide_keeps_the_known_pixels_of_each_thread(faces):
    """The evidence of the known pixels is kept from step to step, but never for another thread's picture."""
    world, images, known = faces
    guide = make_guide("difference", world)
    seen = [Observation(x, 0.5, x, known.expand(1, 1, 32, 32)) for x in images.split(1)]
    alone = [guide.log_known(s) for s in seen]
    together = in_four_threads(lambda n: [guide.log_known(seen[n]) for _ in range(5)])
    assert all(torch.equal(a, b) for a, row in zip(alone, together) for b in row)
