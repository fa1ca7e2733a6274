"""A world whose circuit is the truth and whose denoiser is exact: what a sampler should draw can be written down."""

import math

import torch

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.course.exact_denoiser import circuit_denoiser
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.steering.patches import PatchCodebook, to_patches

CODES, SHAPE = 3, (1, 2, 4)


def coupled_patches(dtype=torch.float32):
    """Two patches of 2 x 2 pixels with three far apart codes; the second code follows the first with odds 10 : 1 : 1.

    Codes 0 and 1 of the first patch agree in its left column, so that column leaves it open which of them it is.
    """
    left = torch.tensor([[-0.6, -0.6, -0.6, 0.6], [-0.6, 0.6, -0.6, -0.6], [0.6, 0.0, 0.6, 0.0]])
    right = torch.tensor([[-0.6, -0.6, 0.6, 0.6], [0.6, -0.6, 0.6, -0.6], [0.6, 0.6, -0.6, -0.6]])
    means = torch.stack([left, right]).to(dtype)
    book = PatchCodebook(means, torch.full_like(means, 0.01), 2, SHAPE)

    graph = structures.mixture(2, num_categories=CODES, num_latents=CODES)
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0), dtype=dtype)
    follows = (torch.full((CODES, CODES), 1.0) + 9 * torch.eye(CODES)) / 12
    of_variable = {region.scope[0]: index for index, region in enumerate(graph.regions) if region.is_input}
    with torch.no_grad():
        circuit.region_table(of_variable[0]).copy_(torch.eye(CODES))
        circuit.region_table(of_variable[1]).copy_(follows)
        circuit.region_table(len(graph.regions) - 1).copy_(torch.tensor([[0.5, 0.3, 0.2]]))
    return circuit, book


def exact_denoiser(circuit, codebook):
    schedule = Schedule.cosine()
    calibrated = Schedule(schedule.alpha_bar, schedule.timesteps, torch.full_like(schedule.alpha_bar, 0.1))
    return circuit_denoiser(circuit, codebook, calibrated)


def left_column():
    """A picture and what is known of it: the left column of the first patch, as codes 0 and 1 have it."""
    image = torch.full((1, *SHAPE), -0.55)
    known = torch.zeros(1, 1, *SHAPE[1:], dtype=torch.bool)
    known[..., 0] = True
    return image, known


def posterior_moments(guide, seen):
    """E[x_0 | seen] and Var[x_0 | seen] of a guide's circuit."""
    return guide.codebook.moments(guide.posterior(seen), seen)


def exact_conditional(circuit, codebook, image, known):
    """p(code of the second patch | known pixels), (CODES,): no noisy copy, so a = 0."""
    seen = Observation(torch.zeros_like(image), 0.0, torch.where(known, image, 0.0), known)
    return circuit.posterior_marginals(codebook.log_weights(seen))[0, 1].double()


def joint_conditional(circuit, codebook, image, known):
    """p(both codes | known pixels), (CODES²,), by enumeration."""
    seen = Observation(torch.zeros_like(image), 0.0, torch.where(known, image, 0.0), known)
    log_w = codebook.log_weights(seen)[0].double()
    states = torch.cartesian_prod(torch.arange(CODES), torch.arange(CODES))
    log_p = circuit.log_likelihood(states).detach().double() + log_w[0, states[:, 0]] + log_w[1, states[:, 1]]
    return torch.softmax(log_p, 0)


def nearest_codes(codebook, images):
    """Both patches' codes as one number in 0 … CODES² - 1, (N,)."""
    patches = to_patches(images, codebook.patch)
    distance = (patches[:, :, None] - codebook.means.to(patches)).square().sum(-1)
    codes = distance.argmin(-1)
    return codes[:, 0] * CODES + codes[:, 1]


def chi_square(numbers, probabilities):
    """Pearson's statistic of drawn numbers; cells that expect fewer than 5 are put together."""
    observed = torch.bincount(numbers, minlength=len(probabilities)).double()
    expected = probabilities * len(numbers)
    rare = expected < 5
    if rare.any():
        observed = torch.cat([observed[~rare], observed[rare].sum()[None]])
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    return float(((observed - expected) ** 2 / expected.clamp_min(1e-9)).sum()), len(expected) - 1


def threshold(degrees, z=3.719):
    """Chi-square exceeded with probability 1e-4 (Wilson and Hilferty's approximation)."""
    return degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3
