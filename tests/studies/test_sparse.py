"""Sparse sums: the heaviest edges stay, EM leaves the others out, the table has all circuits."""

import torch

from studies.sparse import main, prune, sum_weights
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import fit_em


def test_the_heaviest_edges_stay_and_em_leaves_the_others_out():
    circuit = Circuit(structures.quad_tree(2, 2, num_categories=3, num_latents=8), generator=torch.Generator())
    sums = [n for n, region in enumerate(circuit.graph.regions) if not region.is_input]
    before = [circuit.region_table(n) for n in sums]
    prune(circuit, 0.25)
    for table, own in zip(before, (circuit.region_table(n) for n in sums)):
        assert (own > 0).sum(1).tolist() == [2] * len(own)
        assert (torch.where(own > 0, table, 1).amin(1) >= torch.where(own > 0, 0, table).amax(1)).all()
        torch.testing.assert_close(own.sum(1), torch.ones(len(own)))
    zeros = [circuit.region_table(n) == 0 for n in sums]
    fit_em(circuit, torch.randint(3, (50, 4)), epochs=2, batch_size=10, pseudocount=0.0, progress=False)
    assert all((circuit.region_table(n)[zero] == 0).all() for n, zero in zip(sums, zeros))
    assert sum_weights(circuit) == 2 * sum(len(table) for table in before)


def test_the_table_has_all_circuits(tmp_path):
    main(["--quick", "--latents", "4", "--out", str(tmp_path / "sparse.md")])
    lines = (tmp_path / "sparse.md").read_text().splitlines()
    assert [line.split("|")[1].strip()[:12] for line in lines[4:]] == [
        "K = 4, dense",
        "K = 4, 25% o",
        "K = 4, 10% o",
        "K = 2, dense",
    ]
