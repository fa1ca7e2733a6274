"""Particles: P for each of B images, weighted, resampled where too few of them count; and the sampler made of that."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .denoiser import Prediction
from .noise import Generators, uniform
from .walk import Amount, Count, Share, Walk, sampler

Twist = Callable[[Walk, Tensor, int], tuple[Tensor, Prediction, Tensor]]
"""(walk, x_t, i) -> log p̃(known | x_t) (B P,) float64, the network's prediction there, and what is added to its x_0."""


@sampler
def resampling(walk: Walk, particles: Count = 10, resample_below: Share = 0.5) -> Tensor:
    """Inpaint by a particle filter on the hidden pixels, along one noisy history of the known ones.

        y_T … y_0: one noisy history of the known pixels;   P particles x_T ~ N(0, I), weights w = 1 / P
        for t = T … 1:
            x_t = m y_t + (1 - m) x_t;   μ = mean of q(x_{t-1} | x_t, f(x_t, t)),  s² = its variance
            w <- w N(m y_{t-1}; m μ, s²);   resample where 1 / sum w² < resample_below P
            x_{t-1} ~ N(μ, s²)

    The history is drawn backwards, y_{t-1} ~ q(y_{t-1} | y_t, y), the same in law as forwards. The last weighting,
    where s² = 0, is left out. The result is one particle of each image, drawn by weight.

    As P grows the law has a limit, which is not the network's own conditional: the forward process draws y_T … y_1, and
    the network's chain would draw others. The two agree where the network is exact and steps are many.

    With a guide, hidden pixels are drawn from q(x_{t-1} | x_t, guided x_0) instead, and w is multiplied by the ratio
    of the two densities: the guide proposes, and the limit stays the same. Guide and
    callback are called with P adjacent rows for each image, its particles.

    Args:
        particles: P, for each image.
        resample_below: resample an image's particles when their effective number, 1 / sum_k w_k², falls below this
            share of P.

    Cost: T P F (F forward, B backward evaluations of the network for one image).

    Where published code differs: Wu et al. (TDS), who have the only public code of SMCDiff, draw x_{t-1} before they
    weigh and copy, and also weigh the last step, with the variance of the one before. The
    comparison with Tiramisu weights by softmax(100 mse_mean / mse), draws y_t independently at each step, takes
    deterministic steps, so that copies of a particle stay copies, and then carries on with the noisy state
    from before the step: hidden pixels are never denoised. None of this is reproduced.

    Source: Trippe et al., "Diffusion Probabilistic Modeling of Protein Backbones in 3D for the Motif-Scaffolding
    Problem", algorithm 2.
    """
    P, many = particles, walk.repeat(particles)
    y_t, x_t = walk.noised(walk.indices[0]), many.start()
    log_weights = equal_weights(walk, P)
    for i in walk.indices:
        x_t = torch.where(many.known, y_t.repeat_interleave(P, 0), x_t)
        prediction = many.predict(x_t, i)
        x_0, _ = many.guided(x_t, i, prediction)
        mean, variance = walk.schedule.posterior(prediction.x_0, x_t, i)
        x_next, _ = walk.schedule.posterior(x_0, x_t, i)
        if i > 0:
            # Weigh by the known pixels of the next level, under the network's own step.
            y_t = walk.ddpm(y_t, walk.image, i)
            log_weights += log_normal(y_t.repeat_interleave(P, 0), mean, variance, many.known).view(-1, P)
            log_weights, ancestors = resample(log_weights, resample_below, walk.generator)

            # Propose hidden pixels with the guide, and weigh them by the network.
            mean, proposed = mean[ancestors], x_next[ancestors]
            x_next = proposed + math.sqrt(variance) * many.noise()
            model, proposal = (log_normal(x_next, m, variance, ~many.known) for m in (mean, proposed))
            log_weights += (model - proposal).view(-1, P)
        x_t = many.step(x_next)
    return walk.finish(x_t[draw_one(log_weights, walk.generator)])


@sampler
def tds(walk: Walk, particles: Count = 8, resample_below: Share = 1.0, data_variance: Amount = 0.12) -> Tensor:
    """Inpaint by a particle filter on whole images whose twist is a Gaussian around the network's clean prediction.

        log p̃(known | x_t) = -|m (y - f(x_t))|² / (2 v) + constant,   v = r τ² / (r + τ²),   r = (1 - ᾱ_t) / ᾱ_t
        proposal:  x_0 = f(x_t) + (1 - ᾱ_t) / sqrt(ᾱ_t) ∇ log p̃(known | x_t), held in [-1, 1]

    The filter is that of `twisted_filter`. With a guide, the gradient is added to the guided x_0.

    Args:
        particles: P, for each image.
        resample_below: resample an image's particles when their effective number falls below this share of P.
        data_variance: τ², of a clean pixel; 0.12 was published for MNIST.

    Cost: T P (F + B) (F forward, B backward evaluations of the network for one image).

    Where published code differs: f(x_t) is not held in [-1, 1], so no gradient is cut off. It also weighs the clean
    image, by the network's last step.

    Source: Wu et al., "Practical and Asymptotically Exact Conditional Sampling in Diffusion Models", algorithm 1.
    """
    return twisted_filter(walk, particles, resample_below, partial(network_twist, data_variance))


def network_twist(data_variance: float, walk: Walk, x_t: Tensor, i: int) -> tuple[Tensor, Prediction, Tensor]:
    """The twist of `tds`; see `Twist`."""
    alpha_bar = float(walk.schedule.alpha_bar[i])
    r = 1 / alpha_bar - 1
    with torch.enable_grad():
        x = x_t.detach().requires_grad_()
        prediction = walk.predict(x, i)
        misfit = torch.where(walk.known, walk.image - prediction.x_0, 0).square().flatten(1).sum(1)
        log_twist = -misfit / (2 * r * data_variance / (r + data_variance))
        gradient = walk.gradient(log_twist.sum(), x)
    prediction = Prediction(prediction.x_0.detach(), prediction.epsilon.detach())
    return log_twist.detach().double(), prediction, (1 - alpha_bar) / math.sqrt(alpha_bar) * gradient


def twisted_filter(walk: Walk, particles: int, resample_below: float, twist: Twist, exact: bool = False) -> Tensor:
    """A particle filter on whole images that a twist weighs and proposes for.

        P particles x_T ~ N(0, I),   w = p̃(known | x_T);   for t = T … 2:
            resample where 1 / sum w² < resample_below P
            x_{t-1} ~ q(x_{t-1} | x_t, x_0),   x_0 = guided f(x_t) + what the twist adds, in [-1, 1]
            w <- w  p̃(known | x_{t-1}) p_DM(x_{t-1} | x_t) / ( p̃(known | x_t) q(x_{t-1} | x_t, x_0) )

    p_DM(x_{t-1} | x_t) is the network's DDPM step, q(x_{t-1} | x_t, f(x_t)). The last step goes to the guided f(x_1),
    and the particles at x_1 are weighed by the twist, not by the network: errors that vanish with the last noise.

    The result is one particle of each image, drawn by weight. Before the last step a guide changes only what is
    proposed: the limit stays the same. Guide and callback are called with P adjacent rows for each image.

    Args:
        exact: x_0 has the known pixels themselves.
    """
    P, many, limit = particles, walk.repeat(particles), walk.denoiser.limit
    x_t, log_weights = many.start(), equal_weights(walk, P)
    before = torch.zeros_like(log_weights)
    for i in walk.indices:
        # Weigh by the twist, and resample.
        log_twist, prediction, shift = twist(many, x_t, i)
        log_weights += log_twist.view(-1, P) - before
        log_weights, ancestors = resample(log_weights, resample_below, walk.generator)
        x_t, shift, before = x_t[ancestors], shift[ancestors], log_twist[ancestors].view(-1, P)
        prediction = Prediction(prediction.x_0[ancestors], prediction.epsilon[ancestors])

        # Propose, and weigh by the network's own step.
        x_0, _ = many.guided(x_t, i, prediction)
        x_next = x_0
        if i > 0:
            mean, variance = walk.schedule.posterior(prediction.x_0, x_t, i)
            noise = math.sqrt(variance) * many.noise()
            x_0 = (x_0 + shift).clamp(-limit, limit)
            x_0 = torch.where(many.known, many.image, x_0) if exact else x_0
            x_next = walk.schedule.posterior(x_0, x_t, i)[0] + noise
            log_ratio = (noise**2 - (x_next - mean) ** 2).double().flatten(1).sum(1) / (2 * variance)
            log_weights += log_ratio.view(-1, P)
        x_t = many.step(x_next, x_0)
    return walk.finish(x_t[draw_one(log_weights, walk.generator)])


def log_normal(x: Tensor, mean: Tensor, variance: float, where: Tensor) -> Tensor:
    """(N,) log N(x; mean, variance I) over those pixels of each row that are True in `where`, up to a constant."""
    return -torch.where(where, x - mean, 0).square().flatten(1).sum(1) / (2 * variance)


def equal_weights(walk: Walk, P: int) -> Tensor:
    """(B, P) float64 log-weights 0."""
    return torch.zeros(len(walk.image), P, dtype=torch.float64, device=walk.image.device)


def resample(log_weights: Tensor, below: float, generator: Generators) -> tuple[Tensor, Tensor]:
    """Let particles die and multiply by weight, in those images where fewer than `below` P of them count.

    Only the particles of one image compete.

    Args:
        log_weights: (B, P).
        below: share of P.
        generator: of the draw; one, or one per image.

    Returns:
        log-weights after it, 0 where an image was resampled, and (B P,) the row that each particle goes on from.
    """
    P = log_weights.shape[1]
    drawn = systematic(log_weights, generator)
    few = (effective_sample_size(log_weights) < below * P)[:, None]
    return torch.where(few, 0, log_weights), rows(torch.where(few, drawn, torch.arange(P, device=drawn.device)), P)


def normalised(log_weights: Tensor) -> Tensor:
    """(B, P) weights that sum to 1. A particle that is not a number gets none, unless none of its image is one."""
    log_weights = log_weights.nan_to_num(nan=-torch.inf)
    return torch.where(log_weights.isfinite().any(1, keepdim=True), log_weights, 0).softmax(1)


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(B,) 1 / sum_k w_k² of log-weights (B, P): P where all are equal, 1 where one particle has all the weight."""
    return 1 / normalised(log_weights).square().sum(1)


def systematic(log_weights: Tensor, generator: Generators) -> Tensor:
    """Systematic resampling: whose copy each particle of an image goes on as, (B, P) long, rising along P.

        the particles at (u + k) / P for k = 0 … P - 1, when each is as wide as its weight;  u uniform, one per image

    Of a particle of weight w there are P w copies on average, and never fewer than floor(P w) or more than ceil(P w).

    Args:
        log_weights: (B, P).
        generator: of u; one, or one per image.

    Source: Kitagawa, "Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space Models".
    """
    P = log_weights.shape[1]
    u = uniform(log_weights[:, :1], generator)
    return _particles_at((u + torch.arange(P, device=u.device)) / P, log_weights)


def draw_one(log_weights: Tensor, generator: Generators) -> Tensor:
    """(B,) the row of one particle of each image, drawn by weight."""
    return rows(_particles_at(uniform(log_weights[:, :1], generator), log_weights), log_weights.shape[1])


def rows(particles: Tensor, P: int) -> Tensor:
    """Particles (B, n) of each image -> their rows (B n,) in a batch where the P particles of an image are adjacent."""
    return (particles + P * torch.arange(len(particles), device=particles.device)[:, None]).flatten()


def _particles_at(positions: Tensor, log_weights: Tensor) -> Tensor:
    """(B, n) the particles found at the positions (B, n) in [0, 1)."""
    upper = normalised(log_weights).cumsum(1)
    return torch.searchsorted(upper / upper[:, -1:], positions, right=True)
