"""The pipeline: saved and loaded it paints the same pixels; known ones stay; parts and functions of one's own."""

import numpy as np
import pytest
import torch
from PIL import Image

import tiramisu_edu
from studies.saved_models import model
from tiramisu_edu import Denoiser, PatchCodebook, TiramisuInpaintPipeline, inpaint, load, structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.diffusion.calibration import CACHE
from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.pipeline import INDEX
from tiramisu_edu.steering.field import GaussianField

PAINTED = [("digits", "mixture"), ("digits", "learned"), ("faces", "difference"), ("faces", "latent")]
PAINTED += [(name, "difference-calibrated") for name in ("digits", "faces")]
QUICK = {"num_inference_steps": 2, "sampler": "replacement"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "guidance"), PAINTED)
def test_saved_and_loaded_it_paints_the_same_pixels(tmp_path, name, guidance):
    world = load(name)
    image = world.images("test", 2)[0] / 2 + 0.5
    mask = torch.zeros(1, 1, *image.shape[-2:])
    mask[..., : image.shape[-1] // 2] = 1
    pipe = TiramisuInpaintPipeline(world)
    pipe.save_pretrained(tmp_path / "pipe")
    loaded = TiramisuInpaintPipeline.from_pretrained(tmp_path / "pipe")
    results = [p(image, mask, guidance=guidance, generator=0, output_type="pt", **QUICK).images for p in (pipe, loaded)]
    assert torch.equal(*results)
    assert torch.equal(torch.where(mask > 0, 0, results[0]), torch.where(mask > 0, 0, image))
    assert not torch.equal(results[0], image) and results[0].min() >= 0 and results[0].max() <= 1
    as_array = pipe(image, mask, guidance=guidance, generator=seeded(), output_type="np", **QUICK).images
    assert np.array_equal(as_array, results[0].permute(0, 2, 3, 1).numpy())


def test_pictures_of_any_size_keep_what_is_not_masked():
    pipe = TiramisuInpaintPipeline(load("faces"))
    rng, pictures, masks = np.random.default_rng(0), [], []
    for width, height in ((32, 32), (90, 70)):
        pictures.append(Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)))
        hidden = np.zeros((height, width), dtype=np.uint8)
        hidden[8:20, 5:25] = 255
        masks.append(Image.fromarray(hidden))
    for picture, mask, done in zip(pictures, masks, pipe(pictures, masks, **QUICK).images):
        known = np.array(mask) == 0
        assert done.size == picture.size and (np.array(done)[known] == np.array(picture)[known]).all()
        assert (np.array(done)[~known] != np.array(picture)[~known]).any()
    with pytest.raises(ImageError, match=r"the mask is \(32, 32\)"):
        pipe(pictures[1], masks[0], **QUICK)
    with pytest.raises(ImageError, match="several sizes"):
        pipe(pictures, masks, output_type="np", **QUICK)
    with pytest.raises(TiramisuError, match="unknown output_type 'jpg'"):
        pipe(pictures[0], masks[0], output_type="jpg", **QUICK)


def own_parts(tmp_path):
    """A denoiser as diffusers saves it, and a patch circuit of its size."""
    model()(tmp_path / "model")
    codebook = PatchCodebook(torch.rand(4, 5, 48) - 0.5, torch.full((4, 5, 48), 0.2), 4, (3, 8, 8))
    circuit = Circuit(structures.quad_tree(2, 2, num_categories=5, num_latents=3), generator=seeded())
    return {"circuit": circuit, "codebook": codebook}


def test_parts_of_ones_own_calibrate_themselves(tmp_path, monkeypatch):
    """The mixture needs Var[x_0 | x_t]; it is measured once and kept beside the model."""
    parts = own_parts(tmp_path)
    pipe = TiramisuInpaintPipeline.from_pretrained(tmp_path / "model", **parts)
    image, mask = torch.rand(1, 3, 8, 8, generator=seeded()), torch.ones(1, 1, 8, 8)
    mask[..., 4:] = 0
    first = pipe(image, mask, generator=3, output_type="pt", **QUICK).images
    assert (tmp_path / "model" / CACHE).is_file()
    monkeypatch.setattr("tiramisu_edu.diffusion.calibration.calibrate_residual_variance", None)
    again = TiramisuInpaintPipeline.from_pretrained(tmp_path / "model", **parts)
    assert torch.equal(again(image, mask, generator=3, output_type="pt", **QUICK).images, first)
    pipe.save_pretrained(tmp_path / "pipe")
    loaded = TiramisuInpaintPipeline.from_pretrained(tmp_path / "pipe")
    assert torch.equal(loaded(image, mask, generator=3, output_type="pt", **QUICK).images, first)


def test_samplers_and_guides_as_functions(tmp_path):
    parts = own_parts(tmp_path) | {"denoiser": Denoiser.from_pretrained(tmp_path / "model")}
    image, known = torch.zeros(2, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    run = {"image": image, "known": known, "num_inference_steps": 2, **parts}
    by_name = inpaint(**run, guide="none", sampler="ddim", generator=5).images
    assert torch.equal(inpaint(**run, guide=None, sampler=SAMPLERS["ddim"], generator=seeded(5)).images, by_name)
    found = inpaint(**run, guide=lambda step: torch.full_like(step.x_t, 0.25), record=True)
    assert torch.equal(found.images, torch.full_like(image, 0.25)) and found.trajectory[0].circuit is None
    for wrong, message in (
        ({"circuit": None}, "has no circuit"),
        ({"circuit": 3}, "circuit must be a Circuit"),
        ({"denoiser": None}, r"give a world from load\(...\), or denoiser="),
        ({"judge": 3}, "unknown part 'judge'"),
        ({"generator": True}, "generator must be a whole number"),
    ):
        with pytest.raises(TiramisuError, match=message):
            inpaint(**run | wrong)


def test_parts_are_given_in_place_of_a_world():
    world, nothing = load("digits"), torch.zeros(1, 1, 8, 8)
    with pytest.raises(TiramisuError, match="not a world and denoiser"):
        inpaint(world, nothing, nothing > 0, denoiser=world.denoiser, guide="none")
    own = tiramisu_edu.pipeline.parts_of(None, {n: getattr(world, n) for n in ("denoiser", "circuit", "codebook")})
    assert own.sampler_options == own.code_circuits == {} != world.sampler_options
    with pytest.raises(TiramisuError, match="has no learned weights"):
        inpaint(own, nothing, nothing > 0, guide="learned")


def test_what_is_public_can_be_had_from_the_top():
    assert all(getattr(tiramisu_edu, name) is not None for name in tiramisu_edu.__all__)
    assert tiramisu_edu.__version__[0].isdigit()


def test_what_is_saved_keeps_its_facts_and_what_has_no_file_is_refused(tmp_path):
    world = load("rooms")
    pipe = TiramisuInpaintPipeline(world)
    pipe.save_pretrained(tmp_path / "pipe")
    loaded = TiramisuInpaintPipeline.from_pretrained(tmp_path / "pipe")
    assert loaded.world.circuit.facts == world.circuit.facts != {}
    field = GaussianField.fit(world.images("train", 8)[0])
    pipe = TiramisuInpaintPipeline(denoiser=world.denoiser, circuit=field.circuit(), codebook=field)
    with pytest.raises(TiramisuError, match="the codebook cannot be saved: a GaussianField has no file"):
        pipe.save_pretrained(tmp_path / "field")
    index = tmp_path / "pipe" / INDEX
    for part, odd in (("difference", "other"), ("circuit", "judge"), ('"levels"', '"level"')):
        whole = index.read_text(encoding="utf-8")
        index.write_text(whole.replace(part, odd, 1), encoding="utf-8")
        with pytest.raises(FileError, match=r"model_index\.json is truncated or damaged"):
            TiramisuInpaintPipeline.from_pretrained(tmp_path / "pipe")
        index.write_text(whole, encoding="utf-8")


def test_on_another_device_a_pipeline_keeps_what_was_tuned(tmp_path):
    TiramisuInpaintPipeline(load("digits")).save_pretrained(tmp_path / "pipe")
    world = TiramisuInpaintPipeline.from_pretrained(tmp_path / "pipe").world
    moved = world.to("meta")
    assert moved.sampler_options == world.sampler_options == load("digits").sampler_options != {}
    assert moved.weights("difference") is world.weights("difference") is not None
    digits = load("digits")
    own = tiramisu_edu.pipeline.parts_of(None, {"denoiser": digits.denoiser, "circuit": digits.circuit})
    assert own.weights("difference") is None is not digits.weights("difference")
    there = own.to("meta")
    assert there.circuit.device.type == next(there.denoiser.parameters()).device.type == "meta"
