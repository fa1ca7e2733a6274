"""Equal compute, with cells whose numbers can be checked by hand."""

import pandas as pd
import torch

from tiramisu_edu.lab.evaluation.cells import Cell, CellResult, Method
from tiramisu_edu.lab.evaluation.compute import frontier, pareto, points
from tiramisu_edu.lab.evaluation.tables import per_image

PLAIN, STEERED = Method("copaint"), Method("copaint", "difference")


def result(method, steps, mse, *, mask="left"):
    values = torch.full((8,), mse, dtype=torch.float64)
    completions = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    cell = Cell("digits", mask, method, steps, 0, 8)
    return CellResult(cell, completions, {"mse": values}, torch.arange(8), 0.4 * steps, 0.0, steps, 2.0 * steps)


def four():
    return [result(PLAIN, 5, 0.9), result(PLAIN, 20, 0.4), result(STEERED, 5, 0.4), result(STEERED, 20, 0.5)]


def names(found):
    return list(zip(found["method"], found["steps"]))


def rows_of(table):
    return table.frame.to_numpy().tolist()


def test_a_frontier_has_what_nothing_beats_in_cost_and_quality():
    found = points(per_image(four()), "digits", "mse")
    assert found[["evaluations", "seconds"]].to_numpy().tolist() == [[25, 0.25], [100, 1.0]] * 2
    assert names(pareto(found, "evaluations", "mse")) == [("copaint+difference", 5)]
    cheaper = pd.concat([found, found[:1].assign(seconds=0.1)], ignore_index=True)
    assert names(pareto(cheaper, "seconds", "mse")) == [("copaint", 5), ("copaint+difference", 5)]


def test_the_frontier_turns_round_where_more_is_better():
    found = points(per_image(four()), "digits", "mse")
    assert names(pareto(found.assign(mean=-found["mean"]), "evaluations", "ssim")) == [("copaint+difference", 5)]


def test_the_frontier_table_counts_its_steered_points():
    found = frontier(points(per_image(four()), "digits", "mse"), "digits", "mse", "evaluations")
    assert found.title.endswith("1 of its 1 points steered")
    assert rows_of(found) == [["25", "250", "copaint+difference, 5 steps", "0.400 [0.400, 0.400]"]]
