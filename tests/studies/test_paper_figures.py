"""The paper's figures in miniature, from the cells of an evaluation."""

import pytest

from studies import paper_figures
from tests.lab.evaluation.test_tables import BASE, STEERED, result, two_masks
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.evaluation.cells import Method
from tiramisu_edu.lab.evaluation.compute import points
from tiramisu_edu.lab.evaluation.tables import per_image


def test_a_film_and_the_fraction_from_kept_cells(tmp_path, capsys):
    options = ["--masks", "left", "--methods", "ddim,ddim+difference@0.5,ddim+difference", "--steps", "2"]
    options += ["--images", "2", "--seeds", "1", "--measure", "mse", "--out", str(tmp_path)]
    assert main(["evaluate", *options]) == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    paper_figures.main(options)
    assert capsys.readouterr().out.count("\npicture: ") == 2
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in ("film_digits", "guided_fraction"))
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    with pytest.raises(SystemExit, match="unknown mask 'magic'"):
        paper_figures.main([*options, "--masks", "magic"])


def test_a_fraction_needs_methods_that_state_one(tmp_path):
    def found(results):
        return {"digits": points(per_image(results), "digits", "mse")}

    some = [result("left", m, [0.3, 0.5]) for m in (BASE, Method("ddim", "difference", 0.2), STEERED)]
    path = paper_figures.plot_guided_fraction(tmp_path / "fraction.png", found(some), "mse")
    assert path.stat().st_size > 10_000
    with pytest.raises(TiramisuError, match="the fraction figure needs"):
        paper_figures.plot_guided_fraction(tmp_path / "none.png", found(two_masks()), "mse")
