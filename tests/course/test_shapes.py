"""The world of worn shapes: its two exact denoisers agree, and its calibration measures its true variance."""

from __future__ import annotations

import pytest
import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.course.shapes import SHAPES, WEIGHTS, all_pictures, listed_denoiser, shapes_circuit
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.steering.evidence import Observation, PixelCodebook

GRID = PixelCodebook.grey_levels(2)


@pytest.fixture(scope="module")
def circuit():
    return shapes_circuit()


@pytest.fixture(scope="module")
def denoiser(circuit):
    return listed_denoiser(circuit, GRID, (1, 3, 3))


def test_the_circuit_is_the_mixture_it_says(circuit):
    pictures = all_pictures(circuit)
    assert pictures.shape == (512, 9)
    assert pictures[5].tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 1]
    shapes = torch.tensor([[int(bit) for bit in shape.replace(" ", "")] for shape in SHAPES.values()])
    flips = (pictures[:, None] != shapes).double().sum(-1)  # (picture, shape)
    by_hand = (torch.tensor(WEIGHTS, dtype=torch.float64) * 0.05**flips * 0.95 ** (9 - flips)).sum(-1)
    torch.testing.assert_close(circuit.log_likelihood(pictures).exp(), by_hand, rtol=1e-12, atol=0)


@pytest.mark.parametrize("i", [0, 250, 600, 999])
def test_the_listed_mean_is_the_circuits(circuit, denoiser, i):
    x_t = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
    nothing = torch.zeros_like(x_t, dtype=torch.bool)
    seen = Observation(x_t, float(denoiser.schedule.alpha_bar[i]), torch.zeros_like(x_t), nothing)
    mean = GRID.moments(circuit.posterior_marginals(GRID.log_weights(seen)), seen).mean
    torch.testing.assert_close(denoiser(x_t, i).x_0, mean, rtol=1e-9, atol=1e-9)


def test_the_denoiser_is_differentiable_and_calibrated(circuit, denoiser):
    x_t = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    denoiser(x_t, 500).x_0.sum().backward()
    assert x_t.grad is not None and x_t.grad.isfinite().all()
    pictures = all_pictures(circuit)
    p, x = circuit.log_likelihood(pictures).exp(), GRID.levels[pictures].double()
    prior = (p @ x.square() - (p @ x).square()).mean()  # in pure noise nothing is known
    variance = denoiser.schedule.residual_variance
    assert variance is not None and abs(variance[-1] - prior) < 0.05
    assert variance[0] < 1e-3


def test_long_lists_are_refused():
    with pytest.raises(TiramisuError, match="too many to list"):
        all_pictures(Circuit(structures.factorized(17, num_categories=2)))
