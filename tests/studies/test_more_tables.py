"""Tables from an evaluation's cells: equal compute by hand, what an evaluation costs, the paper's averages."""

from studies import more_tables, paper_table
from tests.lab.evaluation.test_compute import PLAIN, STEERED, four, result, rows_of
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.evaluation.tables import per_image
from tiramisu_edu.lab.zoo import load


def test_a_budget_admits_each_method_with_as_many_steps_as_it_can_pay():
    cells = [*four(), result(PLAIN, 5, 0.2, mask="top"), result(PLAIN, 20, 0.2, mask="top")]
    cells += [result(STEERED, 5, 0.2, mask="top"), result(STEERED, 20, 0.1, mask="top")]
    rows = rows_of(more_tables.best_within(per_image(cells), "mse", [10, 25, 100, 200]))
    assert len(rows) == 2  # nobody can pay 10, and 200 buys what 100 buys
    assert rows[0] == ["25", "1 of 2", "copaint+difference 2, copaint 1"]  # a tie with an unsteered method is no win
    assert rows[1] == ["100", "1 of 2", "copaint 1, copaint+difference 1"]


def test_the_papers_averages_name_every_method():
    found = paper_table.averages().frame
    assert list(found) == ["data", *paper_table.METHODS]
    assert found.set_index("data").loc["CelebA-HQ"].tolist()[:2] == ["**0.330**", "0.336"]


def test_what_evaluations_cost():
    world = load("digits")
    found = more_tables.measured(world.denoiser, world.images("validation", 8)[0])
    assert found.forward > 0 and 0.3 < found.backward < 4  # a busy machine


def test_the_tables_from_kept_cells(tmp_path, capsys):
    options = ["--worlds", "faces", "--masks", "left", "--methods", "ddim,ddim+difference", "--steps", "2"]
    options += ["--images", "2", "--seeds", "1", "--measure", "mse", "--out", str(tmp_path)]
    assert main(["evaluate", *options]) == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    capsys.readouterr()
    more_tables.main(options)
    printed = capsys.readouterr().out
    assert printed.startswith("faces: a forward evaluation takes")
    for title in ("network evaluations, F + 2 B: hidden-pixel MSE", "time, in forward evaluations", "total variation"):
        assert title in printed
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
