"""Tables of inputs: distributions from the start, what M-steps keep, what is counted, what is refused."""

import pytest
import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.inputs import FAMILIES, normalised_counts, random_table
from tiramisu_edu.errors import StructureError

SIZES = {"num_categories": 9, "num_latents": 5}


@pytest.mark.parametrize("family", [*FAMILIES, None])
def test_tables_are_distributions(family):
    table = random_table((3, 9, 9), family, torch.Generator().manual_seed(0), torch.float64)
    assert table.shape == (3, 9, 9) and (table >= 0).all()
    assert torch.allclose(table.sum(-1), torch.ones(3, 9, dtype=torch.float64), atol=1e-12)


def test_units_without_counts_keep_their_parameters():
    value = random_table((1, 2, 9), None, torch.Generator().manual_seed(1), torch.float64)
    counts = torch.zeros(1, 2, 9, dtype=torch.float64)
    counts[0, 1] = 3.0
    after = normalised_counts(value, counts, 0.0)
    assert torch.equal(after[0, 0], value[0, 0]) and not torch.equal(after[0, 1], value[0, 1])


def test_parameters_are_counted_and_impossible_families_refused():
    graph = structures.latent_tree([-1, 0, 0, 0], **SIZES)
    assert graph.num_parameters == 4 * 5 * 9 + 3 * 5 * 5 + 5
    fixed = structures.latent_tree([-1, 0, 0, 0], num_categories=5, num_latents=5, family="indicator")
    assert fixed.num_parameters == 3 * 5 * 5 + 5 == fixed.num_stored - 4 * 5 * 5
    with pytest.raises(StructureError, match="unknown input family 'poisson'; known: categorical"):
        structures.latent_tree([-1], family="poisson", **SIZES)
    with pytest.raises(StructureError, match="an indicator region has one unit per category"):
        structures.latent_tree([-1], family="indicator", **SIZES)
