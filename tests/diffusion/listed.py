"""A world of six listed pictures: its denoiser, its conditional and what a sampler should draw can be written down."""

import math

import torch
from torch import nn

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.schedule import Schedule

# The known pixel is faint, so that the noise hides it until the others are decided.
PICTURES = torch.tensor(
    [
        [-0.2, -0.8, 0.8, 0.8],
        [-0.2, 0.0, 0.8, -0.8],
        [-0.2, 0.8, -0.8, 0.8],
        [-0.2, 0.0, -0.8, -0.8],
        [0.2, 0.8, 0.0, -0.8],
        [0.2, -0.8, 0.0, 0.8],
    ]
).reshape(6, 1, 2, 2)
PROBABILITIES = torch.tensor([0.12, 0.28, 0.08, 0.04, 0.3, 0.18], dtype=torch.float64)
KNOWN = torch.tensor([[True, False], [False, False]])
CONDITIONAL = PROBABILITIES[:4] / PROBABILITIES[:4].sum()  # the first four agree in the known pixel


def conditional_mean(x_t, alpha_bar, image=None, known=None):
    """E[x_0 | x_t], or E[x_0 | x_t, known], by summing over the pictures; (B, 1, 2, 2)."""
    distance = (x_t[:, None] - math.sqrt(alpha_bar) * PICTURES).square().flatten(2).sum(2)
    log_p = PROBABILITIES.log() - distance.double() / (2 * (1 - alpha_bar))
    if known is not None:
        agrees = ((image[:, None] == PICTURES) | ~known[:, None]).flatten(2).all(2)
        log_p = log_p.masked_fill(~agrees, -torch.inf)
    return torch.einsum("bn,nchw->bchw", log_p.softmax(1).float(), PICTURES)


class ListedNetwork(nn.Module):
    """E[x_0 | x_t], exact."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, x, t):
        return conditional_mean(x, float(self.schedule.alpha_bar[int(t[0])]))


class ExactDifference:
    """f(x_t) + E[x_0 | x_t, known] - E[x_0 | x_t], with both means exact."""

    def __init__(self, consistent_noise):
        self.consistent_noise = consistent_noise

    def __call__(self, step):
        given = conditional_mean(step.x_t, step.alpha_bar, step.image, step.known)
        return step.prediction.x_0 + given - conditional_mean(step.x_t, step.alpha_bar)


def exact_denoiser():
    schedule = Schedule.cosine()
    return Denoiser(ListedNetwork(schedule), schedule, "sample").eval()


def shares(images):
    """(6,) which part of the images is nearest to each picture."""
    nearest = (images[:, None] - PICTURES).square().flatten(2).sum(2).argmin(1)
    return torch.bincount(nearest, minlength=6) / len(images)


def chi_square(images):
    """Pearson's statistic of the nearest pictures against p(picture | known): 3 degrees of freedom.

    A picture that disagrees with the known pixel is impossible: infinity.
    """
    observed = shares(images).double()
    if observed[4:].sum() > 0:
        return math.inf
    return float(len(images) * ((observed[:4] - CONDITIONAL) ** 2 / CONDITIONAL).sum())


THRESHOLD = 21.1  # exceeded by chi-square with 3 degrees of freedom with probability 1e-4
