"""The flows that the moving picture draws."""

from __future__ import annotations

import torch
from PIL import Image

from studies.denoising_film import edges_of, flows, moved, save_gif
from tiramisu_edu import Circuit, structures


def test_flows_of_a_hidden_tree():
    """One edge fewer than variables; a flow is a joint of two latents, so its marginals agree along the tree."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(3, (64, 5), generator=generator)
    circuit = Circuit(structures.hclt(rows, num_categories=3, num_latents=2), dtype=torch.float64)
    edges = edges_of(circuit)
    assert len(edges) == 4 and {edge.child for edge in edges} | {edge.parent for edge in edges} == set(range(5))
    none = torch.zeros(2, 5, 3, dtype=torch.float64)
    some = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    before, after = flows(circuit, edges, none), flows(circuit, edges, some)
    for table in [*before[0], *after[0], *after[1]]:
        torch.testing.assert_close(table.sum(), torch.ones((), dtype=torch.float64))
    tables = dict(zip(edges, after[1]))
    for edge, table in tables.items():
        for below in (other for other in edges if other.parent == edge.child):
            torch.testing.assert_close(tables[below].sum(1), table.sum(0))
    assert moved(before, before).abs().max() < 1e-12 and (moved(after, before) > 0).all()


def test_a_film_stays_at_its_last_picture(tmp_path):
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    with Image.open(save_gif(tmp_path / "out" / "film.gif", pictures)) as film:
        assert film.n_frames == 3
        film.seek(2)
        assert film.info["duration"] > 2000
