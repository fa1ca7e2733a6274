"""A run that is killed goes on from its checkpoint; a checkpoint of another run, or a damaged one, is refused."""

import math

import pytest
import torch
from torch import nn

from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.errors import FileError

REQUEST = {"steps": 8, "rates": (0.1, 0.2), "images": "1f0c"}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and type(a) is type(b)


def test_a_state_comes_back_as_it_was(tmp_path):
    state = {
        "tensors": [torch.randn(2, 3), torch.zeros((), dtype=torch.long), torch.ones(0), torch.eye(3).T.bfloat16()],
        "generator": torch.Generator().manual_seed(7).get_state(),
        "history": [{"loss": math.inf, "best": -math.inf, "seen": None, "over": True}],
        3: {"nested": {0: "zero", 1: 1.5}},
    }
    Checkpoint(tmp_path / "run", REQUEST).save(state)
    assert same(Checkpoint(tmp_path / "run", REQUEST).load(), state)
    Checkpoint(tmp_path / "run", REQUEST).save({"loss": math.nan})
    assert math.isnan(Checkpoint(tmp_path / "run", REQUEST).load()["loss"])


def test_an_optimiser_goes_on_bit_for_bit(tmp_path):
    def run(steps, checkpoint):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
        generator, start = torch.Generator().manual_seed(0), 0
        if (state := checkpoint.load()) is not None:
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            generator.set_state(state["generator"])
            start = state["step"]
        for step in range(start, steps):
            network(torch.randn(5, 3, generator=generator)).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
            parts = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            checkpoint.save(parts | {"generator": generator.get_state(), "step": step + 1})
        return network.state_dict()

    straight = run(8, Checkpoint(None, REQUEST))
    run(5, Checkpoint(tmp_path / "run", REQUEST))
    assert same(run(8, Checkpoint(tmp_path / "run", REQUEST)), straight)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    Checkpoint(tmp_path / "run", REQUEST).save({"step": 1})
    for other, named in (({"steps": 9}, "steps"), ({"images": "0"}, "images"), ({"seed": 0}, "seed")):
        with pytest.raises(FileError, match=rf"another run \(different: {named}\)"):
            Checkpoint(tmp_path / "run", REQUEST | other).load()
    with pytest.raises(FileError, match="different: images, rates"):
        Checkpoint(tmp_path / "run", {"steps": 8}).load()


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "run"
    Checkpoint(path, REQUEST).save({"weights": torch.randn(100)})
    whole = path.read_bytes()
    for damaged in (whole[:-40], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(FileError):
            Checkpoint(path, REQUEST).load()


def test_it_is_due_by_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "run", REQUEST)
    assert not checkpoint.due()
    now[0] += 30
    assert checkpoint.due()
    checkpoint.save({})
    assert not checkpoint.due()
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() is None and list(tmp_path.iterdir()) == []


def test_without_a_path_nothing_is_kept():
    checkpoint = Checkpoint(None, REQUEST)
    checkpoint.save({"step": 1})
    assert not checkpoint.due() and checkpoint.load() is None
    checkpoint.remove()
