"""The latent guide as published, and its read-out as a query on a circuit with replicated variables.

The correct posterior of X_i weighs a value by its own evidence: sum_n F_n f_n(v) w_i(v) / fw_n, F_n being the
probability that input n is in use. The published code leaves the last factor out and reads sum_n F_n f_n(v). That is
the distribution of a *replicate* of X_i: a second draw from the same input, on which there is no evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...circuits.circuit import Circuit
from ...circuits.regions import RegionGraph
from ...diffusion.noise import Generators, categorical
from ...diffusion.step import Step
from ..evidence import Moments
from ..latent import LatentGuide
from ..mixture import gaussian_on_grid, geometric_mean, level_of

TOP_K = 20  # codes that independent draws choose from
SPREAD = 0.001  # share of p_PC that is spread evenly over all levels


@dataclass
class PublishedLatentGuide(LatentGuide):
    """The latent guide of the authors' implementation, its slips about known pixels and code numbers aside.

    Where it differs from `LatentGuide`:
        tau_hidden is 0.1.
        Codes are drawn patch by patch, from the replicate-predictive read-out, blended with the evidence by the known
            share of a patch. Codes besides the encoder's 20 likeliest are all but excluded.
        p_DM and p_PC are tables on 256 grey levels. p_DM has the variance of one step and is cut off at two standard
            deviations; a share of 0.001 of p_PC is spread over all levels.
    """

    uses_variance = False
    tau_hidden: float = 0.1

    def sample_codes(self, log_q: Tensor, known: Tensor) -> Tensor:
        log_w, known = self.evidence(log_q, known), known[..., None]
        predictive = replicate_predictive(self.replicated, log_w).log()
        blend = torch.where(known > 0, known * log_w, 0.0)
        marginals = torch.softmax((1 - known) * predictive + blend, -1)
        least = log_q.topk(min(TOP_K, log_q.shape[-1]), -1).values[..., -1:]
        return independent_codes(torch.where(log_q >= least, marginals, 1e-8), self.samples, self.generator)

    def mix(self, step: Step, painted: Moments, alpha: float) -> Tensor:
        levels = torch.linspace(-1, 1, 256, dtype=torch.float32).to(step.x_t)
        x_dm, mean, variance = (i.flatten(1) for i in (step.prediction.x_0, *painted))
        log_dm = gaussian_on_grid(x_dm, step.step_variance, levels, truncation=2.0)
        pc = gaussian_on_grid(mean, variance, levels).exp()
        log_pc = ((1 - SPREAD) * pc + SPREAD / len(levels)).log()
        mixed = geometric_mean(log_dm, log_pc, alpha)
        return level_of(mixed, levels, self.draw, self.generator).view_as(step.x_t)

    @cached_property
    def replicated(self) -> Circuit:
        """The circuit with replicated codes."""
        return with_replicates(self.circuit)


def independent_codes(marginals: Tensor, samples: int, generator: Generators | None) -> Tensor:
    """Each patch drawn from its own marginal, (samples, B, D): dependences between patches are lost."""
    return torch.stack([categorical(marginals, generator) for _ in range(samples)])


def with_replicates(circuit: Circuit) -> Circuit:
    """p(x, x') over 2 D variables: X'_i = X_{D + i} is drawn from the input unit that X_i came from.

    Wherever an input is a factor of a product, its replicate, tied to it, becomes one too.
    """
    graph, D = circuit.graph, circuit.num_variables
    inputs = [index for index, region in enumerate(graph.regions) if region.is_input]
    shift, twin = len(inputs), {index: n for n, index in enumerate(inputs)}

    regions = []
    for index in inputs:
        region = graph.regions[index]
        owner = index if region.tied_to is None else region.tied_to
        regions.append(replace(region, scope=(D + region.scope[0],), tied_to=shift + owner))
    for region in graph.regions:
        scope = region.scope if region.is_input else (*region.scope, *(D + i for i in region.scope))
        partitions = tuple(
            (*(shift + child for child in partition), *(twin[child] for child in partition if child in twin))
            for partition in region.partitions
        )
        tied = None if region.tied_to is None else shift + region.tied_to
        regions.append(replace(region, scope=scope, partitions=partitions, tied_to=tied))

    doubled = RegionGraph(tuple(regions), 2 * D, graph.num_categories)
    result = Circuit(doubled, generator=torch.Generator().manual_seed(0), dtype=circuit.dtype).to(circuit.device)
    with torch.no_grad():
        for index in range(len(graph.regions)):
            source, row = circuit.plan.region_parameter[index]
            target, new_row = result.plan.region_parameter[shift + index]
            result.parameter_list[target][new_row] = circuit.parameter_list[source][row]
    return result


def replicate_predictive(replicated: Circuit, log_weights: Tensor) -> Tensor:
    """p(X'_i = v | w), which the published code uses as p(X_i = v | w); they agree only where w_i is constant.

    Args:
        replicated: from `with_replicates`.
        log_weights: (B, D, C), evidence on the variables themselves.

    Returns:
        (B, D, C).
    """
    D = log_weights.shape[1]
    return replicated.posterior_marginals(torch.cat([log_weights, torch.zeros_like(log_weights)], 1))[:, D:]
