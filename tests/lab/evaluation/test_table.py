"""Tables made of cells with numbers that can be checked by hand."""

import csv

import pytest
import torch

from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation import paper
from tiramisu_edu.lab.evaluation.cells import Cell, CellResult, Method
from tiramisu_edu.lab.evaluation.figures import interval_of_mean, plot_frontier, plot_guided_fraction
from tiramisu_edu.lab.evaluation.table import (
    Grid,
    Results,
    Setting,
    best_of_all,
    means,
    steered_against_base,
    write_per_image,
)

BASE, STEERED = Method("ddim"), Method("ddim", "difference")


def result(mask, method, mse, *, steps=5, seed=0, forward=5.0, backward=0.0):
    values = torch.tensor(mse, dtype=torch.float64)
    N = len(values)
    cell = Cell("digits", mask, method, steps, seed, N)
    completions = torch.zeros(N, 1, 8, 8, dtype=torch.uint8)
    return CellResult(cell, completions, {"mse": values}, torch.arange(N), 2.0, 0.5, forward, backward)


def two_masks():
    return [
        result("left", BASE, [0.4, 0.6]),
        result("left", STEERED, [0.2, 0.2], backward=2.0),
        result("top", BASE, [0.5, 0.7]),
        result("top", STEERED, [0.6, 0.8], backward=2.0),
    ]


def test_means_mark_the_best_and_report_the_cost():
    grid = means(Results(two_masks()), "digits", "mse", 5)
    assert grid.header == ["method", "left", "top", "average", "F + 2 B", "ms per image", "guide's share"]
    assert grid.rows == [
        ["ddim", "0.500", "**0.600**", "0.550", "5", "1000.0", "25.0%"],
        ["ddim+difference", "**0.200**", "0.700", "**0.450**", "9", "1000.0", "25.0%"],
    ]


def test_wins_are_counted_by_setting():
    (row,) = steered_against_base(Results(two_masks()), "mse").rows
    assert row[:5] == ["digits", "ddim+difference", "5", "0.550", "0.450"]
    assert row[5].startswith("-0.1000 [")
    assert row[6] == "1 / 0 / 1"
    # Both images agree on each mask, so each interval is a point away from zero.
    assert row[7] == "1 / 1"


def test_best_of_all_counts_ties_for_both():
    tied = [*two_masks(), result("left", Method("dps"), [0.1, 0.3]), result("top", Method("dps"), [0.9, 0.9])]
    rows = dict(best_of_all(Results(tied), "mse", 5).rows)
    assert rows == {"ddim+difference": "1 of 2", "dps": "1 of 2", "ddim": "1 of 2"}


def test_images_without_a_value_are_left_out():
    results = Results([result("left", BASE, [0.4, float("nan"), 0.6]), result("left", STEERED, [0.2, 0.1, 0.2])])
    setting = [Setting("digits", "left")]
    assert results.mean("mse", setting, BASE, 5) == pytest.approx(0.5)
    assert results.difference("mse", setting, STEERED, BASE, 5).difference == pytest.approx(-0.3)
    mean, low, high = interval_of_mean(results, "mse", "digits", BASE, 5)
    assert low <= mean <= high and mean == pytest.approx(0.5)


def test_a_missing_cell_is_named():
    with pytest.raises(TiramisuError, match="no results for ddim\\+difference with 5 steps on digits, mask left"):
        means(Results([result("left", BASE, [0.4]), result("top", STEERED, [0.4])]), "digits", "mse", 5)


def test_markdown_and_latex():
    grid = Grid("A title", ["mask", "a+b"], [["left_1", "**50%**"]])
    assert grid.markdown().splitlines()[2:] == ["| mask | a+b |", "| --- | --- |", "| left_1 | **50%** |"]
    assert r"left\_1 & \textbf{50\%} \\" in grid.latex()


def test_csv_has_a_row_per_completion(tmp_path):
    path = write_per_image(tmp_path / "all.csv", two_masks())
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert rows[0]["mask"] == "left" and rows[0]["mse"] == "0.4" and rows[0]["psnr"] == ""


def test_figures_are_drawn(tmp_path):
    frontier = [*two_masks(), *(result(m, k, [0.3, 0.4], steps=9) for m in ("left", "top") for k in (BASE, STEERED))]
    assert plot_frontier(tmp_path / "frontier.png", Results(frontier), "mse").stat().st_size > 10_000
    some = [result("left", m, [0.3, 0.5]) for m in (BASE, Method("ddim", "difference", 0.2), STEERED)]
    assert plot_guided_fraction(tmp_path / "fraction.png", Results(some), "mse").stat().st_size > 10_000
    with pytest.raises(TiramisuError, match="the fraction figure needs"):
        plot_guided_fraction(tmp_path / "none.png", Results(two_masks()), "mse")


@pytest.mark.parametrize("data", paper.LPIPS)
def test_the_papers_rows_agree_with_its_averages(data):
    rows = torch.tensor(paper.LPIPS[data], dtype=torch.float64)
    assert rows.shape == (len(paper.MASKS), len(paper.METHODS))
    assert torch.allclose(rows.mean(0), torch.tensor(paper.AVERAGES[data], dtype=torch.float64), atol=6e-4)
