"""The fusion study: its statistics on made-up curves, its controls against enumeration, and a tiny run of the whole."""

import numpy as np
import pandas as pd
import pytest
import torch

from studies import fusion_measures
from studies.fusion import fuse_pairs, main
from studies.fusion_measures import PASTED, PLAIN, at_equal_agreement, meter, rises
from studies.fusion_methods import METHODS, Models, contradiction, demands_of, factorised, models_of
from tests.steering.fakes import FlatTokenizer, code_circuit
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.layouts import check_regions

LEVELS, PAIRS, SEEDS = (0.3, 0.6, 0.9), 40, 2


def made_up(extra):
    """Agreement rises by 0.2 a level; rules broken are 1 + 2 agreement, and `extra` more for the control."""
    g = np.random.default_rng(0)
    own = 0.05 * g.standard_normal((PAIRS, 1))  # a pair's own level, the same for all methods

    def point(method, level, reached, more):
        a = (reached + own + 0.05 * g.standard_normal((PAIRS, SEEDS))).ravel()
        pair = np.arange(PAIRS).repeat(SEEDS)
        columns = {"method": method, "coherence": level, "pair": pair, "agreement_0": a, "agreement_1": a}
        return pd.DataFrame(columns | {"rules_broken": 1 + 2 * a + more, "nats": pair})

    points = [point(PLAIN, 0.0, 0.2, 0.0)]
    for method, more in (("codes", 0.0), ("codes, K = 1", extra)):
        points += [point(method, level, 0.2 + 0.2 * k, more) for k, level in enumerate(LEVELS, start=1)]
    pasted = point(PASTED, 1.0, 0.9, 0.0)
    return pd.concat([*points, pasted.assign(rules_broken=pasted["pair"] // 10)], ignore_index=True)


def test_agreement_rises_by_what_was_put_in():
    found = rises(made_up(0.0), "codes")
    assert len(found) == len(LEVELS)
    for rise in found:
        assert rise.low < 0.2 < rise.high and rise.low > 0.15 and rise.high < 0.25


def test_rules_at_equal_agreement():
    """Equal curves differ by nothing; one whose levels are all 1 higher differs by 1."""
    for *_, gap in at_equal_agreement(made_up(0.0), "codes", "codes, K = 1"):
        assert gap.low <= 0 <= gap.high and abs(gap.mean) < 0.1
    shifted = at_equal_agreement(made_up(1.0), "codes", "codes, K = 1", shares=(0.5, 1.0))
    for (reached, own, _, gap), agreement in zip(shifted, (0.5, 0.8)):
        assert reached == pytest.approx(agreement, abs=0.03)
        assert gap.mean == pytest.approx(-1, abs=0.1) and gap.low < gap.mean < gap.high < -0.8
        assert own == pytest.approx(1 + 2 * reached, abs=0.1)


def test_the_meter_ranks_pairs():
    found = made_up(0.0)
    assert meter(found, "codes", 0.6) > 0.95
    assert meter(found.assign(nats=-found["nats"]), "codes", 0.6) < -0.95


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


def test_a_tiny_study_and_its_page(tmp_path, monkeypatch):
    monkeypatch.setattr(fusion_measures, "REAL", 8)
    monkeypatch.setattr("studies.fusion.METHODS", ("pixels", "pixels, K = 1"))
    monkeypatch.setattr("studies.fusion.LEVELS", (0.4, 0.9))
    main(["--pairs", "3", "--images", "2", "--num-inference-steps", "2", "--out", str(tmp_path)])
    page = (tmp_path / "faces.md").read_text(encoding="utf-8")
    assert "| pixels | 0.9 |" in page and "| references pasted |  |" in page and "python -m studies.fusion" in page
    rows = pd.read_csv(tmp_path / "faces.csv")
    assert len(rows) == 5 * 3 and rows["method"][0] == PLAIN
    nats = rows[rows["method"] == "pixels"].pivot(index="pair", columns="coherence", values="nats")
    assert (nats[0.9] > nats[0.4]).all()
    assert (tmp_path / "faces.png").stat().st_size > 5_000


def test_every_method_has_its_models():
    world = load("faces")
    for method in METHODS:
        models = models_of(world, method)
        assert (models.tokenizer is None) == method.startswith("pixels") == (models.codebook is not None)
        own = models.circuit in (world.circuit, world.code_circuits["hclt"])
        assert own == (method in ("codes", "pixels"))


def test_studies_that_make_no_sense():
    def run(world="faces", pairs=2, coherences=(0.5,)):
        fuse_pairs(load(world), pairs=pairs, seeds=1, steps=2, coherences=coherences, chosen=("pixels",))

    for levels in ((0.5, 0.3), (0.5, 1.0), ()):
        with pytest.raises(TiramisuError, match="levels of a study rise"):
            run(coherences=levels)
    with pytest.raises(TiramisuError, match="at least 2 pairs"):
        run(pairs=1)
    with pytest.raises(TiramisuError, match="need a procedural world"):
        run("digits")
    with pytest.raises(SystemExit, match="need a procedural world"):
        main(["--worlds", "digits"])
