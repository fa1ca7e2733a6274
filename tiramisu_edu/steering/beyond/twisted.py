"""The twisted particle filter: the circuit proposes and weighs; its limit is the network's own conditional.

Consistent as P -> infinity for the network's own T-step DDPM conditional. The circuit is only the twist: it lowers the
number of particles needed. Every other steered sampler is a heuristic for that conditional.
"""

import torch
from torch import Tensor

from ...circuits.circuit import Circuit
from ...diffusion.denoiser import Prediction
from ...diffusion.particles import twisted_filter
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

        twist:     p̃(known | x_t) = p_PC(known | x_t)
        proposal:  x_0 = f(x_t) + E_PC[x_0 | x_t, known] - E_PC[x_0 | x_t], known pixels exact

    The filter is that of `twisted_filter`. Where the network and the circuit are both right, all weights stay nearly
    equal. A guide proposes x_0 instead.

    Args:
        particles: P, for each image.
        resample_below: resample an image's particles when their effective number falls below this share of P.
        circuit: the twist, p_PC over the codebook's variables.
        codebook: pixels to evidence and back.

    Cost: T P F and 2 T P circuit passes for one image.

    Source: Wu et al. 2023, "Practical and Asymptotically Exact Conditional Sampling in Diffusion Models", arXiv
    2306.17775, with the circuit in the place of their Gaussian around f(x_t).
    """

    def of_circuit(many: Walk, x_t: Tensor, i: int) -> tuple[Tensor, Prediction, Tensor]:
        seen = Observation(x_t, float(many.schedule.alpha_bar[i]), many.image, many.known)
        log_twist, shift = twist(circuit, codebook, seen)
        return log_twist, many.predict(x_t, i), shift if many.guide is None else torch.zeros_like(shift)

    return twisted_filter(walk, particles, resample_below, of_circuit, exact=True)


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
