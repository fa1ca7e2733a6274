"""Circuits from PyJuice: its own files give its own log-likelihoods, and nothing in a file is executed."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tiramisu_edu.circuits.learning import fit_em
from tiramisu_edu.circuits.pyjuice import load_pyjuice
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
        ("hclt", {8, 1}, 10, 7 * 8 * 5 + 2 * 8 * 8 + 8),
        ("pd", {4, 1}, 45, None),  # shared regions with several partitions
        ("rat", {4, 1}, 19, None),
        ("permuted", {6, 8, 1}, 8, None),  # three inputs, two sums, and three in another order
        ("sparse", {2, 4, 1}, 8, None),  # four inputs, two sums, and two that pick units
    ],
)
def test_a_vector_is_one_region(name, units, num_regions, num_parameters):
    graph = load_pyjuice(FOLDER / f"{name}.jpc").graph
    assert {region.num_units for region in graph.regions} == units
    assert len(graph.regions) == num_regions
    assert num_parameters in (None, graph.num_parameters)


@pytest.mark.parametrize("name", NAMES)
def test_em_goes_on_where_pyjuice_stopped(name):
    circuit = load_pyjuice(FOLDER / f"{name}.jpc")
    zeros = [theta == 0 for theta in circuit.parameter_list]
    history = fit_em(circuit, torch.tensor(EXPECTED[name]["x"]), epochs=4, pseudocount=0.0, progress=False)
    assert all(after >= before - 1e-5 for before, after in zip(history.train, history.train[1:]))
    assert all((theta[zero] == 0).all() for theta, zero in zip(circuit.parameter_list, zeros))


# Random sparse graphs against a walk over their single nodes


def distribution(name="Categorical", **numbers):
    """What PyJuice writes for an input distribution: a pickle of an object of its class."""
    module = f"cpyjuice.nodes.distributions.{name.lower()}\n{name}\n".encode()
    return b"\x80\x02" + module + b")\x81" + pickle.dumps(numbers, 2)[2:-1] + b"b."


def vector(kind, children=(), edges=None, blocks=1, size=2, **more):
    entry = {"type": kind, "num_node_blocks": blocks, "block_size": size, "chs": tuple(children), **more}
    return entry if edges is None else entry | {"edge_ids": np.array(edges)}


def load(folder, vectors):
    (folder / "c.jpc").write_bytes(pickle.dumps(vectors))
    return load_pyjuice(folder / "c.jpc")


def units(entry):
    return entry["num_node_blocks"] * entry["block_size"]


def walk(vectors, x):
    """p(x) of the last vector by the definitions, one edge at a time."""
    values = []
    for entry in vectors:
        b, children = entry["block_size"], [values[child] for child in entry["chs"]]
        owner = vectors[entry.get("source_node", len(values))]
        value = np.zeros(units(entry))
        if entry["type"] == "Input":
            value = owner["params"].reshape(len(value), -1)[:, x[entry["scope"][0]]]
        elif entry["type"] == "Product":
            by_unit = len(entry["edge_ids"]) == len(value)
            for k in range(len(value)):
                picked = entry["edge_ids"][k] if by_unit else entry["edge_ids"][k // b] * b + k % b
                value[k] = np.prod([child[unit] for child, unit in zip(children, picked)])
        else:
            below = np.concatenate(children).reshape(-1, vectors[entry["chs"][0]]["block_size"])
            for block, child_block, weights in zip(*entry["edge_ids"], owner["params"]):
                value[block * b : (block + 1) * b] += weights @ below[child_block]
        values.append(value)
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
        deeper = self.sum([self.sum(products)])
        self.sum([self.product([self.tied(products)]), self.product([self.product([deeper])])], blocks=1, size=1)

    def add(self, *args, **kwargs):
        self.vectors.append(vector(*args, **kwargs))
        return len(self.vectors) - 1

    def input(self, variable):
        blocks = int(self.random.integers(1, 4))
        table = self.random.dirichlet([1] * 3, blocks * self.b).astype(np.float32)
        more = {"params": table.reshape(-1), "scope": [variable], "dist": distribution(num_cats=3)}
        return self.add("Input", blocks=blocks, size=self.b, **more)

    def product(self, children):
        sizes = [self.vectors[child]["num_node_blocks"] for child in children]
        kind = self.random.choice(["in order", "blocks", "units"])
        if kind == "in order" and len(set(sizes)) == 1:
            edges = np.tile(np.arange(sizes[0])[:, None], (1, len(children)))
            return self.add("Product", children, edges, sizes[0], self.b)
        blocks = int(self.random.integers(1, 4))
        rows, scale = (blocks * self.b, self.b) if kind == "units" else (blocks, 1)
        edges = np.stack([self.random.integers(0, size * scale, rows) for size in sizes], 1)
        return self.add("Product", children, edges, blocks, self.b)

    def sum(self, children, blocks=None, size=None):
        blocks, b = blocks or int(self.random.integers(1, 4)), size or self.b
        num_children = sum(self.vectors[child]["num_node_blocks"] for child in children)
        mask = self.random.random((blocks, num_children)) < self.random.choice([0.5, 1.0])
        mask[np.arange(blocks), self.random.integers(0, num_children, blocks)] = True
        weights = np.zeros((blocks, num_children, b, self.b))
        for i in range(blocks):
            rows = self.random.dirichlet([1] * int(mask[i].sum() * self.b), b)
            weights[i, mask[i]] = rows.reshape(b, -1, self.b).transpose(1, 0, 2)
        edges = self.random.permutation(np.stack(np.nonzero(mask)), axis=1)
        return self.add("Sum", children, edges, blocks, b, params=weights[edges[0], edges[1]].astype(np.float32))

    def tied(self, products):
        own = self.vectors[first := self.sum(products)]
        return self.add("Sum", products, own["edge_ids"], own["num_node_blocks"], self.b, source_node=first)


@pytest.mark.parametrize("seed", range(60))
def test_any_sparsity_gives_the_same_distribution(tmp_path, seed):
    vectors = RandomGraph(seed).vectors
    x = torch.cartesian_prod(*[torch.arange(3)] * 3)
    expected = torch.tensor([walk(vectors, row) for row in x.tolist()], dtype=torch.float64)
    found = load(tmp_path, vectors).log_likelihood(x).double().exp()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def unit_by_unit(blocks, K, picks, seed=0):
    """`blocks` variables with K values; every unit of the sum above has a product vector of its own, as sums that keep
    few of many products are written."""
    random, graph = np.random.default_rng(seed), RandomGraph.__new__(RandomGraph)
    graph.vectors, graph.random, graph.b = [], random, 1
    tables = [random.dirichlet([1] * 3, K).astype(np.float32) for _ in range(blocks)]
    more = [{"params": table.reshape(-1), "dist": distribution(num_cats=3)} for table in tables]
    leaves = [graph.add("Input", blocks=K, size=1, scope=[i], **own) for i, own in enumerate(more)]
    products = [
        graph.add("Product", leaves, random.integers(0, K, (picks, blocks)), blocks=picks, size=1) for _ in range(K)
    ]
    edges = np.stack([np.repeat(np.arange(K), picks), np.arange(K * picks)])
    weights = random.dirichlet([1] * picks, K).astype(np.float32).reshape(-1, 1, 1)
    mixed = graph.add("Sum", products, edges, blocks=K, size=1, params=weights)
    graph.sum([mixed], blocks=1, size=1)
    return graph.vectors


def test_many_sparse_products_of_the_same_vectors_are_one_partition(tmp_path):
    vectors = unit_by_unit(blocks=3, K=4, picks=30)
    x = torch.cartesian_prod(*[torch.arange(3)] * 3)
    expected = torch.tensor([walk(vectors, row) for row in x.tolist()], dtype=torch.float64)
    circuit = load(tmp_path, vectors)
    torch.testing.assert_close(circuit.log_likelihood(x).double().exp(), expected, rtol=1e-5, atol=1e-8)
    assert len(circuit.graph.regions) == 3 + 3 + 1 + 1  # inputs, their units in another order, two sums
    different = {tuple(row) for v in vectors if v["type"] == "Product" for row in v["edge_ids"].tolist()}
    assert circuit.region_table(6).shape == (4, len(different)) and len(different) <= 4**3 < 4 * 30


def leaf(variable, table=(0.25,), size=1):
    params = np.array(table, np.float32)
    return vector("Input", size=size, scope=[variable], params=params, dist=distribution("Bernoulli"))


def test_a_root_that_is_no_sum_gets_one(tmp_path):
    product = [leaf(0), leaf(1), vector("Product", [0, 1], [[0, 0]], size=1)]
    for vectors, x, expected in ((product, [1, 0], 0.1875), ([leaf(0)], [1], 0.25)):
        found = load(tmp_path, vectors).log_likelihood(torch.tensor([x])).exp()
        torch.testing.assert_close(found, torch.tensor([expected]))


# Files that are not what they should be


def entries():
    """The content of a file whose fifth vector owns the emission table; its distributions stay pickled."""
    with open(FOLDER / "hmm.jpc", "rb") as file:
        return pickle.load(file)


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_is_read_alike(tmp_path, protocol):
    (tmp_path / "c.jpc").write_bytes(pickle.dumps(entries(), protocol))
    circuits = [load_pyjuice(tmp_path / "c.jpc"), load_pyjuice(FOLDER / "hmm.jpc")]
    assert circuits[0].graph == circuits[1].graph
    assert all(torch.equal(a, b) for a, b in zip(*(circuit.parameter_list for circuit in circuits)))


def test_truncated_files_say_so(tmp_path):
    data = (FOLDER / "hmm.jpc").read_bytes()
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "c.jpc").write_bytes(data[:length])
        with pytest.raises(FileError, match=r"c\.jpc is (truncated|no \.jpc file)"):
            load_pyjuice(tmp_path / "c.jpc")


GIGABYTES = [
    b"\x80\x02Nr\xff\xff\xff\x7f.",  # a place in the memo
    b"\x80\x05\x96" + (2**34).to_bytes(8, "little") + b".",  # an array of bytes
]


@pytest.mark.parametrize(
    "content", [b"hello", b"{}", pickle.dumps({"a": 1}), pickle.dumps([[1]]), pickle.dumps([{}]), *GIGABYTES]
)
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
    with pytest.raises(FileError, match="unsafe to open"):
        load(tmp_path, fields)
    assert not trace.exists()


def test_arrays_of_objects_are_refused(tmp_path):
    fields = entries()
    fields[4]["params"] = np.array([{}, []], dtype=object)
    with pytest.raises(FileError, match="array of type 'O8'"):
        load(tmp_path, fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[4].pop("params"), "vector 4: it has no parameters"),
        (lambda f: f[4]["params"].__imul__(2), "vector 4: its weights are no probabilities"),
        (lambda f: f[4].update(params=np.ones(23, np.float32)), "do not fit together"),
        (lambda f: f[4].update(scope=[4, 5]), "vector 4: an input must have one variable, not 2"),
        (lambda f: f[4].update(scope=[0]), "not decomposable"),
        (
            lambda f: f[4].update(dist=distribution("Gaussian")),
            "Gaussian are not supported, only Categorical",
        ),
        (lambda f: f[4].update(dist=distribution("Literal", lit=2**31)), "without sparsity it would have"),
        (lambda f: f[-1].update(block_size=0), "vector 14: it has 1 blocks of 0 units"),
        (lambda f: f.pop(), "root must have one unit, not 6"),
        (lambda f: f[-1].update(external_params=b""), "passed with every sample"),
        (lambda f: f[-1]["edge_ids"].__iadd__(1), "do not fit together"),
        (lambda f: f[-1]["edge_ids"].__isub__(1), "edge ids of shape .* or below 0"),
        (lambda f: f[-1].update(edge_ids=f[-1]["edge_ids"][:, :2]), "do not fit together"),
        (lambda f: f[6]["edge_ids"][0].fill(0), "its weights are no probabilities|of another shape"),
        (lambda f: f[5].update(edge_ids=f[5]["edge_ids"] + 1), "do not fit together"),
        (lambda f: f[5].update(edge_ids=f[5]["edge_ids"].T), "edge ids of shape"),
        (lambda f: f[5].update(num_node_blocks=2, block_size=3, edge_ids=f[5]["edge_ids"][:2]), "in block size"),
        (lambda f: f[0].update(source_node=1), "which has no parameters of its own"),
        (lambda f: f[0].update(source_node=6), "tied to vector 6 of another shape"),
        (lambda f: f[6].update(chs=()), "vector 6: it has no children"),
    ],
)
def test_circuits_that_cannot_be_expressed_say_why(tmp_path, change, message):
    fields = entries()
    change(fields)
    with pytest.raises(StructureError, match=message):
        load(tmp_path, fields)
