"""The control that sees the mask: what it starts from, and a comparison in small."""

import torch

from studies.conditioned import Conditioned, batches, main, wrapped
from tiramisu_edu.lab.zoo import load


def test_it_starts_as_the_shipped_denoiser():
    world = load("faces")
    network, generator = Conditioned(world.denoiser).eval(), torch.Generator().manual_seed(0)
    x_0, known, i, noise = batches(world, "validation", generator)(3)
    network.condition(x_0, known)
    x_t = world.schedule.add_noise(x_0, i, noise)
    ours, shipped = wrapped(world.denoiser, network)(x_t, i), world.denoiser(x_t, i)
    torch.testing.assert_close(ours.x_0, shipped.x_0, rtol=0, atol=1e-5)
    with torch.no_grad():
        network.network.conv_in.weight[:, -1] = 1.0  # of the mask
    assert (wrapped(world.denoiser, network)(x_t, i).x_0 - shipped.x_0).abs().max() > 0.01


def test_the_page_has_every_method_under_both_kinds_of_masks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the checkpoint lies
    quick = ["--minutes", "0.001", "--images", "2", "--steps", "2"]
    main(["--worlds", "digits", *quick, "--out", str(tmp_path / "page")])
    page = (tmp_path / "page" / "digits.md").read_text()
    for method in ("conditioned", "dps", "replacement", "replacement+difference", "dps+difference"):
        assert page.count(f"| {method} | 2 |") == 2
    assert "masks of the training" in page and "a mask of another kind" in page
