"""The twisted particle filter: the circuit proposes and weighs; its limit is the network's own conditional.

Consistent as P -> infinity for the network's own T-step DDPM conditional. The circuit is only the twist: it lowers the
number of particles needed. Every other steered sampler is a heuristic for that conditional.
"""

import math

import torch
from torch import Tensor

from ...circuits.circuit import Circuit
from ...diffusion.particles import draw_one, equal_weights, resample
from ...diffusion.walk import Count, Share, Walk, sampler
from ..evidence import Observation, PixelCodebook
from ..patches import PatchCodebook


@sampler
def twisted(
    walk: Walk,
    particles: Count = 8,
    resample_below: Share = 0.5,
    *,
    circuit: Circuit,
    codebook: PixelCodebook | PatchCodebook,
) -> Tensor:
    """Inpaint by a particle filter on whole images whose twist is the circuit's exact p(known | x_t).

        P particles x_T ~ N(0, I),   w = p_PC(known | x_T);   for t = T … 2:
            resample where 1 / sum w² < P / 2
            x_0 = f(x_t) + E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t], known pixels exact
            x_{t-1} ~ q(x_{t-1} | x_t, x_0)
            w <- w  p_PC(known | x_{t-1}) p_DM(x_{t-1} | x_t) / ( p_PC(known | x_t) q(x_{t-1} | x_t, x_0) )

    p_DM(x_{t-1} | x_t) is the network's DDPM step, q(x_{t-1} | x_t, f(x_t)). The last step goes to f(x_1), and the
    particles at x_1 are weighed by the circuit's twist, not the network's: an error that vanishes with the last noise.

    Where the network and the circuit are both right, all weights stay nearly equal. The result is one particle of each
    image, drawn by weight. A guide proposes x_0 instead; the limit stays the same. Guide and callback are called with
    P adjacent rows for each image, its particles.

    Args:
        particles: P, for each image.
        resample_below: resample an image's particles when their effective number falls below this share of P.
        circuit: the twist, p_PC over the codebook's variables.
        codebook: pixels to evidence and back.

    Cost: T P F and 2 T P circuit passes for one image.

    Source: Wu et al. 2023, "Practical and Asymptotically Exact Conditional Sampling in Diffusion Models", arXiv
    2306.17775, with the circuit in the place of their Gaussian around f(x_t).
    """
    P, many = particles, walk.repeat(particles)
    x_t, log_weights = many.start(), equal_weights(walk, P)
    log_twist_before = torch.zeros_like(log_weights)
    for i in walk.indices:
        # Weigh by the circuit's density of the known pixels, and resample.
        alpha_bar = float(walk.schedule.alpha_bar[i])
        log_twist, shift = twist(circuit, codebook, Observation(x_t, alpha_bar, many.image, many.known))
        log_weights += log_twist.view(-1, P) - log_twist_before
        log_weights, ancestors = resample(log_weights, resample_below, walk.generator)
        x_t, shift, log_twist_before = x_t[ancestors], shift[ancestors], log_twist[ancestors].view(-1, P)

        # Propose with the difference of the circuit's means, and weigh by the network's own step.
        prediction = many.predict(x_t, i)
        proposal, _ = many.guided(x_t, i, prediction)
        proposal = (proposal + shift).clamp(-1, 1) if walk.guide is None else proposal
        x_0 = torch.where(many.known, many.image, proposal)
        x_next = prediction.x_0
        if i > 0:
            mean, variance = walk.schedule.posterior(prediction.x_0, x_t, i)
            noise = math.sqrt(variance) * many.noise()
            x_next = walk.schedule.posterior(x_0, x_t, i)[0] + noise
            log_ratio = (noise**2 - (x_next - mean) ** 2).double().flatten(1).sum(1) / (2 * variance)
            log_weights += log_ratio.view(-1, P)
        x_t = many.step(x_next, x_0)
    return walk.finish(x_t[draw_one(log_weights, walk.generator)])


def twist(circuit: Circuit, codebook: PixelCodebook | PatchCodebook, seen: Observation) -> tuple[Tensor, Tensor]:
    """The circuit's exact log-density of the known pixels, and what they change in its posterior mean.

    Returns:
        log p_PC(known | x_t) = log p_PC(x_t, known) - log p_PC(x_t), (B,) float64, and
        E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t], (B, C, H, W).
    """
    both = seen.with_and_without_known()
    log_weights = codebook.log_weights(both)
    with torch.enable_grad():  # the derivative of log Z by the log weights is the posterior: one pass gives both
        log_weights.requires_grad_()
        log_z = circuit.log_partition(log_weights)
        (marginals,) = torch.autograd.grad(log_z.sum(), log_weights)
    log_p = (log_z.detach() + codebook.log_scale(both)).double()
    with_known, without = codebook.moments(marginals, both).mean.chunk(2)
    of_known, of_noisy = log_p.chunk(2)
    return of_known - of_noisy, (with_known - without).to(seen.x_t)
