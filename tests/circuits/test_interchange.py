"""Files of circuits: the same circuit back, or a reason."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.errors import FileError


@pytest.fixture
def circuit():
    return Circuit(structures.hmm(4, num_categories=3, num_latents=2, tied=True), dtype=torch.float64)


def test_round_trip(tmp_path, circuit):
    circuit.save(tmp_path / "c.safetensors", data="toy", nats=-3.5)
    loaded = Circuit.load(tmp_path / "c.safetensors")
    assert loaded.graph == circuit.graph and loaded.facts == {"data": "toy", "nats": -3.5}
    assert loaded.dtype == torch.float64
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameter_list, circuit.parameter_list))


def test_state_dict_works_as_usual(circuit):
    other = Circuit(circuit.graph, dtype=torch.float64)
    other.load_state_dict(circuit.state_dict())
    x = torch.tensor([[0, 1, 2, -1]])
    assert torch.equal(other.log_likelihood(x), circuit.log_likelihood(x))


def test_missing_and_truncated_files(tmp_path, circuit):
    path = tmp_path / "c.safetensors"
    with pytest.raises(FileError, match="no file"):
        Circuit.load(path)
    circuit.save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileError, match="truncated or damaged"):
        Circuit.load(path)


def rewrite(path, change):
    """Write the file again with changed header fields and a digest that fits."""
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header.pop("seal", None)  # as files of an older version
    change(header)
    save_file(tensors, path, metadata=header)


def test_other_versions_graphs_and_kinds(tmp_path, circuit):
    path = tmp_path / "c.safetensors"
    circuit.save(path)
    rewrite(path, lambda header: header.update(version="99"))
    with pytest.raises(FileError, match="version 99"):
        Circuit.load(path)
    circuit.save(path)
    rewrite(path, lambda header: header.update(kind="denoiser"))
    with pytest.raises(FileError, match="holds a denoiser"):
        Circuit.load(path)
    other = structures.mixture(2, num_categories=2, num_latents=2).to_json()
    circuit.save(path)
    rewrite(path, lambda header: header.update(metadata=json.dumps({"graph": other, "facts": {}})))
    with pytest.raises(FileError, match="its graph needs"):
        Circuit.load(path)
    circuit.save(path)
    rewrite(path, lambda header: header.update(metadata=json.dumps({"graph": "[]", "facts": {}})))
    with pytest.raises(FileError, match="does not hold a circuit"):
        Circuit.load(path)


def test_half_the_bytes_almost_the_same_numbers(tmp_path, circuit):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    circuit.save(whole)
    circuit.save(half, half=True)
    loaded = Circuit.load(half)
    assert half.stat().st_size < whole.stat().st_size
    for table in loaded.tables():
        assert torch.allclose(table.sum(-1), torch.ones(()), atol=1e-6)
    x = circuit.sample(50, generator=torch.Generator().manual_seed(0))
    gap = (loaded.log_likelihood(x) - circuit.log_likelihood(x)).abs()
    assert 0 < gap.max() < 2 * circuit.num_variables * 2**-8  # a rounding of 2^-9 for each weight on the way down


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda theta: theta.fill_(torch.nan), "theta.1 .*NaN or an infinite number"),
        (lambda theta: theta.fill_(torch.inf), "theta.1 .*NaN or an infinite number"),
        (lambda theta: theta.neg_(), "theta.1 .*negative probabilities"),
        (lambda theta: theta.long(), "theta.1 .*holds torch.int64, no parameters"),
        (lambda theta: theta.to(torch.complex64), "holds complex numbers"),
    ],
    ids=["nan", "inf", "negative", "integer", "complex"],
)
def test_parameters_that_are_none_are_refused(tmp_path, circuit, change, message):
    path, tensors = tmp_path / "c.safetensors", [theta.detach().clone() for theta in circuit.parameter_list]
    tensors[1] = change(tensors[1])
    claimed = SimpleNamespace(graph=circuit.graph, parameter_list=tensors)
    Circuit.save(claimed, path)
    with pytest.raises(FileError, match=message):
        Circuit.load(path)
