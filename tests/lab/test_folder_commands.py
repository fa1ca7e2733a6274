"""Every command on a folder of pictures: trained, tuned, fitted, compared, repaired, fused; nothing stale."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from studies import strength
from tiramisu_edu.errors import FileError
from tiramisu_edu.lab import datafiles, memory, zoo
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.datafiles import sha256
from tiramisu_edu.lab.evaluation import perceptual, tuning
from tiramisu_edu.lab.evaluation.measures import measures_of
from tiramisu_edu.lab.recipes import denoiser, guide_weights
from tiramisu_edu.methods import fitted_weights, make_guide

TOY = ["--size", "32", "--scale", "toy"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of 80 pictures of a bright square each, sorted into splits, with all its models."""
    place = tmp_path_factory.mktemp("folder") / "my photos"
    generator = np.random.default_rng(0)
    for n in range(80):
        pixels = np.full((32, 32, 3), generator.integers(0, 100, 3), dtype=np.uint8)
        row, col = generator.integers(0, 20, 2)
        pixels[row : row + 12, col : col + 12] = generator.integers(150, 255, 3)
        split = "train" if n < 64 else "val" if n < 72 else "test"
        (place / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / split / f"{n}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser, "CALIBRATION", {"points": 3, "repeats": 1})
        for part in ("denoiser", "codebook", "circuit_independent", "tokenizer", "codes"):
            assert main(["train", f"folder:{place}", *TOY, "--num-latents", "3", "--part", part]) == 0
    return place


@pytest.fixture
def place(trained, tmp_path):
    """A copy, to change."""
    shutil.copytree(trained.parent, tmp_path / "copy")
    return tmp_path / "copy" / trained.name


def world_of(place):
    return zoo.load(f"folder:{place}", size=32)


@pytest.mark.filterwarnings("ignore:.*the circuit's mean is worse")  # of a toy; see test_gate
def test_all_that_a_folder_teaches_lies_beside_its_models(place, tmp_path, capsys, monkeypatch):
    before = sha256(datafiles.data_path(datafiles.CHECKSUMS))
    monkeypatch.setitem(tuning.GRIDS, "replacement", [{"eta": 0.0}, {"eta": 0.7}])
    name, out = [f"folder:{place}", "--size", "32"], str(tmp_path / "out")
    few = ["--masks", "left,wide", "--steps", "2", "--images", "2"]
    assert main(["tune", *name, *few, "--samplers", "replacement"]) == 0
    assert guide_weights.main([*name, "--of", "difference", "--images", "4"]) == 0
    world = world_of(place)
    assert set(world.sampler_options) == {"replacement"} and len(fitted_weights(world, "difference").weights) == 24
    methods = "replacement,replacement+difference-calibrated,ddim+latent"
    evaluate = ["evaluate", "--worlds", name[0], *name[1:], *few, "--seeds", "1", "--methods", methods, "--out", out]
    assert main(evaluate) == 0
    printed = capsys.readouterr().out
    assert "hidden-pixel MSE (lower is better)" in printed and "no LPIPS" in printed
    header, *rows = (tmp_path / "out" / "per_image.csv").read_text().splitlines()
    assert {"mse", "psnr", "ssim", "seam"} <= set(header.split(",")) and len(rows) == 20
    shared = ["--world", name[0], *name[1:], "--num-inference-steps", "2"]
    assert main(["inpaint", *shared, "--batch", "2", "--out", f"{out}/a.png"]) == 0
    for model in ("pixels", "codes"):
        assert main(["fuse", *shared, "--model", model, "--coherence", "0.5", "--out", f"{out}/{model}.png"]) == 0
    strength.main(["--worlds", name[0], *name[1:], "--out", f"{out}/strength.png"])
    names = {path.name for path in (place.parent / "my photos-models-32").iterdir()}
    assert {"samplers.json", "guide_weights_difference.safetensors"} < names
    assert sha256(datafiles.data_path(datafiles.CHECKSUMS)) == before


@pytest.mark.filterwarnings("ignore:.*the circuit's mean is worse")  # of a toy; see test_gate
def test_what_was_made_with_other_models_is_not_used(place, monkeypatch):
    """Tuned options are left out with a warning; weights and circuits are refused; each names a command."""
    world = world_of(place)
    found = {"dps": {"options": {"zeta": 1.0}, "tried": [], "made_from": world.made_from("denoiser")}}
    tuning.save_tuned(world.models / "samplers.json", found)
    guide_weights.main([f"folder:{place}", "--size", "32", "--of", "difference", "--images", "2"])
    assert world_of(place).sampler_options == {"dps": {"zeta": 1.0}}
    shutil.copy(world.models / "denoiser.safetensors", world.models / "kept")
    world.denoiser.facts["note"] = "another"
    world.denoiser.save(world.models / "denoiser.safetensors")
    with pytest.warns(UserWarning, match=r"tune again with: tiramisu-edu tune .*--size 32 --samplers dps"):
        assert world_of(place).sampler_options == {}
    with pytest.raises(FileError, match=r"made with another denoiser: .*guide_weights 'folder:.*my photos' --size 32"):
        make_guide("difference-calibrated", world_of(place))
    world.codebook.save(world.models / "codebook.safetensors", note="another")
    with pytest.raises(FileError, match=r"circuit.safetensors was made with another codebook: .* --part circuit"):
        _ = world_of(place).circuit


def test_models_of_another_size_and_missing_parts_are_told(place, capsys):
    models = world_of(place).models
    larger = zoo.load(f"folder:{place}", size=64, models=models)
    for part, make in (("denoiser", lambda: larger.denoiser), ("codebook", lambda: larger.codebook)):
        with pytest.raises(FileError, match=rf"pictures of 32 x 32: say --size 32, or .*--models .* --part {part}"):
            make()
    (models / "tokenizer.safetensors").unlink()
    assert main(["train", f"folder:{place}", *TOY, "--part", "codes"]) == 2
    assert "make it with: tiramisu-edu train 'folder:" in capsys.readouterr().err
    flags = ["--world", f"folder:{place}", "--size", "32", "--guide", "latent"]
    assert main(["inpaint", *flags, "--out", str(place.parent / "a.png")]) == 2
    assert "--part tokenizer && tiramisu-edu train" in capsys.readouterr().err
    assert main(["evaluate", "--worlds", f"folder:{place}", "--measure", "agreement", "--images", "2"]) == 2
    assert "my photos-64 has no agreement, which needs labels: choose one of mse" in capsys.readouterr().err
    assert main(["train", f"folder:{place}", "--out", str(place.parent / "x")]) == 2
    assert "say --models" in capsys.readouterr().err


def test_official_lpips_needs_no_judge(place, monkeypatch):
    assert "lpips" not in measures_of(world_of(place))
    monkeypatch.setattr(perceptual, "official_weights", lambda folder=None: place)
    monkeypatch.setattr("tiramisu_edu.lab.evaluation.measures.official_weights", perceptual.official_weights)
    assert "lpips" in measures_of(world_of(place))


@pytest.mark.parametrize("part", ["denoiser", "circuit", "tokenizer", "codes", "circuit_independent"])
def test_what_the_memory_does_not_hold_is_refused_before_work_begins(place, capsys, monkeypatch, part):
    monkeypatch.setattr(memory, "free_memory", lambda device="cpu": 2e8)
    assert main(["train", f"folder:{place}", *TOY, "--part", part]) == 2
    said = capsys.readouterr()
    assert "GB of memory" in said.out and "0.2 are free: ask for fewer --images" in said.err


def test_minutes_end_a_training(place, capsys):
    few = ["--steps", "100000", "--minutes", "0", "--part", "tokenizer"]  # the first step all the same
    assert main(["train", f"folder:{place}", *TOY, *few]) == 0
    assert "0 minutes left" in capsys.readouterr().out and world_of(place).tokenizer is not None
    assert torch.isfinite(world_of(place).tokenizer.codebook).all()
