"""The same circuit in other libraries, our parameters copied in: the same answers. `pip install -e '.[peers]'`."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import rivals
from benchmarks.peers import STRUCTURES, available_peers, make_problem, ours, region_graph
from tiramisu_edu.circuits.circuit import accumulate
from tiramisu_edu.circuits.learning import em_step
from tiramisu_edu.errors import TiramisuError

pytestmark = pytest.mark.filterwarnings("ignore")  # what other libraries warn of is not ours
SIZES = {"D": 8, "C": 5, "K": 4, "B": 16}
QUERIES = ("log_likelihood", "forward_backward", "marginals")
MODULES = {"cirkit": "cirkit", "spflow": "spflow", "simple-einet": "simple_einet", "dynamax": "dynamax"}


def seeded():
    return torch.Generator().manual_seed(0)


def need(name):
    """Skips the test where the peer is not installed; one that is installed and does not load fails."""
    if importlib.util.find_spec(MODULES[name]) is None:
        pytest.skip(f"{name} is not installed" + ("" if name == "simple-einet" else " (extra peers)"))
    return available_peers()[name]


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", ["safe", *MODULES])
def test_log_likelihoods_agree(name, structure):
    peer = available_peers()[name] if name == "safe" else need(name)
    if structure not in peer.structures:
        with pytest.raises(TiramisuError, match=f"{name} cannot express '{structure}'"):
            peer.prepare(structure, **SIZES, generator=seeded())
        return
    calls = peer.prepare(structure, **SIZES, generator=seeded())
    expected = ours().prepare(structure, **SIZES, generator=seeded())["log_likelihood"]()
    close(calls["log_likelihood"](), expected)
    close(calls["forward_backward"](), expected)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_cirkit_integrates_missing_variables_alike(structure):
    need("cirkit")
    from cirkit.backend.torch.queries import IntegrateQuery

    from benchmarks.peer_cirkit import compiled

    problem = make_problem(structure, **SIZES, generator=seeded())
    circuit, x = problem.circuit, problem.x
    missing = torch.rand(x.shape, generator=seeded()) < 0.5
    query = IntegrateQuery(compiled(circuit))
    log_z = query(x, integrate_vars=missing)[:, 0, 0].detach()
    close(circuit.log_likelihood(x.masked_fill(missing, -1)).detach(), log_z)
    hard = torch.nn.functional.one_hot(x, SIZES["C"]).log().masked_fill(missing[..., None], 0.0)
    marginals = circuit.posterior_marginals(hard)
    for i in range(SIZES["D"]):
        others, filled = missing.clone(), x.clone()
        others[:, i] = False
        for v in range(SIZES["C"]):
            filled[:, i] = v
            joint = query(filled, integrate_vars=others)[:, 0, 0].detach()
            rows = missing[:, i]
            close(marginals[rows, i, v], (joint - log_z).exp()[rows])


@pytest.mark.parametrize("structure", ["quad", "latent_tree", "hmm"])
def test_an_em_step_of_cirkit_is_ours(structure):
    need("cirkit")
    from cirkit.backend.torch.em_optimizer import EM

    from benchmarks.peer_cirkit import compiled, log_likelihood

    problem = make_problem(structure, **SIZES, generator=seeded())
    circuit, x = problem.circuit, problem.x
    model = compiled(circuit, softmax=False)
    optimizer = EM(model, lr=0.7, pseudocount=0.1)
    log_likelihood(model, x).sum().backward()
    optimizer.step()
    em_step(circuit, x, pseudocount=0.1, step=0.7)
    close(circuit.log_likelihood(x).detach(), log_likelihood(model, x).detach())


@pytest.mark.parametrize("structure", ["quad", "latent_tree", "rat"])
def test_spflow_sums_missing_variables_out_alike(structure):
    need("spflow")
    from benchmarks.peer_spflow import build, log_likelihood

    problem = make_problem(structure, **SIZES, generator=seeded())
    missing = torch.rand(problem.x.shape, generator=seeded()) < 0.5
    found = log_likelihood(build(problem.circuit), problem.x.float().masked_fill(missing, torch.nan))
    close(problem.circuit.log_likelihood(problem.x.masked_fill(missing, -1)).detach(), found.detach())


def test_dynamax_smooths_and_counts_alike():
    peer = need("dynamax")
    problem = make_problem("tied_hmm", **SIZES, generator=seeded())
    calls = peer.build(problem)
    close(calls["marginals"](), problem.circuit.posterior_marginals(problem.log_weights))
    (start, transitions, emissions), log_z = calls["e_step"]()
    tables = [table.detach() for table in problem.circuit.tables()]
    counts = [torch.zeros_like(table) for table in tables]
    close(log_z.sum() / accumulate(problem.circuit, tables, problem.x, counts).sum(), 1.0)
    counts = [count * table for count, table in zip(counts, tables)]
    by_shape = {tuple(count.shape[1:]): count[0].numpy() for count in counts}
    K, C = SIZES["K"], SIZES["C"]
    for found, shape in ((start, (1, K)), (transitions, (K, K)), (emissions["sum_x"], (K, C))):
        np.testing.assert_allclose(np.asarray(found).reshape(shape), by_shape[shape], rtol=1e-4, atol=1e-4)


def test_the_states_that_dynamax_smooths_are_ours():
    states = need("dynamax").prepare("tied_hmm", **SIZES, generator=seeded())["smoothing"]()
    close(states, ours().prepare("tied_hmm", **SIZES, generator=seeded())["smoothing"]())


@pytest.mark.parametrize("structure", ["tied_hmm", "latent_tree"])
def test_smoothed_states_mix_the_emissions_to_the_marginals(structure):
    """With the last variable missing, p(x_D = v | rest) = sum_k p(z_D = k | rest) f_k(v)."""
    problem = make_problem(structure, **SIZES, generator=seeded())
    circuit, last = problem.circuit, SIZES["D"] - 1
    x = problem.x.index_fill(1, torch.tensor([last]), -1)
    states = ours().build(replace(problem, x=x))["smoothing"]()
    leaf = next(i for i, region in enumerate(circuit.graph.regions) if region.is_input and region.scope == (last,))
    one_hot = torch.nn.functional.one_hot(x.clamp_min(0), SIZES["C"]).log().masked_fill((x < 0)[..., None], 0.0)
    close(states.sum(-1), np.ones((SIZES["B"], SIZES["D"])))
    found = states[:, last] @ circuit.region_table(leaf).detach()
    close(found, circuit.posterior_marginals(one_hot)[:, last])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyJuice computes on a CUDA device only")
@pytest.mark.parametrize("structure", ["quad", "latent_tree", "rat"])
def test_pyjuice_agrees(structure):
    pytest.importorskip("pyjuice", reason="PyJuice is not installed")
    calls = available_peers()["pyjuice"].prepare(structure, **SIZES, generator=seeded(), device="cuda")
    expected = ours().prepare(structure, **SIZES, generator=seeded())["log_likelihood"]()
    close(calls["log_likelihood"]().detach().cpu(), expected)
    close(calls["e_step"]().detach().cpu(), expected)
    assert calls["marginals"]().shape == (SIZES["B"], SIZES["D"], SIZES["C"])


def test_peers_are_timed_beside_ours_on_the_device_they_need(monkeypatch):
    monkeypatch.setattr(rivals, "available_peers", lambda: {"safe": available_peers()["safe"]})
    monkeypatch.setattr(rivals, "CASES", (("quad", 4), ("tied_hmm", 3)))
    sizes = {"num_categories": 3, "batch": 2, "budget": 0.0, "progress": False}
    rows = rivals.measure_peers([2], **sizes)
    assert {(row.structure, row.query) for row in rows} == {
        (structure, query) for structure in ("quad", "tied_hmm") for query in QUERIES
    }
    assert all(max(row.errors) < 1e-5 for row in rows)
    assert rivals.measure_peers([2], **sizes, device=torch.device("cuda")) == []
    assert rivals.measure_peers([2], **sizes, names=["dynamax"]) == []


def test_a_peer_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setattr(rivals, "available_peers", lambda: {"safe": available_peers()["safe"]})
    with pytest.raises(SystemExit):
        rivals.main(["--peers", "safe,nobody"])
    assert "not installed here: nobody; there are safe" in capsys.readouterr().err


def test_a_peer_that_saturates_is_told_from_one_that_is_right(monkeypatch):
    """Log values clamped at -7, as cirkit clamps them at log 2.2e-308: ours is right, theirs is off by the rest."""
    right = available_peers()["safe"]

    def clamped(problem):
        return {"log_likelihood": lambda: right.build(problem)["log_likelihood"]().clamp_min(-7.0)}

    monkeypatch.setattr(rivals, "available_peers", lambda: {"safe": replace(right, build=clamped)})
    monkeypatch.setattr(rivals, "CASES", (("quad", 16),))
    (row,) = rivals.measure_peers([2], num_categories=3, batch=2, budget=0.0, progress=False)
    assert row.errors[0] < 1e-5 and row.errors[1] > 5


@pytest.mark.parametrize("structure", ["quad", "latent_tree", "hmm"])
def test_steps_of_cirkit_are_ours(structure):
    calls = need("cirkit").prepare(structure, **SIZES, generator=seeded())
    own = ours().prepare(structure, **SIZES, generator=seeded())
    for step in ("e_step", "em_step", "em_step"):  # mixed in by 0: the parameters stay
        np.testing.assert_allclose(float(calls[step]().sum()), own[step](), rtol=1e-5)


def test_simple_einet_needs_a_power_of_two():
    peer = need("simple-einet")
    with pytest.raises(TiramisuError, match="power of two of variables, at least 2, not 6"):
        peer.prepare("binary", **{**SIZES, "D": 6}, generator=seeded())


def test_unknown_structures_are_named():
    with pytest.raises(TiramisuError, match="unknown structure 'star'; known: quad"):
        region_graph("star", 4, 2, 2, seeded())


def test_equal_seeds_are_equal_problems():
    one, two = (make_problem("rat", **SIZES, generator=seeded()) for _ in range(2))
    assert one.circuit.graph == two.circuit.graph and torch.equal(one.x, two.x)
    assert torch.equal(one.log_weights, two.log_weights)
