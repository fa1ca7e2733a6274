"""The oracle: a mean that can be checked by hand, a share that is put in, and the page."""

import pytest
import torch

from studies import oracle
from tiramisu_edu.diffusion.denoiser import Prediction
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.diffusion.step import make_step


def test_the_oracles_mean_weighs_its_draws_by_the_hidden_pixels_alone():
    schedule, known = Schedule.cosine(), torch.tensor([[[[True, False]]]])
    image = torch.tensor([[[[0.5, 9.0]]]])
    draws = torch.tensor([[0.5, -1.0], [0.5, 1.0]]).view(1, 2, 1, 1, 2)
    x_t = torch.tensor([[[[7.0, 0.3]]]])
    step = make_step(schedule, 400, x_t, Prediction(x_t, x_t), image, known)
    a = step.alpha_bar
    odds = torch.tensor(2 * a**0.5 * 0.3 / (1 - a)).exp()  # of 1 over -1
    mean = oracle.OracleGuide(draws)(step)
    assert mean[0, 0, 0].tolist() == pytest.approx([0.5, float((odds - 1) / (odds + 1))], rel=1e-5)
    clean = make_step(schedule, 0, draws[:, 1], Prediction(x_t, x_t), image, known)
    torch.testing.assert_close(oracle.OracleGuide(draws)(clean)[..., 1], torch.ones(1, 1, 1))


def test_the_share_that_is_put_in_comes_out():
    base = torch.linspace(0.2, 0.6, 20)
    found = oracle.share(base, base - 0.03, base - 0.1)
    assert found == pytest.approx((0.3, 0.3, 0.3), rel=1e-5)


def test_the_study_writes_its_page(tmp_path, monkeypatch):
    for name, value in {"MASKS": ("left",), "BASES": ("replacement",), "STEPS": 2, "DRAWS": 3}.items():
        monkeypatch.setattr(oracle, name, value)
    oracle.main(["--worlds", "rooms,digits", "--images", "8", "--out", str(tmp_path)])

    def cells(world):
        lines = (tmp_path / f"{world}.md").read_text().splitlines()
        return {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines}

    rooms, digits = cells("rooms"), cells("digits")
    assert rooms.keys() >= {"| replacement + oracle, first half", "| exact draws"}
    assert all("[" in cell for cell in rooms["| replacement + circuit"][1:3])
    gain, share = digits["| replacement + oracle"][1:3]  # the exact guide is the oracle: its gain, no share
    assert "[" in gain and share == "–"
