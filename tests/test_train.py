"""`tiramisu-edu train` knows every file that a world is made of, and refuses what does not exist."""

import shlex

import pytest
import torch
from safetensors.torch import load_file

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.lab import zoo
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.commands.train import Options
from tiramisu_edu.lab.recipes import denoiser
from tiramisu_edu.lab.recipes.parts import plan
from tiramisu_edu.lab.recipes.training import checkpoint_of


@pytest.mark.parametrize("name", list(zoo.WORLDS))
def test_every_part_of_a_world_can_be_made(name, tmp_path):
    planned = plan(Options(name, out=tmp_path))
    assert planned.folder == tmp_path / name
    with_circuit = {"codebook"} if "codebook" in zoo.load(name).parts else set()  # one command makes both
    assert set(planned.parts) | with_circuit == set(zoo.load(name).parts) - {"images"}  # see studies.shipped_pictures


def test_the_same_seed_makes_the_same_models(tmp_path):
    """Every part at toy scale, twice: equal tensors (files that note their training time may differ in that)."""
    parts = ("judge", "circuit", "circuit_independent", "tokenizer", "codes_hclt", "codes_quad_tree")
    for copy in ("a", "b"):
        for part in parts:
            flags = ["--part", part, "--scale", "toy", "--out", str(tmp_path / copy)]
            assert main(["train", "rooms", *flags]) == 0
    for part in (*parts, "codebook"):
        a, b = (load_file(tmp_path / copy / "rooms" / f"{part}.safetensors") for copy in ("a", "b"))
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_toy_denoiser_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(denoiser, "CALIBRATION", {"points": 3, "repeats": 1})
    command = ["train", "rooms", "--part", "denoiser_weak", "--scale", "toy", "--seed", "5", "--out", str(tmp_path)]
    assert main(command) == 0
    made = Denoiser.load(tmp_path / "rooms" / "denoiser_weak.safetensors")
    assert made.facts["settings"]["seed"] == 5 and made.facts["data"].startswith("rooms, 32 images")
    assert not checkpoint_of(tmp_path / "rooms" / "denoiser_weak.safetensors").exists()
    assert "step 1 of 1: loss" in capsys.readouterr().out


@pytest.mark.parametrize(("part", "missing"), [("codes", "tokenizer"), ("circuit_independent", "codebook")])
def test_what_is_not_made_yet_is_made_by_the_same_command(part, missing, tmp_path, capsys):
    """All options that were given are repeated, and can be pasted into a shell."""
    given = [
        "--scale",
        "toy",
        "--seed",
        "3",
        "--num-latents",
        "5",
        "--source",
        "my pictures",
        "--out",
        f"{tmp_path}/a b",
    ]
    assert main(["train", "clothes", *given, "--part", part]) == 2
    words = shlex.split(capsys.readouterr().err.split("make it with: ")[1])
    assert words[:3] == ["tiramisu-edu", "train", "clothes"] and words[-2:] == ["--part", missing]
    pairs = lambda found: set(zip(found[::2], found[1::2]))  # noqa: E731
    assert pairs(words[3:-2]) == pairs(given)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["cats"], "unknown world 'cats': choose one of digits, clothes, faces, rooms, folder:PATH"),
        (["rooms", "--part", "cat"], "unknown part of rooms 'cat': choose one of judge, circuit"),
        (["digits", "--scale", "gpu"], "digits come in one scale, laptop"),
        (["rooms", "--source", "."], "--source is for clothes; rooms has its own pictures"),
        (["rooms", "--size", "64"], "--size and --models are for folders, such as folder:PATH"),
        (["folder:/no/such/place"], "/no/such/place: there is no such folder"),
    ],
)
def test_wrong_requests(arguments, complaint, capsys):
    assert main(["train", *arguments]) == 2
    assert complaint in capsys.readouterr().err
