"""The circuit's denoiser is the listed one, and no change of its prediction lowers the expected error."""

from __future__ import annotations

import pytest
import torch

from tiramisu_edu.course.exact_denoiser import circuit_denoiser
from tiramisu_edu.course.shapes import all_pictures, listed_denoiser, shapes_circuit
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.steering.evidence import PixelCodebook

GRID = PixelCodebook.grey_levels(2)


@pytest.mark.parametrize("i", [0, 200, 500, 800, 999])
def test_it_is_the_listed_denoiser(i):
    circuit = shapes_circuit()
    exact, listed = circuit_denoiser(circuit, GRID), listed_denoiser(circuit, GRID, (1, 3, 3))
    x_0 = GRID.levels[all_pictures(circuit)].view(-1, 1, 3, 3).double()
    x_t = exact.schedule.add_noise(x_0, i, torch.randn(x_0.shape, generator=torch.Generator().manual_seed(i)).double())
    assert torch.allclose(exact(x_t, i).x_0, listed(x_t, i).x_0, atol=1e-6)


def test_several_times_at_once_are_refused():
    exact = circuit_denoiser(shapes_circuit(), GRID)
    with pytest.raises(TiramisuError, match=r"one time for all pictures, got \[3, 5\]"):
        exact(torch.zeros(2, 1, 3, 3), torch.tensor([3, 5]))
