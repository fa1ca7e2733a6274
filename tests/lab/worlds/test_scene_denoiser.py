"""The recipe for colour pictures, at toy scale: it runs, it can be repeated and resumed, sizes are what is said."""

from types import SimpleNamespace

import pytest
import torch

from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.errors import ImageError
from tiramisu_edu.lab.recipes import denoiser
from tiramisu_edu.lab.recipes.denoiser import SCALES, build_unet, train_world_denoiser, weak
from tiramisu_edu.lab.recipes.training import Job


def grey(split, count, size=32):
    """Flat pictures of one random colour."""
    generator = torch.Generator().manual_seed(len(split))
    return (torch.rand(count, 3, 1, 1, generator=generator) * 1.6 - 0.8).expand(-1, -1, size, size), None


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.setattr(denoiser, "CALIBRATION", {"points": 3, "repeats": 1})

    def run(name, images=grey, recipe=SCALES["toy"], **options):
        source = SimpleNamespace(name="grey", images=images)
        result = train_world_denoiser(Job(source, tmp_path / name, **({"seed": 3} | options)), recipe)
        return result, Denoiser.load(tmp_path / name)

    return run


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values())
    variances = first.schedule.residual_variance, second.schedule.residual_variance
    return all(torch.equal(a, b) for a, b in pairs) and torch.equal(*variances)


def test_the_same_seed_gives_the_same_file(train, tmp_path):
    (first, a), (second, b) = train("a.safetensors"), train("b.safetensors")
    assert first.history == second.history and same(a, b)
    assert a.patch == 2 and a.prediction_type == "v_prediction" and a.facts["scale"] == "toy"
    assert a(torch.zeros(2, 3, 32, 32), 500).x_0.shape == (2, 3, 32, 32)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert not same(a, train("c.safetensors", seed=4)[1])


def test_a_killed_run_goes_on(train, tmp_path, monkeypatch):
    whole, a = train("a.safetensors")
    options = {"checkpoint": tmp_path / "run"}
    kept, looks = denoiser.Report.draw, []

    def kill(report, average):
        looks.append(average)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "every", 0.0)
    monkeypatch.setattr(denoiser.Report, "draw", kill)
    with pytest.raises(KeyboardInterrupt):
        train("b.safetensors", **options)
    monkeypatch.setattr(denoiser.Report, "draw", kept)
    resumed, b = train("b.safetensors", **options)
    assert resumed.history == whole.history and same(a, b)


def test_the_weak_one_stops_after_a_tenth(train, capsys):
    result, made = train("weak.safetensors", recipe=weak(SCALES["toy"]))
    assert [row["step"] for row in result.history] == [1] and made.facts["settings"]["steps"] == 1
    assert "step 1 of 1: loss" in capsys.readouterr().out


def test_what_ships_is_small():
    network = build_unet(32, SCALES["laptop"], seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2.9e6


@pytest.mark.parametrize(("size", "grids"), [(32, 3), (64, 4), (256, 6)])
def test_larger_pictures_get_finer_grids(size, grids):
    network = build_unet(size, SCALES["toy"], seed=0)
    assert len(network.config["block_out_channels"]) == grids
    assert network.config["down_block_types"].count("AttnDownBlock2D") == 2


def test_wrong_requests(train):
    with pytest.raises(ImageError, match="size 48 does not halve down to 4 x 4"):
        train("a", images=lambda split, count: grey(split, count, 48))
