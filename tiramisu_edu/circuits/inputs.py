"""Input distributions: what the leaves of a circuit may be, all over one variable with C categories.

A family maps its parameters to a table of C probabilities (used by the engines) and fits them to expected counts (used
by EM). In the discretised families category v stands for the number g_v = -1 + 2 v / (C - 1), the middle of a bin; the
two end bins take the tails.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..errors import StructureError


class InputFamily(ABC):
    """A family of distributions over C categories, with `size` numbers per unit."""

    name: str
    is_learned = True
    size: int | None = None  # numbers that learning sets per unit; None for one per category

    @abstractmethod
    def start(self, shape: tuple[int, int, int], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        """Random parameters (R, K, size) for R regions of K units over C categories."""

    @abstractmethod
    def table(self, parameters: Tensor, num_categories: int) -> Tensor:
        """Probabilities f_k(v), (R, K, C), differentiable in the parameters."""

    @abstractmethod
    def maximise(self, parameters: Tensor, counts: Tensor, pseudocount: float) -> Tensor:
        """Parameters that raise sum_v counts_v log f(v), with `pseudocount` spread evenly over the categories.

        A unit without any count keeps its parameters. The counts may be overwritten.
        """


class Categorical(InputFamily):
    """Any distribution: the parameters are the table itself, and the M-step is exact."""

    name = "categorical"

    def start(self, shape: tuple[int, int, int], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return torch.softmax(2 * torch.rand(shape, generator=generator, dtype=dtype), -1)

    def table(self, parameters: Tensor, num_categories: int) -> Tensor:
        return parameters

    def maximise(self, parameters: Tensor, counts: Tensor, pseudocount: float) -> Tensor:
        return normalised_counts(parameters, counts, pseudocount)


class Indicator(Categorical):
    """Unit k is 1[x = k]: fixed, one unit per category."""

    name, is_learned, size = "indicator", False, 0

    def start(self, shape: tuple[int, int, int], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        return torch.eye(shape[2], dtype=dtype).expand(shape).clone()

    def maximise(self, parameters: Tensor, counts: Tensor, pseudocount: float) -> Tensor:
        return parameters


class _Discretised(InputFamily):
    """Bin masses of a location-scale density; two numbers per unit, the mean and the log of the scale.

    The M-step has no closed form. It takes steps of Fisher scoring with the information of a fine grid,
    `location_information` count / scale^2 for the mean and `scale_information` count for the log scale, each halved
    until the objective of its unit does not fall: generalised EM, monotone like EM itself.
    """

    location_information: float
    scale_information: float
    iterations, size = 8, 2

    @abstractmethod
    def log_cdf(self, z: Tensor) -> Tensor:
        """log P(Z <= z) of the standard density, which is symmetric about 0."""

    def start(self, shape: tuple[int, int, int], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        mean = 2 * torch.rand(shape[:2], generator=generator, dtype=dtype) - 1
        return torch.stack([mean, torch.full_like(mean, math.log(0.3))], -1)

    def table(self, parameters: Tensor, num_categories: int) -> Tensor:
        # The floor keeps every category possible in float32; it adds less than rounding to the total mass.
        return self.log_table(parameters, num_categories).exp().clamp_min(1e-30)

    def log_table(self, parameters: Tensor, num_categories: int) -> Tensor:
        """log of the bin masses, exact also far out in the tails: each bin is measured in its lighter tail."""
        mean, log_scale = parameters[..., :1], parameters[..., 1:]
        if num_categories == 1:
            return torch.zeros_like(mean)
        half = 1 / (num_categories - 1)
        centres = torch.linspace(-1, 1, num_categories, dtype=parameters.dtype, device=parameters.device)
        z = (torch.cat([centres - half, centres[-1:] + half]) - mean) * torch.exp(-log_scale)  # (R, K, C + 1) edges
        low, high = z[..., :-1], z[..., 1:]
        flip = low + high > 0
        near, far = torch.where(flip, -low, high), torch.where(flip, -high, low)  # P(far < Z <= near), near side first
        log_near, log_far = self.log_cdf(near), self.log_cdf(far)
        log_mass = log_near + torch.log1p(-torch.exp(log_far - log_near).clamp(max=1 - 1e-7))
        first, last = self.log_cdf(high[..., :1]), self.log_cdf(-low[..., -1:])
        return torch.cat([first, log_mass[..., 1:-1], last], -1)

    def maximise(self, parameters: Tensor, counts: Tensor, pseudocount: float) -> Tensor:
        counts = counts + pseudocount / counts.shape[-1]
        total = counts.sum(-1)
        value = parameters.detach()
        objective = self._objective(value, counts)
        step_size = torch.ones_like(total)
        for _ in range(self.iterations):
            step = self._scoring_step(value, counts, total)
            proposal = value + step_size[..., None] * step
            proposal = torch.stack([proposal[..., 0].clamp(-3, 3), proposal[..., 1].clamp(-6, 3)], -1)
            reached = self._objective(proposal, counts)
            better = (reached >= objective) & (total > 0)
            value = torch.where(better[..., None], proposal, value)
            objective = torch.where(better, reached, objective)
            step_size = torch.where(better, step_size.clamp(min=0.5), step_size / 4)
        return value

    def _objective(self, parameters: Tensor, counts: Tensor) -> Tensor:
        return (counts * self.log_table(parameters, counts.shape[-1])).sum(-1)

    def _scoring_step(self, value: Tensor, counts: Tensor, total: Tensor) -> Tensor:
        with torch.enable_grad():
            value = value.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._objective(value, counts).sum(), value)
        total = total.clamp_min(torch.finfo(total.dtype).tiny)
        location = gradient[..., 0] * torch.exp(2 * value[..., 1].detach()) / (self.location_information * total)
        scale = gradient[..., 1] / (self.scale_information * total)
        return torch.stack([location, scale.clamp(-1, 1)], -1)


class DiscretisedGaussian(_Discretised):
    """Bin masses of N(mean, scale^2)."""

    name = "discretised_gaussian"
    location_information, scale_information = 1.0, 2.0

    def log_cdf(self, z: Tensor) -> Tensor:
        return torch.special.log_ndtr(z)


class DiscretisedLogistic(_Discretised):
    """Bin masses of the logistic density, P(Z <= z) = 1 / (1 + exp(-z)); heavier tails than a Gaussian."""

    name = "discretised_logistic"
    location_information, scale_information = 1 / 3, (3 + math.pi**2) / 9

    def log_cdf(self, z: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(z)


FAMILIES: dict[str, InputFamily] = {
    family.name: family for family in (Categorical(), Indicator(), DiscretisedGaussian(), DiscretisedLogistic())
}


def get_family(name: str) -> InputFamily:
    """The family of that name.

    Raises:
        StructureError: there is none.
    """
    if name not in FAMILIES:
        raise StructureError(f"unknown input family {name!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def normalised_counts(old: Tensor, counts: Tensor, pseudocount: float) -> Tensor:
    """(counts + pseudocount / n) / (total + pseudocount) over the last dimension of n; `old` where all counts are 0.

    The result takes the place of the counts in memory.
    """
    scale = 1 / (counts.sum(-1, keepdim=True) + pseudocount)
    torch.addcmul(scale * (pseudocount / counts.shape[-1]), counts, scale, out=counts)
    return counts if pseudocount > 0 else torch.where(scale.isfinite(), counts, old)
