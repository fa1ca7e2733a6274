"""Rows of known quality, and the rule that bars a measure which misplaces them."""

import pytest
import torch

from tests.lab.evaluation.test_tables import result
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation.cells import Cell, Method, run_cell
from tiramisu_edu.lab.evaluation.comparison import make_cases
from tiramisu_edu.lab.evaluation.sanity import SANITY, exact_draws, sanity_of
from tiramisu_edu.lab.evaluation.sets import with_energy
from tiramisu_edu.lab.evaluation.tables import best_of_all, means, of_numbers, per_image, what_may_decide
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.lab.zoo import load

ORDERS = {  # mean of the measure for each row -> what is wrong
    (0.3, 0.5, 0.4, 0.2): "yes",
    (0.3, 0.2, 0.4, 0.2): "no: circuit-mean comes first",
    (0.3, 0.5, 0.2, 0.2): "no: blurred-truth comes first",
    (0.3, 0.5, 0.4, 0.4): "no: ddim comes before exact draws",
    (0.3, 0.2, 0.4, 0.4): "no: circuit-mean comes first and ddim comes before exact draws",
}


@pytest.mark.parametrize(("numbers", "verdict"), ORDERS.items())
def test_a_measure_that_misplaces_a_row_may_not_decide(numbers, verdict):
    names = ("ddim", *SANITY)
    frame = per_image([result("left", Method(name), [value] * 8) for name, value in zip(names, numbers)])
    (row,) = what_may_decide(frame, ["mse"], 5).frame.to_numpy().tolist()
    assert row == ["digits", "hidden-pixel MSE", "ddim", *(f"{value:.3f}" for value in numbers), verdict]
    title = best_of_all(frame, ["mse"], 5).frame.columns[1]
    assert title == "hidden-pixel MSE" + ("" if verdict == "yes" else " (may not decide in digits)")
    assert "What may decide" in "".join(table.title for table in of_numbers(frame, "mse"))


def test_sanity_rows_stand_in_the_table_and_never_win_it():
    frame = per_image(
        [result("left", Method(name), [value] * 8) for name, value in {"ddim": 3, "blurred-truth": 1}.items()]
    )
    rows = means(frame, "digits", "mse", 5).frame.set_index("method")["left"]
    assert rows.to_dict() == {"ddim": "**3.000**", "blurred-truth": "1.000"}
    assert best_of_all(frame, ["mse"], 5).frame.to_numpy().tolist() == [["ddim", "1 of 1"]]


@pytest.mark.parametrize("name", ["faces", "rooms"])
def test_exact_draws_change_the_hidden_factors_alone(name):
    """In their own conditional, in the same picture: what is known stays, and no rule is broken."""
    world = load(name)
    cases = make_cases(world, ["left"], 16)
    drawn = exact_draws(world.scene, cases, "test", torch.Generator().manual_seed(0))
    changed = (drawn - cases.images).abs().amax(1, keepdim=True) > 0.1
    assert (changed & cases.known).float().mean() < 0.01
    assert torch.equal(world.scene.redrawn("test", cases.identity, cases.labels), cases.images)
    _, hidden = world.scene.seen(cases.known)
    states = world.scene.model.sample_given(cases.labels, ~hidden, torch.Generator().manual_seed(1))
    assert violations(world.scene.model, states).sum() == 0 and torch.equal(states[~hidden], cases.labels[~hidden])


def test_factors_are_drawn_as_often_as_their_conditional_says():
    model = load("faces").scene.model
    states = model.sample(1, torch.Generator().manual_seed(0)).expand(4000, -1)
    seen = torch.zeros(len(model), dtype=torch.bool)
    seen[model.index("skin")] = True
    drawn = model.sample_given(states, seen.expand(4000, -1), torch.Generator().manual_seed(1))
    for f, conditional in enumerate(model.conditional(states[:1], seen)):
        found = torch.bincount(drawn[:, f], minlength=conditional.shape[1]) / 4000
        torch.testing.assert_close(found.double(), conditional[0], atol=0.035, rtol=0)  # 4 standard errors


def test_each_row_is_a_cell_with_an_energy_score():
    world = load("digits")
    assert sanity_of(world) == ["circuit-mean", "blurred-truth"] and sanity_of(load("rooms")) == list(SANITY)
    cells = [
        Cell("digits", "left", Method.parse(name), 3, seed, 8) for name in ("circuit-mean", "ddim") for seed in (0, 1)
    ]
    done = with_energy([run_cell(world, cell, torch.device("cpu")) for cell in cells], {"digits": world})
    mean, _, *samples = (each.metrics for each in done)
    torch.testing.assert_close(mean["energy"], mean["mse"].sqrt(), atol=0.01, rtol=0)  # it does not vary
    assert all((each["energy"] < each["mse"].sqrt()).all() for each in samples)
    assert with_energy(done[:1], {"digits": world})[0].metrics.keys() == mean.keys()
    with pytest.raises(TiramisuError, match="unknown sampler"):
        Method.parse("circuit-median")
