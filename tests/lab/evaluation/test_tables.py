"""Tables made of cells with numbers that can be checked by hand."""

import pandas as pd
import pytest
import torch

from tiramisu_edu.lab.evaluation.cells import Cell, CellResult, Method
from tiramisu_edu.lab.evaluation.compute import plot_frontier, points
from tiramisu_edu.lab.evaluation.tables import (
    best_of_all,
    cases,
    means,
    over_images,
    per_image,
    steered_against_base,
    write_per_image,
)
from tiramisu_edu.lab.table import Table

BASE, STEERED = Method("ddim"), Method("ddim", "difference")


def result(mask, method, mse, *, steps=5, seed=0, forward=5.0, backward=0.0):
    values = torch.tensor(mse, dtype=torch.float64)
    N = len(values)
    cell = Cell("digits", mask, method, steps, seed, N)
    completions = torch.zeros(N, 1, 8, 8, dtype=torch.uint8)
    return CellResult(cell, completions, {"mse": values}, torch.arange(N), 1.0 * N, 0.25 * N, forward, backward)


def two_masks(times=4):
    """Two pictures, so many times."""
    return [
        result("left", BASE, [0.4, 0.6] * times),
        result("left", STEERED, [0.2, 0.2] * times, backward=2.0),
        result("top", BASE, [0.5, 0.7] * times),
        result("top", STEERED, [0.6, 0.8] * times, backward=2.0),
    ]


def test_means_mark_the_best_and_report_the_cost():
    found = means(per_image(two_masks()), "digits", "mse", 5).frame
    assert list(found) == ["method", "left", "top", "average", "F + 2 B", "ms per image", "guide's share"]
    assert found.to_numpy().tolist() == [
        ["ddim", "0.500", "**0.600**", "0.550", "5", "1000.0", "25.0%"],
        ["ddim+difference", "**0.200**", "0.700", "**0.450**", "9", "1000.0", "25.0%"],
    ]


def test_wins_are_counted_by_setting():
    (row,) = steered_against_base(per_image(two_masks()), "mse").frame.to_numpy().tolist()
    assert row[:5] == ["digits", "ddim+difference", 5, "0.550", "0.450"]
    assert row[5].startswith("-0.1000 [")
    assert row[6] == "1 / 0 / 1"
    # The left mask's interval lies below zero, and all images agree on the top one's difference.
    assert row[7] == "1 / 1"
    assert steered_against_base(per_image(two_masks()[::2]), "mse") is None


def test_of_fewer_than_eight_pictures_there_is_no_interval_but_a_note():
    few, enough = (steered_against_base(per_image(two_masks(times)), "mse") for times in (3, 4))
    (row,) = few.frame.to_numpy().tolist()
    assert row[5:] == ["-0.1000 [–]", "1 / 0 / 1", "0 / 0"]
    note = "fewer than 8 pictures are too few for a 95 % interval"
    assert note in few.markdown() and note in few.html() and note.replace("%", "\\%") in few.latex()
    assert not any("[–]" in text for text in (enough.markdown(), enough.html(), enough.latex()))
    plain = points(per_image(two_masks(3)), "digits", "mse").iloc[0]
    assert plain["mean"] == pytest.approx(0.55) and plain[["low", "high"]].isna().all()


def test_best_of_all_counts_ties_for_both():
    tied = [*two_masks(1), result("left", Method("dps"), [0.1, 0.3]), result("top", Method("dps"), [0.9, 0.9])]
    rows = best_of_all(per_image(tied), ["mse"], 5).frame.to_numpy().tolist()
    assert dict(rows) == {"ddim+difference": "1 of 2", "dps": "1 of 2", "ddim": "1 of 2"}


def test_images_without_a_value_are_left_out():
    nan = float("nan")
    values = [result("left", BASE, [0.4, nan, 0.6] * 4), result("left", STEERED, [0.2, 0.1, 0.2] * 4)]
    frame = per_image(values)
    assert means(frame, "digits", "mse", 5).frame["left"][0] == "0.500"
    numbers = cases(frame, "mse")
    assert over_images(numbers["ddim+difference", 5] - numbers["ddim", 5]).mean == pytest.approx(-0.3)
    plain = points(frame, "digits", "mse").iloc[0]
    assert plain["low"] <= plain["mean"] <= plain["high"] and plain["mean"] == pytest.approx(0.5)


def test_differences_are_paired_by_picture_whatever_the_order():
    steered = result("left", STEERED, [0.3, 0.1])
    turned = CellResult(steered.cell, steered.completions, steered.metrics, torch.tensor([1, 0]), 2.0, 0.5, 5.0, 0.0)
    numbers = cases(per_image([result("left", BASE, [0.4, 0.6]), turned]), "mse")
    assert (numbers["ddim+difference", 5] - numbers["ddim", 5]).tolist() == pytest.approx([-0.3, -0.3])


def test_one_table_prints_markdown_latex_and_html():
    table = Table("A title", pd.DataFrame([["left_1", "**50%**"]], columns=["mask", "a<b"]))
    assert table.markdown().splitlines()[2:] == ["| mask | a<b |", "| --- | --- |", "| left_1 | **50%** |"]
    assert r"left\_1 & \textbf{50\%} \\" in table.latex()
    assert "<td><b>50%</b></td>" in table.html() and "a&lt;b" in table.html()
    long = "x" * 200
    assert long in Table("", pd.DataFrame({"name": [long]})).html()


def test_the_csv_makes_the_tables_again(tmp_path):
    frame = per_image(two_masks())
    write_per_image(tmp_path / "all.csv", frame)
    again = pd.read_csv(tmp_path / "all.csv")
    assert len(again) == 32 and again["mask"][0] == "left" and again["mse"][0] == 0.4 and again["psnr"].isna().all()
    kept = means(frame, "digits", "mse", 5).frame
    assert means(again, "digits", "mse", 5).frame.equals(kept[["method", "left", "top", "average"]])
    assert steered_against_base(again, "mse").markdown() == steered_against_base(frame, "mse").markdown()


def test_figures_are_drawn(tmp_path):
    def found(results):
        return {"digits": points(per_image(results), "digits", "mse")}

    two_steps = [
        *two_masks(),
        *(result(m, k, [0.3, 0.4] * 4, steps=9) for m in ("left", "top") for k in (BASE, STEERED)),
    ]
    assert plot_frontier(tmp_path / "frontier.png", found(two_steps), "mse").stat().st_size > 10_000
