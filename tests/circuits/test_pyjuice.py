"""Circuits from PyJuice: its own files give its own log-likelihoods, and nothing in a file is executed."""

import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from tiramisu_edu.circuits import node_vectors
from tiramisu_edu.circuits.jpc_file import read_jpc
from tiramisu_edu.circuits.node_vectors import Distribution, NodeVector, weight_matrix
from tiramisu_edu.circuits.pyjuice import _circuit, from_pyjuice, load_pyjuice
from tiramisu_edu.errors import FileError, StructureError

FOLDER = Path(__file__).parents[1] / "data" / "pyjuice"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
NAMES = [name for name in EXPECTED if name != "pyjuice"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("data", "result"), [("x", ""), ("with_missing", "_with_missing")])
def test_the_log_likelihoods_are_those_that_pyjuice_computed(name, data, result):
    found = load_pyjuice(FOLDER / f"{name}.jpc").log_likelihood(torch.tensor(EXPECTED[name][data]))
    torch.testing.assert_close(found, torch.tensor(EXPECTED[name]["log_likelihood" + result]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "units", "num_regions", "num_parameters"),
    [
        ("hmm", {6, 1}, 10, 6 * 4 + 6 * 6 + 6),  # tied: one emission table, one transition, the start
        ("hclt", {8, 1}, 10, 7 * 8 * 5 + 2 * 8 * 8 + 8),  # dense: a region per vector
        ("pd", {2, 1}, 89, None),  # block-diagonal sums: a region per block
        ("rat", {4, 1}, 19, None),
        ("permuted", {2, 1}, 13, None),
        ("sparse", {1, 2}, 15, None),  # a region per unit; the inner sum's products are inputs in order
    ],
)
def test_vectors_are_cut_no_finer_than_needed(name, units, num_regions, num_parameters):
    graph = load_pyjuice(FOLDER / f"{name}.jpc").graph
    assert {region.num_units for region in graph.regions} == units
    assert len(graph.regions) == num_regions
    assert num_parameters in (None, graph.num_parameters)


class Node:
    """As much of a node of PyJuice as `from_pyjuice` asks for."""

    def __init__(self, vector, children):
        self.kind, self.chs, self._source_node = vector.kind, children, None
        self.num_node_blocks, self.block_size = vector.num_blocks, vector.block_size
        self.scope = types.SimpleNamespace(to_list=lambda: list(vector.scope))
        self._params = None if vector.parameters is None else torch.from_numpy(vector.parameters)
        if vector.edge_ids is not None:
            self.edge_ids = torch.from_numpy(vector.edge_ids)
        if vector.distribution is not None:
            self.dist = type(vector.distribution.name, (), {})()
            vars(self.dist).update(vector.distribution.numbers)

    def is_input(self):
        return self.kind == "Input"

    def is_prod(self):
        return self.kind == "Product"


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_in_memory_is_the_circuit_of_its_file(name):
    vectors, nodes = read_jpc(FOLDER / f"{name}.jpc"), []
    for vector in vectors:
        nodes.append(Node(vector, [nodes[child] for child in vector.children]))
    for vector, node in zip(vectors, nodes):
        node._source_node = None if vector.source is None else nodes[vector.source]
    x = torch.tensor(EXPECTED[name]["with_missing"])
    expected = load_pyjuice(FOLDER / f"{name}.jpc").log_likelihood(x)
    torch.testing.assert_close(from_pyjuice(nodes[-1]).log_likelihood(x), expected)


def test_pyjuice_itself():
    pyjuice = pytest.importorskip("pyjuice", reason="PyJuice is not installed")
    root = pyjuice.load(str(FOLDER / "pd.jpc"))
    x = torch.tensor(EXPECTED["pd"]["x"])
    found = from_pyjuice(root).log_likelihood(x)
    torch.testing.assert_close(found, torch.tensor(EXPECTED["pd"]["log_likelihood"]), rtol=0, atol=1e-5)


# Random sparse graphs against a walk over their single nodes


def walk(vectors, x):
    """p(x) of the last vector by the definitions, one unit at a time."""
    values = []
    for vector in vectors:
        owner = vectors[vector.source] if vector.source is not None else vector
        if vector.kind == "Input":
            values.append(owner.parameters.reshape(vector.num_units, -1)[:, x[vector.scope[0]]])
        elif vector.kind == "Product":
            units = node_vectors.factor_units(vector)
            values.append(np.array([np.prod([values[c][u] for c, u in zip(vector.children, row)]) for row in units]))
        else:
            below = np.concatenate([values[child] for child in vector.children])
            values.append(weight_matrix(owner, [vectors[child] for child in owner.children]) @ below)
    return values[-1][0]


class RandomGraph:
    """Three variables: inputs, sums over them, two products of all, sums of both, one root."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.b = int(self.random.choice([1, 2, 4]))
        self.vectors = []
        inputs = [self.input(i) for i in range(3)]
        mixed = [self.sum([i]) if self.random.random() < 0.5 else i for i in inputs]
        products = [self.product(mixed), self.product(inputs)]
        self.root([self.product([self.tied_or_new(products)]), self.product([self.sum(products)])])

    def add(self, *args, **kwargs):
        self.vectors.append(NodeVector(*args, **kwargs))
        return len(self.vectors) - 1

    def input(self, variable):
        blocks = int(self.random.integers(1, 4))
        table = self.random.dirichlet([1] * 3, blocks * self.b).astype(np.float32)
        categorical = Distribution("Categorical", {"num_cats": 3})
        parameters = {"parameters": table.reshape(-1), "scope": (variable,), "distribution": categorical}
        return self.add("Input", blocks, self.b, **parameters)

    def product(self, children):
        sizes = [self.vectors[child].num_blocks for child in children]
        kind = self.random.choice(["in order", "blocks", "units"])
        if kind == "in order" and len(set(sizes)) == 1:
            edges = np.tile(np.arange(sizes[0])[:, None], (1, len(children)))
            return self.add("Product", sizes[0], self.b, tuple(children), edges)
        blocks = int(self.random.integers(1, 4))
        by_unit = kind == "units"
        rows, scale = (blocks * self.b, self.b) if by_unit else (blocks, 1)
        edges = np.stack([self.random.integers(0, size * scale, rows) for size in sizes], 1)
        return self.add("Product", blocks, self.b, tuple(children), edges)

    def sum(self, children, num_blocks=None, block_size=None):
        blocks, b = num_blocks or int(self.random.integers(1, 4)), block_size or self.b
        num_children = sum(self.vectors[child].num_blocks for child in children)
        mask = self.random.random((blocks, num_children)) < self.random.choice([0.5, 1.0])
        mask[np.arange(blocks), self.random.integers(0, num_children, blocks)] = True
        edges = np.stack(np.nonzero(mask))
        weights = np.zeros((blocks, num_children, b, self.b))
        for i in range(blocks):
            rows = self.random.dirichlet([1] * int(mask[i].sum() * self.b), b)
            weights[i, mask[i]] = rows.reshape(b, -1, self.b).transpose(1, 0, 2)
        parameters = weights[edges[0], edges[1]].astype(np.float32)
        return self.add("Sum", blocks, b, tuple(children), edges, parameters)

    def tied_or_new(self, products):
        first = self.sum(products)
        own = self.vectors[first]
        return self.add("Sum", own.num_blocks, own.block_size, own.children, own.edge_ids, source=first)

    def root(self, children):
        self.sum(children, num_blocks=1, block_size=1)


@pytest.mark.parametrize("seed", range(60))
def test_any_sparsity_gives_the_same_distribution(seed):
    vectors = RandomGraph(seed).vectors
    x = torch.cartesian_prod(*[torch.arange(3)] * 3)
    expected = torch.tensor([walk(vectors, row) for row in x.tolist()])
    found = _circuit(vectors).log_likelihood(x).double().exp()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


# Files that are not what they should be


def entries():
    """The content of a file whose fifth vector owns the emission table; its distributions stay pickled."""
    with open(FOLDER / "hmm.jpc", "rb") as file:
        return pickle.load(file)


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_is_read_alike(tmp_path, protocol):
    (tmp_path / "c.jpc").write_bytes(pickle.dumps(entries(), protocol))
    for a, b in zip(read_jpc(tmp_path / "c.jpc"), read_jpc(FOLDER / "hmm.jpc"), strict=True):
        assert np.array_equal(a.parameters, b.parameters) and np.array_equal(a.edge_ids, b.edge_ids)
        assert (a.kind, a.children, a.scope, a.source) == (b.kind, b.children, b.scope, b.source)


def test_truncated_files_say_so(tmp_path):
    data = (FOLDER / "hmm.jpc").read_bytes()
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "c.jpc").write_bytes(data[:length])
        with pytest.raises(FileError, match=r"c\.jpc is (truncated|no \.jpc file)"):
            load_pyjuice(tmp_path / "c.jpc")


@pytest.mark.parametrize("content", [b"hello", b"{}", pickle.dumps({"a": 1}), pickle.dumps([[1]]), pickle.dumps([{}])])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "c.jpc").write_bytes(content)
    with pytest.raises(FileError):
        load_pyjuice(tmp_path / "c.jpc")
    with pytest.raises(FileError, match="cannot read"):
        load_pyjuice(tmp_path / "missing.jpc")


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["beside", "in the distribution"])
def test_nothing_in_a_file_is_executed(tmp_path, where):
    trace, fields = tmp_path / "trace", entries()
    fields[0].update({"more": Attack(trace)} if where == "beside" else {"dist": pickle.dumps(Attack(trace))})
    (tmp_path / "c.jpc").write_bytes(pickle.dumps(fields))
    with pytest.raises(FileError, match="unsafe to open"):
        load_pyjuice(tmp_path / "c.jpc")
    assert not trace.exists()


def test_arrays_of_objects_are_refused(tmp_path):
    fields = entries()
    fields[4]["params"] = np.array([{}, []], dtype=object)
    (tmp_path / "c.jpc").write_bytes(pickle.dumps(fields))
    with pytest.raises(FileError, match="array of type 'O8'"):
        load_pyjuice(tmp_path / "c.jpc")


def save_changed(path, change):
    fields = entries()
    change(fields)
    path.write_bytes(pickle.dumps(fields))
    return path


def test_other_distributions_are_named(tmp_path, monkeypatch):
    module = types.ModuleType("pyjuice.nodes.distributions.gaussian")
    module.Gaussian = type("Gaussian", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, "pyjuice", types.ModuleType("pyjuice"))
    monkeypatch.setitem(sys.modules, "pyjuice.nodes", types.ModuleType("pyjuice.nodes"))
    monkeypatch.setitem(sys.modules, "pyjuice.nodes.distributions", types.ModuleType("pyjuice.nodes.distributions"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    fields = entries()
    fields[4]["dist"] = pickle.dumps(module.Gaussian())
    (tmp_path / "c.jpc").write_bytes(pickle.dumps(fields))
    with pytest.raises(StructureError, match="distribution Gaussian are not supported, only Categorical"):
        load_pyjuice(tmp_path / "c.jpc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[4].pop("params"), "vector 4: it has no parameters"),
        (lambda f: f[4]["params"].__imul__(2), "vector 4: its weights are no probabilities"),
        (lambda f: f[4].update(scope=[4, 5]), "vector 4: an input must have one variable, not 2"),
        (lambda f: f[4].update(scope=[0]), "not decomposable"),
        (lambda f: f.pop(), "root must have one unit, not 6"),
        (lambda f: f[-1].update(external_params=b""), "passed with every sample"),
        (lambda f: f[-1]["edge_ids"].__iadd__(1), "leads to a block that does not exist|has no edge"),
        (lambda f: f[0].update(source_node=1), "which has no parameters of its own"),
    ],
)
def test_circuits_that_cannot_be_expressed_say_why(tmp_path, change, message):
    with pytest.raises(StructureError, match=message):
        load_pyjuice(save_changed(tmp_path / "c.jpc", change))


def vector(kind, children=(), edges=None, blocks=1, size=2, **more):
    return NodeVector(kind, blocks, size, tuple(children), None if edges is None else np.array(edges), **more)


COIN = Distribution("Bernoulli", {})
LEAF = {"parameters": np.full(2, 0.5, np.float32), "scope": (0,), "distribution": COIN}


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([vector("Input", **LEAF), *(vector("Product", [i], [[0]]) for i in (0, 1))], "product of products"),
        ([vector("Input", **LEAF), vector("Product", [0], [[1]])], "does not exist"),
        ([vector("Input", **LEAF), vector("Product", [0], [[0, 0]])], "edge ids of shape"),
        ([vector("Input", **LEAF), vector("Sum", [0, 0], [[0, 0], [0, 1]])], "lists a child twice"),
        ([vector("Input", **LEAF), vector("Sum", [0], [[0], [0]]), vector("Sum", [1], [[0], [0]])], "sum of sums"),
        ([vector("Input", size=0, **LEAF)], "1 blocks of 0 units"),
    ],
)
def test_graphs_that_are_no_circuits_say_why(vectors, message):
    with pytest.raises(StructureError, match=message):
        _circuit(vectors)


def test_a_root_that_is_no_sum_gets_one():
    leaves = [{**LEAF, "scope": (i,), "parameters": np.array([0.25], np.float32)} for i in range(2)]
    product = [*(vector("Input", size=1, **leaf) for leaf in leaves), vector("Product", [0, 1], [[0, 0]], size=1)]
    torch.testing.assert_close(_circuit(product).log_likelihood(torch.tensor([[1, 0]])).exp(), torch.tensor([0.1875]))
    leaf = [vector("Input", size=1, **leaves[0])]
    torch.testing.assert_close(_circuit(leaf).log_likelihood(torch.tensor([[1]])).exp(), torch.tensor([0.25]))
