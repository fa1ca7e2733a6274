"""The fusion study: its statistics on made-up curves, its controls against enumeration, and a tiny run of the whole."""

import csv

import pytest
import torch
from studies.fusion_report import fusion_tables, plot_fusion, write_pairs
from studies.fusion_study import Fused, FusionStudy, at_equal_agreement, meter, rises, study

from studies import fusion_study
from studies.fusion_methods import METHODS, Models, contradiction, demands_of, factorised, models_of
from tests.steering.fakes import FlatTokenizer, code_circuit
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.cli import main
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.layouts import check_regions

LEVELS, PAIRS, SEEDS = (0.3, 0.6, 0.9), 40, 2


def made_up(extra):
    """Agreement rises by 0.2 a level; rules broken are 1 + 2 agreement, and `extra` more for the control."""
    g = torch.Generator().manual_seed(0)
    own = 0.05 * torch.randn(PAIRS, 1, generator=g).double()  # a pair's own level, the same for all methods

    def point(agreement, more):
        a = (agreement + own + 0.05 * torch.randn(PAIRS, SEEDS, generator=g)).double()
        nats = torch.arange(PAIRS).double()
        return Fused(torch.stack([a, a]), 1 + 2 * a + more, a[:, 0], nats, a)

    fused = {(m, c): point(0.2 + 0.2 * k, more) for m, more in (("codes", 0.0), ("codes, K = 1", extra))
             for k, c in enumerate(LEVELS, start=1)}  # fmt: skip
    pasted = point(0.9, 0.0)._replace(violations=torch.arange(PAIRS).double()[:, None] // 10)
    methods = ("codes", "codes, K = 1")
    return FusionStudy("made up", "up-down", 1, methods, LEVELS, fused, point(0.2, 0.0), pasted, 0.5, 1.0)


def test_agreement_rises_by_what_was_put_in():
    for found in rises(made_up(0.0), "codes"):
        assert found.low < 0.2 < found.high and found.low > 0.15 and found.high < 0.25


def test_rules_at_equal_agreement():
    """Equal curves differ by nothing; one whose levels are all 1 higher differs by 1."""
    for found in at_equal_agreement(made_up(0.0), "codes", "codes, K = 1"):
        assert found.low <= 0 <= found.high and abs(found.difference) < 0.1
    shifted = at_equal_agreement(made_up(1.0), "codes", "codes, K = 1", shares=(0.5, 1.0))
    for found, agreement in zip(shifted, (0.5, 0.8)):
        assert found.agreement == pytest.approx(agreement, abs=0.03)
        assert found.difference == pytest.approx(-1, abs=0.1) and found.low < found.difference < found.high < -0.8
        assert found.method == pytest.approx(1 + 2 * found.agreement, abs=0.1)


def test_the_meter_ranks_pairs():
    assert meter(made_up(0.0), "codes", 0.6) > 0.95
    turned = made_up(0.0)
    turned.fused["codes", 0.6] = turned.fused["codes", 0.6]._replace(contradiction=-torch.arange(PAIRS).double())
    assert meter(turned, "codes", 0.6) < -0.95


def test_the_controls_know_no_dependence():
    """The product of marginals has the circuit's marginals, log p(z) = sum_j log p_j(z_j), and no contradiction."""
    circuit = code_circuit(dtype=torch.float32)
    nothing = torch.zeros(1, circuit.num_variables, circuit.num_categories)
    marginals = circuit.posterior_marginals(nothing)[0].detach()
    control = factorised(marginals)
    z = torch.tensor([[0, 1, 2, 3], [4, 4, 0, 2]])
    expected = marginals[torch.arange(4), z].log().sum(1)
    assert torch.allclose(control.log_likelihood(z), expected, atol=1e-4)
    references = torch.stack([torch.full((1, 4, 4), v) for v in (-0.7, 0.6)])
    regions = check_regions("up-down", 2, (4, 4))
    found = {}
    for name, model in (("circuit", circuit), ("control", control)):
        demands = [demands_of(Models(model, FlatTokenizer(), None), references, regions, 0.7)]
        found[name] = float(contradiction(model, demands))
    assert abs(found["circuit"]) > 0.01 and abs(found["control"]) < 1e-5


def test_a_tiny_study_and_its_report(tmp_path, monkeypatch):
    monkeypatch.setattr(fusion_study, "REAL", 8)
    world = load("faces")
    found = study(world, pairs=2, seeds=2, steps=2, coherences=(0.4, 0.9), methods=("pixels",), progress=False)
    assert found.fused["pixels", 0.9].agreement_each.shape == (2, 2, 2)
    assert found.pasted.agreement.mean() > found.free.agreement.mean()
    assert (found.fused["pixels", 0.9].contradiction > found.fused["pixels", 0.4].contradiction).all()
    text = "".join(grid.markdown() for grid in fusion_tables(found))
    assert "| pixels | 0.9 |" in text and "references pasted" in text
    with open(write_pairs(tmp_path / "pairs.csv", found), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 and rows[0]["method"] == "plain sampler"
    assert plot_fusion(tmp_path / "study.png", found).stat().st_size > 5_000


def test_every_method_has_its_models():
    world = load("faces")
    for method in METHODS:
        models = models_of(world, method)
        assert (models.tokenizer is None) == method.startswith("pixels") == (models.codebook is not None)
        own = models.circuit in (world.circuit, world.code_circuits["hclt"])
        assert own == (method in ("codes", "pixels"))


def test_studies_that_make_no_sense(capsys):
    world = load("faces")
    for wrong, message in (
        ({"methods": ("words",)}, "unknown method 'words'"),
        ({"coherences": (0.5, 0.3)}, "levels of a study rise"),
        ({"coherences": (0.5, 1.0)}, "levels of a study rise"),
        ({"pairs": 1}, "at least 2 pairs"),
    ):
        with pytest.raises(TiramisuError, match=message):
            study(world, **wrong)
    with pytest.raises(TiramisuError, match="need a procedural world"):
        study(load("digits"))
    assert main(["fuse", "--study", "--regions", "labels.png"]) == 2
    assert "a layout by name" in capsys.readouterr().err
