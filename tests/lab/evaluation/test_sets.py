"""Realism and diversity: sets whose numbers are known, and the rule for what is printed."""

import pytest
import torch

from tiramisu_edu.lab.evaluation.cells import Cell, CellResult, Method, cell_cases
from tiramisu_edu.lab.evaluation.metrics import diversity
from tiramisu_edu.lab.evaluation.perceptual import frechet_distance
from tiramisu_edu.lab.evaluation.sets import by_method, realism_and_diversity
from tiramisu_edu.lab.evaluation.sheet import as_levels
from tiramisu_edu.lab.zoo import load

METHODS = Method("ddim"), Method("replacement")


def result(world, method, mask, seed, images, spoil=0.0):
    """True pictures as completions, with noise of that size where they were hidden."""
    cell = Cell("digits", mask, method, 5, seed, images)
    cases = cell_cases(world, cell)
    noise = spoil * torch.randn(cases.images.shape, generator=torch.Generator().manual_seed(seed))
    pictures = torch.where(cases.known, cases.images, cases.images + noise).clamp(-1, 1)
    return CellResult(cell, as_levels(pictures), {}, cases.identity, 1.0, 0.0, 5.0, 0.0)


def results(world, seeds, images):
    cells = [(m, spoil) for m, spoil in zip(METHODS, (0.0, 0.4))]
    return [
        result(world, m, mask, seed, images, spoil)
        for m, spoil in cells
        for mask in ("left", "top")
        for seed in range(seeds)
    ]


def test_true_pictures_are_real_and_noise_is_not():
    world = load("digits")
    found = results(world, 2, 80)
    grid = realism_and_diversity(found, world, 5).frame
    assert list(grid) == ["method", "Frechet distance", "diversity"]
    true, perfect, noisy = grid.to_numpy().tolist()
    assert list(grid["method"]) == ["true images", "ddim", "replacement"]
    assert float(perfect[1]) == pytest.approx(float(true[1]), abs=0.02)  # 256 levels rather than 17
    assert float(noisy[1]) > 1.2 * float(true[1])
    assert (true[2], perfect[2]) == ("–", "0.000")

    cells = by_method(found, world, 5)["replacement"]
    spread = [diversity(torch.stack([r.images for r in of]), cell_cases(world, of[0].cell).known) for of in cells]
    assert noisy[2] == f"{torch.cat(spread).mean():.3f}" and float(noisy[2]) > 0.1
    real = world.judge.features(world.images("train")[0]).detach()
    sets = [world.judge.features(r.images).detach() for of in cells for r in of]
    assert float(noisy[1]) == pytest.approx(sum(frechet_distance(x, real) for x in sets) / 4, abs=0.006)


@pytest.mark.parametrize(
    ("seeds", "images", "columns"),
    [(1, 64, ["Frechet distance"]), (2, 63, ["diversity"]), (8, 3, ["diversity", "coverage"]), (1, 63, None)],
)
def test_only_what_means_something_is_printed(seeds, images, columns):
    """The judge of digits has 64 features."""
    world = load("digits")
    grid = realism_and_diversity(results(world, seeds, images), world, 5)
    assert grid is None if columns is None else list(grid.frame) == ["method", *columns]
