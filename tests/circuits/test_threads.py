"""Little work runs on one thread, much on all of them, and afterwards everything is as before."""

import threading

import pytest
import torch

from tiramisu_edu.circuits import structures, threads
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.engines import fast
from tiramisu_edu.circuits.learning import em_step, fit_em
from tiramisu_edu.errors import EvidenceError

CIRCUIT = Circuit(structures.hmm(4, num_categories=3, num_latents=2), generator=torch.Generator().manual_seed(0))
X, WEIGHTS = torch.zeros(8, 4, dtype=torch.long), torch.zeros(8, 4, 3)


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


@pytest.fixture
def used(monkeypatch):
    """The numbers of threads that forward and backward passes ran on."""
    used = set()

    def watched(run):
        return lambda *arguments, **options: used.add(torch.get_num_threads()) or run(*arguments, **options)

    for name in ("forward", "backward"):
        monkeypatch.setattr(fast, name, watched(getattr(fast, name)))
    return used


QUERIES = {
    "log_likelihood": lambda: CIRCUIT.log_likelihood(X).sum().backward(),
    "log_partition": lambda: CIRCUIT.log_partition(log_weights=WEIGHTS),
    "posterior_marginals": lambda: CIRCUIT.posterior_marginals(WEIGHTS),
    "sample": lambda: CIRCUIT.sample(2),
    "em_step": lambda: em_step(CIRCUIT, X, pseudocount=0.1),
    "fit_em": lambda: fit_em(CIRCUIT, X, epochs=1, batch_size=4, progress=False),
}


@pytest.mark.parametrize("query", QUERIES)
def test_little_work_runs_on_one_thread(query, used):
    QUERIES[query]()
    assert used == {1}


@pytest.mark.parametrize("query", QUERIES)
def test_much_work_runs_on_all_threads(query, used, monkeypatch):
    monkeypatch.setattr(threads, "SHARED", 0)
    QUERIES[query]()
    assert used == {3}


def test_work_grows_with_rows_and_counts_inputs_under_soft_evidence_only():
    of_sums = threads.work(CIRCUIT.plan, 1, False)
    assert threads.work(CIRCUIT.plan, 64, False) == 64 * of_sums
    assert threads.work(CIRCUIT.plan, 1, True) != of_sums


def test_an_error_gives_the_threads_back():
    with pytest.raises(EvidenceError):
        CIRCUIT.log_partition(WEIGHTS * torch.nan)


def test_other_threads_keep_theirs():
    seen, started, done = [], threading.Event(), threading.Event()

    def other():
        seen.append(torch.get_num_threads())
        started.set()
        done.wait()
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    thread.start()
    started.wait()
    with threads.few_threads(CIRCUIT.plan, 1, False):
        done.set()
        thread.join()
    assert seen == [3, 3]
