"""Worn shapes on 3 × 3 pixels: a world so small that every picture can be listed.

Its circuit is the truth by definition, and its denoiser is exact, so whatever a sampler gets wrong here is the
sampler's own doing.

    circuit = shapes_circuit()
    denoiser = listed_denoiser(circuit, PixelCodebook.grey_levels(2), (1, 3, 3))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..circuits import structures
from ..circuits.circuit import Circuit
from ..diffusion.calibration import calibrate_residual_variance
from ..diffusion.denoiser import Denoiser
from ..diffusion.schedule import Schedule
from ..errors import TiramisuError
from ..steering.evidence import PixelCodebook

SHAPES = {"T": "111 010 010", "L": "100 100 111", "O": "111 101 111", "slash": "001 010 100"}
WEIGHTS = (0.3, 0.3, 0.2, 0.2)
MAX_PICTURES = 2**16


def shapes_circuit(wear: float = 0.05) -> Circuit:
    """p(x) = Σ_k θ_k Π_i f_{k,i}(x_i): one of four shapes, each of its nine pixels flipped with probability `wear`.

    Args:
        wear: in [0, 1].

    Returns:
        A circuit over 9 variables of 2 categories, dark and bright, in float64, with fixed parameters.
    """
    bright = [[abs(int(bit) - wear) for bit in shape.replace(" ", "")] for shape in SHAPES.values()]
    f = torch.tensor(bright, dtype=torch.float64).T  # (pixel, shape)
    circuit = Circuit(structures.mixture(9, num_categories=2, num_latents=len(SHAPES)), dtype=torch.float64)
    for index, table in enumerate(
        [*torch.stack([1 - f, f], -1), torch.tensor([WEIGHTS], dtype=f.dtype)]
    ):  # pixels, root
        circuit.set_region_table(index, table)
    return circuit.requires_grad_(False)


def all_pictures(circuit: Circuit) -> Tensor:
    """Every assignment of the circuit's variables in the order of counting, the last variable fastest, (C^D, D) long.

    Raises:
        TiramisuError: there are more than `MAX_PICTURES`.
    """
    D, C = circuit.num_variables, circuit.num_categories
    if C**D > MAX_PICTURES:
        raise TiramisuError(f"{C}^{D} pictures are too many to list (at most {MAX_PICTURES})")
    return torch.cartesian_prod(*[torch.arange(C)] * D).reshape(-1, D)


class ListedPictures(nn.Module):
    """The exact clean prediction for a distribution given as a list, as the network of a `Denoiser`.

        E[x_0 | x_t] = Σ_x p(x) N(x_t; sqrt(ᾱ) x, 1 - ᾱ) x / Σ_x p(x) N(x_t; sqrt(ᾱ) x, 1 - ᾱ)

    Args:
        pictures: (S, D) pixel values.
        log_p: (S,) log p(x).
        schedule: ᾱ by time.
    """

    def __init__(self, pictures: Tensor, log_p: Tensor, schedule: Schedule) -> None:
        super().__init__()
        self.pictures, self.log_p, self.schedule = pictures, log_p, schedule

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha_bar = self.schedule.alpha_bar[t][:, None].to(x_t)
        x = self.pictures.to(x_t)
        # |x_t - sqrt(ᾱ) x|², without the term that all pictures share.
        square = alpha_bar * x.square().sum(1) - 2 * alpha_bar.sqrt() * (x_t.flatten(1) @ x.T)
        log_w = self.log_p.to(x_t) - square / (2 * (1 - alpha_bar))
        return (torch.softmax(log_w, -1) @ x).view_as(x_t)


def listed_denoiser(circuit: Circuit, codebook: PixelCodebook, shape: tuple[int, int, int]) -> Denoiser:
    """The exact denoiser of a small circuit by listing; it shares no code with the circuit's own backward pass.

    Its schedule is `Schedule.cosine()`, calibrated on 500 draws of the circuit.

    Args:
        circuit: p(x), the truth.
        codebook: value of each category.
        shape: (C, H, W) of a picture; C H W is the circuit's number of variables.
    """
    schedule = Schedule.cosine()
    categories = all_pictures(circuit)
    log_p = circuit.log_likelihood(categories).detach()
    denoiser = Denoiser(ListedPictures(codebook.levels[categories], log_p, schedule), schedule, "sample")
    generator = torch.Generator().manual_seed(0)
    draws = codebook.image(circuit.sample(500, generator=generator), torch.Size(shape)).to(log_p)
    denoiser.schedule = schedule.with_residual_variance(calibrate_residual_variance(denoiser, draws, generator))
    return denoiser
