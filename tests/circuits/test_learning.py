"""EM: it climbs, it agrees with the textbook, it survives being killed."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import graphs, random_circuit, random_evidence
from tests.circuits.scalar_nodes import to_reference
from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import em_step, fit_em
from tiramisu_edu.errors import EvidenceError, FileError, TiramisuError

seeds = st.integers(0, 2**31)


def toy_data(n=200, seed=0):
    """Five binary variables that follow one hidden cause."""
    g = torch.Generator().manual_seed(seed)
    cause = torch.rand(n, 1, generator=g) < 0.5
    return (cause ^ (torch.rand(n, 5, generator=g) < 0.15)).long()


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), seed=seeds)
def test_full_batch_em_never_lowers_the_likelihood(graph, seed):
    circuit = random_circuit(graph, seed, 1.0, torch.float64)
    g = torch.Generator().manual_seed(seed)
    data = torch.randint(-1, circuit.num_categories, (30, circuit.num_variables), generator=g)
    history = fit_em(circuit, data, epochs=6, pseudocount=0.0, progress=False)
    for before, after in zip(history.train, history.train[1:]):
        assert after >= before - 1e-12 * max(1.0, abs(before))


@settings(max_examples=25, deadline=None)
@given(graph=graphs(), seed=seeds, pseudocount=st.sampled_from([0.0, 0.7]))
def test_one_step_equals_the_reference(graph, seed, pseudocount):
    circuit = random_circuit(graph, seed, 1.0, torch.float64)
    g = torch.Generator().manual_seed(seed)
    data = torch.randint(-1, circuit.num_categories, (12, circuit.num_variables), generator=g)
    reference, mean = to_reference(circuit).em_step(data.numpy(), pseudocount)
    total = em_step(circuit, data, pseudocount=pseudocount)
    assert total / len(data) == pytest.approx(mean, rel=1e-12)
    if graph.regions[0].family == "indicator" and pseudocount:
        return  # the reference has no fixed inputs: it smooths the indicators, the engine keeps them
    for row in torch.randint(circuit.num_categories, (5, circuit.num_variables), generator=g):
        ours = circuit.log_likelihood(row[None]).item()
        assert ours == pytest.approx(reference.log_likelihood(row.numpy()), rel=1e-9, abs=1e-9)


def test_chow_liu_tree_is_fitted_in_one_step():
    """Deterministic circuit: after one step the likelihood is that of the empirical conditionals, and stays."""
    data = toy_data()
    circuit = Circuit(structures.chow_liu_tree(data, num_categories=2), dtype=torch.float64)
    history = fit_em(circuit, data, epochs=3, pseudocount=0.0, progress=False)
    assert history.train[1] == pytest.approx(history.train[2], rel=1e-12)
    parents = structures.chow_liu_edges(data, 2)
    expected = 0.0
    for i, parent in enumerate(parents):
        column = data[:, i] if parent < 0 else data[:, i] + 2 * data[:, parent]
        groups = column.bincount(minlength=4).double()
        whole = groups.reshape(2, 2).sum(1, keepdim=True).expand(2, 2).flatten() if parent >= 0 else groups.sum()
        expected += float(torch.special.xlogy(groups, groups / whole).nansum()) / len(data)
    assert history.train[1] == pytest.approx(expected, rel=1e-9)


def test_mini_batches_learn_and_are_repeatable():
    data, held_out = toy_data(), toy_data(seed=1)
    runs = []
    for _ in range(2):
        g = torch.Generator().manual_seed(0)
        circuit = Circuit(structures.hmm(5, num_categories=2, num_latents=4), generator=g)
        runs.append(fit_em(circuit, data, validation=held_out, epochs=15, batch_size=20, generator=g, progress=False))
    assert runs[0] == runs[1]
    assert max(runs[0].validation) > runs[0].validation[0] + 0.5
    assert circuit.log_likelihood(held_out).mean().item() == pytest.approx(max(runs[0].validation), abs=1e-5)


def test_early_stopping_keeps_the_best():
    data, held_out = toy_data(20), toy_data(200, seed=1)
    circuit = Circuit(structures.mixture(5, num_categories=2, num_latents=16))
    history = fit_em(circuit, data, validation=held_out, epochs=500, pseudocount=0.0, patience=3, progress=False)
    assert len(history.train) < 500
    assert circuit.log_likelihood(held_out).mean().item() == pytest.approx(max(history.validation), abs=1e-5)


def test_parameters_stay_distributions():
    circuit = Circuit(structures.hmm(5, num_categories=2, num_latents=8, tied=True))
    fit_em(circuit, toy_data(), epochs=20, pseudocount=0.0, progress=False)
    for theta in circuit.parameter_list:
        assert (theta >= 0).all() and torch.allclose(theta.sum(-1), torch.ones(theta.shape[:-1]), atol=1e-6)


class Killed(Exception):
    pass


@pytest.mark.parametrize("validation", [None, toy_data(seed=1)])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_a_run_resumes_after_any_save(tmp_path, monkeypatch, validation, batch_size):
    """Killed at every save in turn, within an epoch, between two and at the end."""

    def run(checkpoint):
        g = torch.Generator().manual_seed(0)
        circuit = Circuit(structures.mixture(5, num_categories=2, num_latents=3), generator=g)
        options = {"epochs": 3, "batch_size": batch_size, "patience": 9, "checkpoint": checkpoint}
        history = fit_em(circuit, toy_data(), validation=validation, generator=g, progress=False, **options)
        return history, [theta.clone() for theta in circuit.parameter_list]

    def save_and_die(checkpoint, state):
        save(checkpoint, state)
        raise Killed

    straight, save = run(None), Checkpoint.save
    monkeypatch.setattr(Checkpoint, "every", 0.0)
    monkeypatch.setattr(Checkpoint, "save", save_and_die)
    deaths = 3 * (1 if batch_size is None else 4)
    for _ in range(deaths):
        with pytest.raises(Killed):
            run(tmp_path / "em")
    monkeypatch.setattr(Checkpoint, "save", save)
    for resumed in (run(tmp_path / "em"), run(tmp_path / "em")):  # the second finds a run that is over
        assert resumed[0] == straight[0]
        assert all(torch.equal(a, b) for a, b in zip(resumed[1], straight[1]))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    circuit = Circuit(structures.mixture(5, num_categories=2, num_latents=2))
    path = tmp_path / "em.safetensors"
    fit_em(circuit, toy_data(), epochs=1, checkpoint=path, progress=False)
    with pytest.raises(FileError, match=r"\(different: epochs, validation\)"):
        fit_em(circuit, toy_data(), validation=toy_data(), epochs=2, checkpoint=path, progress=False)
    with pytest.raises(FileError, match=r"\(different: train\)"):
        fit_em(circuit, 1 - toy_data(), epochs=1, checkpoint=path, progress=False)
    other = Circuit(structures.mixture(5, num_categories=2, num_latents=3))
    with pytest.raises(FileError, match=r"\(different: graph\)"):
        fit_em(other, toy_data(), epochs=1, checkpoint=path, progress=False)


def test_a_likelihood_that_is_no_number_is_never_passed_over():
    circuit = Circuit(structures.mixture(5, num_categories=2, num_latents=2))
    ones = torch.ones(20, 5, dtype=torch.long)
    with pytest.warns(UserWarning, match="after 1 epochs are not kept: some validation rows have probability zero"):
        history = fit_em(circuit, ones, validation=toy_data(), epochs=1, pseudocount=0.0, progress=False)
    assert history.validation[1] == -torch.inf and history.best_epoch == 0
    assert circuit.log_likelihood(toy_data()).isfinite().all()
    with torch.no_grad():
        circuit.parameter_list[0].fill_(torch.nan)
    with pytest.raises(TiramisuError, match="log Z is NaN"):
        fit_em(circuit, ones, validation=toy_data(), epochs=1, progress=False)


def test_bad_data_is_named():
    circuit = Circuit(structures.mixture(5, num_categories=2, num_latents=2))
    with pytest.raises(EvidenceError, match="is not a category"):
        fit_em(circuit, toy_data() + 1, progress=False)
    with pytest.raises(TiramisuError, match="empty"):
        fit_em(circuit, toy_data()[:0], progress=False)
    with pytest.raises(TiramisuError, match="batch_size"):
        fit_em(circuit, toy_data(), batch_size=0, progress=False)


def test_an_impossible_row_is_named_by_its_place_in_the_batch(monkeypatch):
    monkeypatch.setattr("tiramisu_edu.circuits.learning.READ", 4)  # rows are read in several parts
    circuit = Circuit(structures.factorized(5, num_categories=2))
    with torch.no_grad():
        for theta in circuit.parameter_list:
            theta.copy_(torch.tensor([1.0, 0.0]) if theta.shape[-1] == 2 else theta)
    data = torch.zeros(20, 5, dtype=torch.long)
    data[[6, 17], 2] = 1
    with pytest.raises(EvidenceError, match=r"in batch rows 6$"):
        em_step(circuit, data, pseudocount=0.1)
    with pytest.raises(EvidenceError, match=r"in batch rows 3$"):
        em_step(circuit, data, torch.arange(14, 20), pseudocount=0.1)


@settings(max_examples=25, deadline=None)
@given(graph=graphs(), seed=seeds)
def test_em_with_soft_evidence_equals_the_reference(graph, seed):
    circuit = random_circuit(graph, seed, 1.0, torch.float64)
    log_weights = random_evidence("soft", 8, circuit.num_variables, circuit.num_categories, seed)
    reference, mean = to_reference(circuit).em_step_soft([row.numpy() for row in log_weights])
    total = em_step(circuit, log_weights, pseudocount=0.0)
    assert total / 8 == pytest.approx(mean, rel=1e-10, abs=1e-10)
    ours = circuit.log_partition(log_weights).detach().tolist()
    for row, value in zip(log_weights, ours):
        assert value == pytest.approx(reference.log_partition(row.numpy()), rel=1e-9, abs=1e-9)


def test_hard_evidence_as_log_weights_learns_the_same():
    one_hot = torch.nn.functional.one_hot(toy_data(), 2).double().log()
    fitted = []
    for data in (toy_data(), one_hot):
        g = torch.Generator().manual_seed(0)
        circuit = Circuit(structures.hmm(5, num_categories=2, num_latents=3), generator=g, dtype=torch.float64)
        fit_em(circuit, data, epochs=5, progress=False)
        fitted.append(circuit)
    for a, b in zip(fitted[0].parameter_list, fitted[1].parameter_list):
        assert torch.allclose(a, b, atol=1e-12)


def test_data_is_read_batch_by_batch_from_disk(tmp_path):
    """A NumPy memmap of bytes, as for data larger than memory, gives what the tensor in memory gives."""
    path = tmp_path / "data.npy"
    np.save(path, toy_data().to(torch.uint8).numpy())
    histories = []
    for data in (toy_data(), np.load(path, mmap_mode="r")):
        g = torch.Generator().manual_seed(0)
        circuit = Circuit(structures.mixture(5, num_categories=2, num_latents=3), generator=g)
        histories.append(fit_em(circuit, data, epochs=4, batch_size=32, generator=g, progress=False))
    assert histories[0] == histories[1]


DISTRIBUTED = """
    import sys, torch
    from tests.circuits.test_learning import toy_data
    from tiramisu_edu.circuits import structures
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.circuits.learning import fit_em
    if torch.distributed.is_torchelastic_launched():
        torch.distributed.init_process_group("gloo")
    g = torch.Generator().manual_seed(0)
    circuit = Circuit(structures.hmm(5, num_categories=2, num_latents=4), generator=g)
    fit_em(circuit, toy_data(201), validation=toy_data(51, seed=1), epochs=10, batch_size=30, generator=g,
           checkpoint=sys.argv[2], progress=False)
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        circuit.save(sys.argv[1])
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no torch.distributed")
def test_two_processes_learn_what_one_does(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(DISTRIBUTED))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, str(script), str(tmp_path / "one"), str(tmp_path / "c1")]
    subprocess.run(alone, env=environment, check=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, str(script), str(tmp_path / "two"), str(tmp_path / "c2")], env=environment, check=True)
    one, two = Circuit.load(tmp_path / "one"), Circuit.load(tmp_path / "two")
    for a, b in zip(one.parameter_list, two.parameter_list):
        assert (a - b).abs().max() < 1e-5
