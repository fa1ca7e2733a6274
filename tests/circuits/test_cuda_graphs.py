"""When queries are recorded, launched again, forgotten: with a stand-in that runs the query where a card runs a graph.

What only a card shows, that recording works and is exact and fast, is in `benchmarks.card`.
"""

import contextlib
import copy
from functools import partial
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit, accumulate
from tiramisu_edu.circuits.engines import cuda_graphs, fast, safe
from tiramisu_edu.circuits.learning import em_step

D, C = 4, 3
GRAPH = structures.quad_tree(2, 2, num_categories=C, num_latents=2)


def addresses(value):
    """Of all tensors that a query reads besides its argument."""
    if isinstance(value, torch.Tensor):
        return [value.data_ptr()]
    if isinstance(value, partial):
        value = value.args
    elif hasattr(value, "__closure__"):
        value = [cell.cell_contents for cell in value.__closure__ or ()]
    return [at for part in value for at in addresses(part)] if isinstance(value, (list, tuple)) else []


class StandIn(cuda_graphs.Recorded):
    """As a graph it runs nothing when it is made, and later always the same on the same memory."""

    made = 0

    def __init__(self, query, own):
        self.own, self.query, self.results, self.graph, self.addresses = own, query, None, self, addresses(query)
        StandIn.made += 1

    def replay(self):
        assert cuda_graphs._turns.locked()
        assert addresses(self.query) == self.addresses
        new = self.query(self.own)
        for old, result in zip(self.results or new, new):
            old.copy_(result)
        self.results = self.results or new


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    StandIn.made = 0
    monkeypatch.setattr(cuda_graphs, "Recorded", StandIn)
    monkeypatch.setattr(cuda_graphs, "is_possible", lambda *_: True)


RECORDED, IS_POSSIBLE = cuda_graphs.Recorded, cuda_graphs.is_possible


@contextlib.contextmanager
def no_graphs():
    with mock.patch.object(cuda_graphs, "is_possible", lambda *_: False):
        yield


class Model:
    """A circuit, and the counts that its E-steps add to."""

    def __init__(self):
        self.circuit = Circuit(GRAPH, generator=torch.Generator().manual_seed(0)).requires_grad_(False)
        self.counts = [torch.zeros_like(table) for table in self.circuit.tables()]

    def do(self, what, batch, seed):
        return getattr(self, what)(*self.evidence(batch, seed), seed % len(self.circuit.parameter_list))

    def evidence(self, batch, seed):
        g = torch.Generator().manual_seed(seed)
        return torch.randn(batch, D, C, generator=g), torch.randint(-1, C, (batch, D), generator=g)

    def marginals(self, soft, hard, some):
        return self.circuit.posterior_marginals(soft)

    def marginals_of_other_strides(self, soft, hard, some):
        return self.circuit.posterior_marginals(soft.permute(1, 2, 0).contiguous().permute(2, 0, 1))

    def marginals_in_inference_mode(self, soft, hard, some):
        with torch.inference_mode():
            return self.circuit.posterior_marginals(soft)

    def log_z(self, soft, hard, some):
        return self.circuit.log_partition(soft)

    def log_p(self, soft, hard, some):
        return self.circuit.log_likelihood(hard)

    def count(self, soft, hard, some):
        return accumulate(self.circuit, self.circuit.tables(), hard if some else soft, self.counts)

    def one_em_step(self, soft, hard, some):
        return torch.tensor(em_step(self.circuit, hard, gradients=self.counts, pseudocount=0.1, step=0.5))

    def change_in_place(self, soft, hard, some):
        self.circuit.parameter_list[some].mul_(0.9).add_(0.1 * soft.exp().mean())

    def take_other_memory(self, soft, hard, some):
        self.circuit.parameter_list[some].data = self.circuit.parameter_list[some].data.clone()

    def take_other_parameters(self, soft, hard, some):
        old = self.circuit.parameter_list[some]
        self.circuit.parameter_list[some] = torch.nn.Parameter(0.9 * old, requires_grad=False)

    def move(self, soft, hard, some):
        self.circuit.to("cpu")

    def go_on_with_a_copy(self, soft, hard, some):
        self.circuit = copy.deepcopy(self.circuit)


VERBS = [name for name in vars(Model) if not name.startswith("_") and name not in ("do", "evidence")]
CHANGES = ("change_in_place", "take_other_memory", "take_other_parameters", "move", "go_on_with_a_copy")
QUERIES = [name for name in vars(Model) if not name.startswith("_") and name not in ("do", "evidence", *CHANGES)]
VERBS = [*QUERIES, *CHANGES]
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(1, 2), st.integers(0, 9)), min_size=8, max_size=20)


def compare(steps, most):
    """Each step gives bit for bit what it gives without graphs, and what was returned before stays as it was."""
    model, plain, held = Model(), Model(), []
    with mock.patch.object(cuda_graphs, "MOST", most):
        for step in steps:
            result = model.do(*step)
            with no_graphs():
                held.append((result, plain.do(*step)))
            assert all(torch.equal(*pair) for pair in zip(model.counts, plain.counts))
            assert len(model.circuit.plan.__dict__.get("_cuda_graphs", cuda_graphs.Graphs()).kept) <= most
    assert all(ours is theirs is None or torch.equal(ours, theirs) for ours, theirs in held)


@settings(max_examples=10, deadline=None)
@given(steps=STEPS, most=st.sampled_from([1, 2, 8]))
def test_any_order_of_queries_and_changes_gives_what_plain_calls_give(steps, most):
    compare(steps, most)


@pytest.mark.parametrize("query", QUERIES)
def test_a_recorded_query_around_each_other_call(query):
    """Any order hardly ever has a query for the fourth time."""
    for other in VERBS:
        compare([(q, 2, 2 * i) for i, q in enumerate([query] * 4 + [other, query] + [other] * 3 + [query] * 2)], 8)


def test_the_second_call_of_a_shape_is_recorded_and_later_ones_replay_it():
    model, called = Model(), []
    with mock.patch.object(fast, "forward", side_effect=lambda *a, f=fast.forward, **k: called.append(0) or f(*a, **k)):
        for made in (0, 1, 1, 1):
            model.marginals(*model.evidence(2, 0), 0)
            assert StandIn.made == made
        model.marginals(*model.evidence(3, 0), 0)
        assert StandIn.made == 1
    model.move(None, None, 0)
    assert "_cuda_graphs" not in model.circuit.plan.__dict__


def ask(graphs, size, query=lambda rows: (2 * rows,), others=()):
    rows = torch.full((size,), 3.0)
    (result,) = graphs("doubles", query, rows, others)
    assert torch.equal(result, 2 * rows)


def test_the_one_used_longest_ago_goes(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST", 2)
    graphs = cuda_graphs.Graphs()
    for size, made in ((1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (3, 2), (1, 2), (2, 2), (2, 3), (1, 3)):
        ask(graphs, size)
        assert StandIn.made == made


def test_the_same_memory_in_another_layout_is_another_graph():
    graphs, square = cuda_graphs.Graphs(), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for table in (square, square.T, square[:, :1], square.view(torch.int32)):
        given = [torch.full((2, 2), float(call)) for call in range(3)]
        for rows in given:
            (result,) = graphs("adds", lambda rows, table=table: (rows + table,), rows, [table])
            assert torch.equal(result, rows + table)
        assert [int(rows[0, 0]) for rows in given] == [0, 1, 2]  # evidence stays the caller's
    assert StandIn.made == 4


def test_what_cannot_be_recorded_is_called_for_good(monkeypatch):
    class Failing(StandIn):
        def __init__(self, query, own):
            super().__init__(query, own)
            if len(own) == 2:
                raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graphs, "Recorded", Failing)
    monkeypatch.setattr(cuda_graphs, "MOST", 1)
    graphs = cuda_graphs.Graphs()
    ask(graphs, 2)
    with pytest.warns(UserWarning, match="doubles of this shape stay without a CUDA graph: operation not permitted"):
        ask(graphs, 2)
    for size, others in zip((2, 2, 1, 2, 2, 1, 1, 1), [[torch.ones(1)]] * 8):  # of this shape no other graph either
        ask(graphs, size, others=others)
    assert StandIn.made == 2


def test_a_fault_of_the_query_is_raised_and_not_taken_for_one_of_the_recording():
    graphs, faults = cuda_graphs.Graphs(), iter([None, RuntimeError("out of memory"), None, None])

    def query(rows):
        if (fault := next(faults)) is not None:
            raise fault
        return (2 * rows,)

    ask(graphs, 2, query)
    with pytest.raises(RuntimeError, match="out of memory"):
        ask(graphs, 2, query)
    ask(graphs, 2, query)
    assert StandIn.made == 1 and not graphs.failed


CARD, OTHER_CARD, CPU = torch.device("cuda", 0), torch.device("cuda", 1), torch.device("cpu")


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (True, {}),
        (False, {"engine": fast}),
        (False, {"engine": safe}),
        (False, {"size": 0}),
        (False, {"device": CPU}),
        (False, {"others": [OTHER_CARD]}),
        (False, {"others": [CARD, CPU]}),
        (False, {"stream": "side, where somebody records"}),
        (False, {"compiling": True}),
        (False, {"gradients": True}),
    ],
)
def test_where_a_query_can_be_recorded(monkeypatch, expected, change):
    at = {"engine": torch, "size": 6, "device": CARD, "others": [CARD], "stream": "default"}
    at |= {"compiling": False, "gradients": False} | change
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: at["stream"])
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "default")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: at["compiling"])
    rows = SimpleNamespace(device=at["device"], numel=lambda: at["size"])
    with torch.set_grad_enabled(at["gradients"]):
        assert IS_POSSIBLE(at["engine"], rows, [SimpleNamespace(device=d) for d in at["others"]]) is expected


class FakeCuda:
    """What `Recorded` asks of torch.cuda, with signatures checked; as there, a failed recording leaves its stream."""

    def __init__(self, monkeypatch, fails=False):
        self.stream_now, self.log, self.fails = "default", [], fails
        monkeypatch.setattr(torch.cuda, "Stream", mock.Mock(side_effect=lambda device: f"side of {device}"))
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", mock.Mock(return_value="pool"))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: self.log.append("replay")))
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "graph", mock.create_autospec(torch.cuda.graph, side_effect=self.graph))

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.stream_now = self.stream_now, stream
        try:
            yield
        finally:
            self.stream_now = before

    @contextlib.contextmanager
    def graph(self, cuda_graph, pool, stream, capture_error_mode):
        self.stream_now = stream
        self.log.append((stream, pool, capture_error_mode))
        yield
        if self.fails:
            raise RuntimeError("capture failed")


def test_recording_takes_a_side_stream_and_shared_memory(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    cuda_graphs._side.cache_clear()
    own, held = torch.ones(2), []
    for _ in range(2):
        recorded = RECORDED(lambda rows: (rows if cuda.stream_now == "side of cpu" else None,), own)
        assert cuda.log.pop() == ("side of cpu", "pool", "thread_local") and cuda.stream_now == "default"
    for value in (1.0, 2.0):
        held += recorded(torch.full((2,), value))
        assert cuda.log.pop() == "replay"
    assert [result.tolist() for result in held] == [[1, 1], [2, 2]]
    assert torch.cuda.Stream.call_count == torch.cuda.graph_pool_handle.call_count == 1
    cuda.fails = True
    with pytest.raises(RuntimeError, match="capture failed"):
        RECORDED(lambda rows: (rows,), own)
    assert cuda.stream_now == "default"
    cuda_graphs._side.cache_clear()
