"""The ways of fusing that a fusion study compares: two circuits, and two controls of each with the same demands.

    K = 1         the product of the circuit's own marginals, p(z) = prod_j p_j(z_j): each patch, no dependence
    no circuit    even weights: only the demands and the network's own prediction count

A control takes the circuit's place in the same guide; evidence, noise and every other step stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.methods import code_models
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.evidence import PixelCodebook
from tiramisu_edu.steering.fusion import CodeFusionGuide, Demands, code_demands, pixel_demands
from tiramisu_edu.steering.guide import Guide, own_generator
from tiramisu_edu.steering.latent import covered_fraction
from tiramisu_edu.steering.patches import PatchCodebook
from tiramisu_edu.tokenizer import Tokenizer
from tiramisu_edu.world import World

METHODS = ("codes", "codes, K = 1", "codes, no circuit", "pixels", "pixels, K = 1", "pixels, no circuit")
_BATCH = 64


class Models(NamedTuple):
    """A circuit, and what turns pictures into evidence for it: one of tokenizer and codebook, the other None."""

    circuit: Circuit
    tokenizer: Tokenizer | None
    codebook: PixelCodebook | PatchCodebook | None


def models_of(world: World, method: str) -> Models:
    """The models of a method of `METHODS`."""
    kind, _, control = method.partition(", ")
    circuit, tokenizer = code_models(world) if kind == "codes" else (world.circuit, None)
    if control:
        no_evidence = torch.zeros(1, circuit.num_variables, circuit.num_categories)
        marginals = circuit.posterior_marginals(no_evidence)[0].detach()
        circuit = factorised(marginals if control == "K = 1" else torch.full_like(marginals, 1 / marginals.shape[1]))
    return Models(circuit, tokenizer, world.codebook if tokenizer is None else None)


def factorised(marginals: Tensor) -> Circuit:
    """p(z) = prod_j p_j(z_j) for marginals (D, V): K = 1, a circuit that knows no dependence."""
    graph = structures.factorized(len(marginals), num_categories=marginals.shape[1])
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    for index, region in enumerate(graph.regions):
        if region.is_input:
            circuit.set_region_table(index, marginals[region.scope[0]][None])
    return circuit


def demands_of(models: Models, references: Tensor, regions: Tensor, coherence: float) -> Demands:
    """What references (R, C, H, W) demand in regions (R, 1, H, W) bool of the models' variables."""
    if models.tokenizer is not None:
        return code_demands(models.tokenizer, references, regions, coherence)
    assert models.codebook is not None
    return pixel_demands(models.codebook, references, regions, coherence)


@torch.no_grad()
def contradiction(circuit: Circuit, demands: Sequence[Demands]) -> Tensor:
    """(P,) for the demands of P pairs: the sum of each reference's log Z minus that of all together, in nats."""
    each = circuit.log_partition(torch.cat([d.each for d in demands])).view(len(demands), -1)
    return each.sum(1) - circuit.log_partition(torch.stack([d.joint for d in demands]))


@torch.no_grad()
def sampled(
    world: World,
    demanded: tuple[Models, Tensor] | None,
    regions: Tensor,
    *,
    pairs: int,
    seeds: int,
    steps: int,
    seed: int,
) -> Tensor:
    """Pictures (P, N, 3, H, W) of DDIM, from the same noise for every guide.

    Args:
        world: its denoiser is used.
        demanded: the models, and the joint demands (P, D, V) of the pairs; None for the plain sampler.
        regions: (R, 1, H, W) bool.
        pairs, seeds: P, N.
        steps: of DDIM.
        seed: of the noise.
    """
    parts = []
    for number, part in enumerate(torch.arange(pairs).split(max(1, _BATCH // seeds))):
        nothing = torch.zeros(len(part) * seeds, 3, *regions.shape[-2:])
        known = torch.zeros_like(nothing[:, :1], dtype=torch.bool)
        generator = torch.Generator().manual_seed(1_000 * seed + number)
        guide = None
        if demanded is not None:
            models, demand = demanded
            guide = _guide(models, demand[part].repeat_interleave(seeds, 0), regions, generator)
        found = inpaint(
            world, nothing, known, sampler="ddim", guide=guide, num_inference_steps=steps, generator=generator
        )
        parts.append(found.images.unflatten(0, (-1, seeds)))
    return torch.cat(parts)


def _guide(models: Models, demand: Tensor, regions: Tensor, generator: torch.Generator) -> Guide:
    """The guide of `fuse`, with a demand of its own for each row."""
    if models.tokenizer is None:
        assert models.codebook is not None
        return DifferenceGuide(models.circuit, models.codebook, demand=demand)
    ruled = covered_fraction(regions, demand.shape[1]).sum(0)
    drawing = own_generator(generator)
    return CodeFusionGuide(models.circuit, models.tokenizer, demand=demand, ruled=ruled, generator=drawing)
