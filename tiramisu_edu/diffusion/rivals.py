"""Newer samplers for the comparison, none of which needs a gradient: DAPS, DiffPIR and DiNG."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from .walk import Amount, Count, Share, Walk, sampler


@sampler
def daps(walk: Walk, ode_steps: Count = 5, langevin_time: Amount = 0.005) -> Tensor:
    """Inpaint by going all the way to a clean image at each level, correcting it there, and adding fresh noise.

        x_T ~ N(0, I);   for t = T … 1, with σ = sqrt((1 - ᾱ_t) / ᾱ_t):
            x̂ = k DDIM steps from x_t, evenly spread, the last to the clean image
            x̂ = m y + (1 - m) (x̂ + sqrt(1 - exp(-2 τ / σ²)) σ z)
            x_{t-1} = sqrt(ᾱ_{t-1}) x̂ + sqrt(1 - ᾱ_{t-1}) z'

    Nothing of x_t is kept but x̂, so that an early error can be mended later. The second line is where a Langevin chain
    on N(x; x̂, σ²), run for the time τ without measurement noise, ends. Guide and callback are called at each of the k
    steps.

    Args:
        ode_steps: k; fewer where fewer indices are left.
        langevin_time: τ of the first level; it falls linearly to about a hundredth. 0 adds nothing.

    Cost: (T k - k (k - 1) / 2) F for k <= T (F forward, B backward evaluations of the network for one image).

    Where published code differs: it takes 100 steps of length 5e-5 of the chain, with measurement noise of 0.01, and
    its levels are those of EDM, σ from 100 to 0.1 in 200 steps and from σ to 0.01 in each ODE. With five network calls
    a level it is made for hundreds of calls. Here the last level goes to the clean image, and no chain is run there.
    Its clean predictions are not held in [-1, 1], and its τ falls as over T + 1 levels. On the scale of σ, with
    x = x_t / sqrt(ᾱ_t), our levels, and a chain whose measurement noise goes to 0, it is equal to this.

    Source: Zhang et al., "Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing", algorithm 1.
    """
    x_t, T = walk.start(), len(walk.schedule)
    for i in walk.indices:
        x_0, k = x_t, min(ode_steps, i + 1)
        for here, below in pairwise(round((i + 1) * (1 - n / k)) - 1 for n in range(k + 1)):
            clean, epsilon = walk.guided(x_0, here)
            signal, spread = walk.schedule.levels_after(below + 1)
            x_0 = walk.step(signal * clean + spread * epsilon)
        variance, time = 1 / float(walk.schedule.alpha_bar[i]) - 1, langevin_time * (1 - 0.99 * (T - 1 - i) / T)
        moved = math.sqrt(-math.expm1(-2 * time / variance) * variance) if i > 0 else 0.0
        x_0 = torch.where(walk.known, walk.image, x_0 + moved * walk.noise())
        signal, spread = walk.schedule.levels_after(i)
        x_t = signal * x_0 + spread * walk.noise()
    return walk.finish(x_t)


@sampler
def diffpir(walk: Walk, zeta: Share = 1.0, trust: Amount = 1e-6) -> Tensor:
    """Inpaint by pulling the clean prediction to the known pixels, with noise that follows what was pulled.

        x_T ~ N(0, I);   for t = T … 1, with ρ = trust ᾱ_t / (1 - ᾱ_t):
            x̂ = (m y + ρ x_0) / (m + ρ),   ε = (x_t - sqrt(ᾱ_t) x̂) / sqrt(1 - ᾱ_t)
            x_{t-1} = sqrt(ᾱ_{t-1}) x̂ + sqrt(1 - ᾱ_{t-1}) (sqrt(1 - zeta) ε + sqrt(zeta) z)

    Without measurement noise, trust = 0, it is `ddnm` with ε consistent with x̂ and zeta = eta².

    Args:
        zeta: share of fresh noise, as a variance. The published script for inpainting has 1, others 0.1 to 0.3.
        trust: in the clean prediction, λ σ² of the paper, 1e-6 in the published script.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where published code differs: its steps lie quadratically, it begins with y at level T, -1 where hidden, and it
    leaves out the last step, though not the network call there.

    Source: Zhu et al., "Denoising Diffusion Models for Plug-and-Play Image Restoration", algorithm 1.
    """
    x_t = walk.start()
    for i in walk.indices:
        x_0, _ = walk.guided(x_t, i)
        alpha_bar = float(walk.schedule.alpha_bar[i])
        rho = trust * alpha_bar / (1 - alpha_bar)
        x_0 = torch.where(walk.known, (walk.image + rho * x_0) / (1 + rho), x_0)
        epsilon = (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
        signal, spread = walk.schedule.levels_after(i)
        noise = math.sqrt(1 - zeta) * epsilon + math.sqrt(zeta) * walk.noise()
        x_t = walk.step(signal * x_0 + spread * noise)
    return walk.finish(x_t)


@sampler
def ding(walk: Walk, power: Amount = 1.0, delayed: bool = False) -> Tensor:
    """Inpaint by setting known pixels to y and the network's own noise, as it sees it one level further down.

        x_T ~ N(0, I);   for t = T … 1, with s² = (1 - ᾱ_{t-1}) (1 - sqrt(ᾱ_{t-1}))^{2 power}:
            μ = sqrt(ᾱ_{t-1}) x_0 + sqrt(1 - ᾱ_{t-1} - s²) (x_t - sqrt(ᾱ_t) x_0) / sqrt(1 - ᾱ_t)
            ε = the network's noise at μ + s z, one level further down
            x_{t-1} = m (sqrt(ᾱ_{t-1}) y + sqrt(1 - ᾱ_{t-1}) ε) + (1 - m) (μ + s z')

    Args:
        power: how much fresh noise: 1/2 is the published function's default, 1 that of its settings.
        delayed: ε is the network's noise at x_t, which is already there.

    Cost: (2 T - 1) F, or T F where delayed (F forward, B backward evaluations of the network for one image).

    Where published code differs: it is for flow matching, x_t = (1 - t) x_0 + t z, in latents, and has measurement
    noise of 0.01. With sqrt(ᾱ_t) and sqrt(1 - ᾱ_t) for its 1 - t and t, and hardly any such noise, it is equal to this.

    Source: Moufad et al., "Efficient Zero-Shot Inpainting with Decoupled Diffusion Guidance", arXiv 2512.18365.
    """
    x_t = walk.start()
    for i in walk.indices:
        prediction = walk.predict(x_t, i)
        x_0, epsilon = walk.guided(x_t, i, prediction)[0], prediction.epsilon
        signal, spread = walk.schedule.levels_after(i)
        s = spread * (1 - signal) ** power
        alpha_bar = float(walk.schedule.alpha_bar[i])
        own = (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
        mean = signal * x_0 + math.sqrt(spread**2 - s**2) * own
        if not delayed and i > 0:
            epsilon = walk.predict(mean + s * walk.noise(), i - 1).epsilon
        hidden = mean + s * walk.noise()
        x_t = walk.step(torch.where(walk.known, signal * walk.image + spread * epsilon, hidden))
    return walk.finish(x_t)
