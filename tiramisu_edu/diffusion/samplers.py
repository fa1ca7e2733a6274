"""Samplers: one loop each, one call for all (`walk.sampler`), each readable against its paper's algorithm.

Any of them is steered by a guide (`Step` -> clean prediction); `guide=None` is the plain sampler, bit for bit. The
defaults of options are the published values; what was tuned for a world is in data/WORLD/samplers.json.

Network evaluations for one image, with T steps (F forward, B backward):

    ddim, ddpm, replacement, ddrm, ddnm     T F             resampling      T P F
    diffpir, ding delayed                   T F             tds             T P (F + B)
    dps                                     T (F + B)       repaint         about T repeats F
    ding                                    (2 T - 1) F     daps            about T k F
    copaint                                 T ((1 + G) F + G B), twice that for copaint-tt
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import known_name
from .copaint import copaint, copaint_tt
from .denoiser import Prediction
from .particles import resampling, tds
from .rivals import daps, diffpir, ding
from .schedule import jump_schedule
from .walk import Amount, Count, Sampler, Share, Walk, sampler


@sampler
def ddim(walk: Walk, eta: Share = 0.0) -> Tensor:
    """Sample images without a look at the known pixels, then paste these over them.

        x_T ~ N(0, I);   for t = T … 1:   x_{t-1} = sqrt(ᾱ_{t-1}) x_0 + sqrt(1 - ᾱ_{t-1} - σ²) ε + σ z

    The control for every other sampler. With nothing known this is how a diffusion model draws pictures. With a guide,
    the guide is the only source of information about the known pixels.

    Args:
        eta: 0 is deterministic after the first noise, 1 has the noise of DDPM.

    Cost: T F (F forward, B backward evaluations of the network for one image). Published code often stops at index 0
    and makes T - 1 calls; here the last step goes to the clean image.

    Source: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", equation 12.
    """
    x_t = walk.start()
    for i in walk.indices:
        x_0, epsilon = walk.guided(x_t, i)
        x_t = walk.step(walk.ddim(x_t, x_0, epsilon, i, eta))
    return walk.finish(x_t)


@sampler
def ddpm(walk: Walk) -> Tensor:
    """Sample images by ancestral steps, every step a draw, then paste the known pixels over them.

        x_T ~ N(0, I);   for t = T … 1:   x_{t-1} ~ q(x_{t-1} | x_t, x_0),   x_0 = f(x_t, t)

    The unconditional chain that RePaint and resampling build on. The posterior q has no ε of its own: it is DDIM with
    eta = 1 and ε always consistent with x_0. This is the step that the paper's equations write, where its code takes
    DDIM steps.

    A network with a learned variance steps with it.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Source: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", algorithm 2.
    """
    x_t = walk.start()
    for i in walk.indices:
        prediction = walk.predict(x_t, i)
        x_0, _ = walk.guided(x_t, i, prediction)
        x_t = walk.step(walk.ddpm(x_t, x_0, i, prediction.variance_share))
    return walk.finish(x_t)


@sampler
def replacement(walk: Walk, eta: Share = 0.0) -> Tensor:
    """Inpaint by overwriting: the known pixels, noised to the level of each step, replace the sample's own.

        x_T ~ N(0, I);   for t = T … 1:
            x_t = m (sqrt(ᾱ_t) y + sqrt(1 - ᾱ_t) z_t) + (1 - m) x_t
            x_{t-1} = DDIM step from x_t

    The simplest sampler that reads the known pixels. At high noise the replaced pixels carry almost no signal, so
    hidden pixels match them at the border but often not globally.

    Args:
        eta: as in `ddim`.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where the published code differs (the "ddim" algorithm of the CoPaint repository): it draws all z_t beforehand and
    shares each among the images of a batch; fresh noise for each image is the same in law. It also takes the
    known pixels of the batch's first image for all.

    Source: Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", appendix
    I.2; Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", section 2.5.
    """
    x_t = walk.start()
    for i in walk.indices:
        x_t = torch.where(walk.known, walk.noised(i), x_t)
        x_0, epsilon = walk.guided(x_t, i)
        x_t = walk.step(walk.ddim(x_t, x_0, epsilon, i, eta))
    return walk.finish(x_t)


@sampler
def repaint(walk: Walk, jump_length: Count = 10, repeats: Count = 10) -> Tensor:
    """Inpaint by overwriting, with ancestral steps down and jumps back up, so that known and hidden pixels fit.

        x_T ~ N(0, I);   along T - 1, …, with jumps back, …, -1 (`jump_schedule`):
            down from t:  x_t = m (sqrt(ᾱ_t) y + sqrt(1 - ᾱ_t) z) + (1 - m) x_t
                          x_{t-1} ~ q(x_{t-1} | x_t, f(x_t, t))
            up from t:    x_{t+1} = sqrt(1 - β_{t+1}) x_t + sqrt(β_{t+1}) z

    Guide and callback are called with every step down, so an index comes `repeats` times.

    Args:
        jump_length: steps back at a time.
        repeats: times that each stretch of `jump_length` steps is denoised; 1 never goes back. For 250 steps 10 was
            published, a cost of 2410 network calls, and 3 by others (730).

    Cost: (T + J (repeats - 1) jump_length) F, with J = ceil(T / jump_length) - 1 places to jump back from (F forward,
    B backward evaluations of the network for one image).

    Where the published code differs: it does not overwrite before the very first step, where ᾱ is so small that it
    makes no difference.

    Source: Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models", algorithm 1.
    """
    x_t = walk.start()
    for i, following in pairwise(jump_schedule(len(walk.schedule), jump_length, repeats)):
        if following > i:
            x_t = walk.renoise(x_t, i)
            continue
        x_t = torch.where(walk.known, walk.noised(i), x_t)
        prediction = walk.predict(x_t, i)
        x_0, _ = walk.guided(x_t, i, prediction)
        x_t = walk.step(walk.ddpm(x_t, x_0, i, prediction.variance_share))
    return walk.finish(x_t)


@sampler
def ddrm(walk: Walk, eta: Share = 0.85, eta_b: Share = 1.0, clip: bool = False) -> Tensor:
    """Inpaint by drawing known pixels around the measurement, and hidden ones around the clean prediction.

        x_T = m (sqrt(ᾱ_T) y + sqrt(1 - ᾱ_T) z) + (1 - m) z';   for t = T … 1, with σ = sqrt((1 - ᾱ_{t-1}) / ᾱ_{t-1}):
            hidden:  x_{t-1} / sqrt(ᾱ_{t-1}) = x_0 + sqrt(1 - eta²) σ ε + eta σ z
            known:   x_{t-1} / sqrt(ᾱ_{t-1}) = (1 - eta_b) x_0 + eta_b y + σ z

    The singular vectors of a mask are the pixels themselves, with singular values 1 and 0, so no decomposition is
    needed. A share of fresh noise that does not shrink with the steps costs variety: with the exact denoiser of
    N(0.1, 0.2²) and eta = 0.85, draws have the deviation 0.17, at 100 steps as at 1000.

    Args:
        eta: share of fresh noise. It is not DDIM's: 1 renews all noise at each step.
        eta_b: share of the measurement in the mean of a known pixel; the rest is the clean prediction.
        clip: clean predictions are held in [-1, 1]. The published codes do not hold them.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where published code differs: the comparison with Tiramisu ran it with eta = 0. Known pixels are then noised
    afresh at each step and hidden ones take DDIM steps, which is `replacement` without clipping.

    Source: Kawar et al., "Denoising Diffusion Restoration Models", equations 7 and 8.
    """
    x_t = walk.start()
    x_t = torch.where(walk.known, walk.noised(walk.indices[0]), x_t)
    for i in walk.indices:
        prediction = walk.predict(x_t, i)
        x_0, epsilon = walk.guided(x_t, i, prediction if clip else unclipped(walk, x_t, prediction, i))

        noise = walk.noise()
        signal, spread = walk.schedule.levels_after(i)
        hidden = signal * x_0 + spread * (math.sqrt(1 - eta**2) * epsilon + eta * noise)
        given = signal * ((1 - eta_b) * x_0 + eta_b * walk.image) + spread * noise
        x_t = walk.step(torch.where(walk.known, given, hidden))
    return walk.finish(x_t)


def unclipped(walk: Walk, x_t: Tensor, prediction: Prediction, i: int) -> Prediction:
    """The clean prediction that the network's noise implies, (x_t - sqrt(1 - ᾱ_t) ε) / sqrt(ᾱ_t), of any size."""
    alpha_bar = float(walk.schedule.alpha_bar[i])
    return prediction._replace(x_0=(x_t - math.sqrt(1 - alpha_bar) * prediction.epsilon) / math.sqrt(alpha_bar))


@sampler
def ddnm(walk: Walk, eta: Share = 0.85, clip: bool = True) -> Tensor:
    """Inpaint by correcting the clean prediction in the range of the mask and leaving its null space alone.

        x_T ~ N(0, I);   for t = T … 1:
            x̂ = m y + (1 - m) x_0
            x_{t-1} = sqrt(ᾱ_{t-1}) x̂ + sqrt(1 - ᾱ_{t-1}) (sqrt(1 - eta²) ε + eta z)

    Guide and callback are called with x_0 before the correction.

    Args:
        eta: share of fresh noise. It is not DDIM's: 1 renews all noise at each step.
        clip: clean predictions are held in [-1, 1]. The authors' code does not hold them.

    Cost: T F (F forward, B backward evaluations of the network for one image).

    Where published code differs: the authors' takes 100 steps and can travel back in time (off by default), with the
    x_0 from before the correction; see also `clip`. The comparison with Tiramisu shrinks the noise of each step by
    sqrt(1 - ᾱ_t²), where the factor should be 1 without measurement noise, so that pictures come out too smooth.

    Source: Wang, Yu, Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", algorithm 1, with
    the noise of its official code.
    """
    x_t = walk.start()
    for i in walk.indices:
        prediction = walk.predict(x_t, i)
        x_0, epsilon = walk.guided(x_t, i, prediction if clip else unclipped(walk, x_t, prediction, i))
        corrected = torch.where(walk.known, walk.image, x_0)
        noise = math.sqrt(1 - eta**2) * epsilon + eta * walk.noise()
        signal, spread = walk.schedule.levels_after(i)
        x_t = walk.step(signal * corrected + spread * noise)
    return walk.finish(x_t)


@sampler
def dps(walk: Walk, eta: Share = 1.0, zeta: Amount = 1.0) -> Tensor:
    """Inpaint with the likelihood of the known pixels, approximated at the clean prediction, as a gradient.

        x_T ~ N(0, I);   for t = T … 1:
            x'_{t-1} = unconditional step from x_t (eta = 1: a draw of q(x_{t-1} | x_t, x_0))
            x_{t-1} = x'_{t-1} - zeta ∇_{x_t} |m (y - f(x_t, t))|

    |·| is the norm over the pixels of one image, not its square, so that the squared error gets the step zeta / norm.
    The guide changes the unconditional step; the gradient is the network's own.

    Args:
        eta: as in `ddim`, and ε is always consistent with x_0.
        zeta: length of the gradient step; 1 in the comparison with Tiramisu, 0.5 in the authors' inpainting. It does
            not carry over between image sizes and numbers of steps.

    Cost: T F + T B (F forward, B backward evaluations of the network for one image).

    Where published code differs: the norm is taken over the whole batch, so that images influence each other; the
    authors add measurement noise to the known pixels and use the network's learned variance. The comparison with
    Tiramisu adds noise of 1e-4 and leaves out the last step.

    Source: Chung et al., "Diffusion Posterior Sampling for General Noisy Inverse Problems", algorithm 1.
    """
    x_t = walk.start()
    for i in walk.indices:
        prediction, gradient = misfit_gradient(walk, x_t, i)
        x_0, _ = walk.guided(x_t, i, prediction)
        x_t = walk.step(walk.ddim(x_t, x_0, None, i, eta) - zeta * gradient)
    return walk.finish(x_t)


def misfit_gradient(walk: Walk, x_t: Tensor, i: int) -> tuple[Prediction, Tensor]:
    """The prediction at x_t, and the gradient (B, C, H, W) of |m (y - f(x_t))|, each image's own norm.

    The gradient is 0 where the fit is perfect.
    """
    with torch.enable_grad():
        x = x_t.detach().requires_grad_()
        prediction = walk.predict(x, i)
        misfit = torch.linalg.vector_norm(torch.where(walk.known, walk.image - prediction.x_0, 0).flatten(1), dim=1)
        gradient = walk.gradient(misfit.sum(), x)
    return Prediction(prediction.x_0.detach(), prediction.epsilon.detach()), gradient


_OLDER = (ddim, ddpm, replacement, repaint, ddrm, ddnm, dps, resampling, copaint, copaint_tt)
_ALL = (*_OLDER, daps, diffpir, ding, tds)
SAMPLERS: dict[str, Sampler] = {sample.__name__.replace("_", "-"): sample for sample in _ALL}


def get_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        TiramisuError: there is none.
    """
    return SAMPLERS[known_name("sampler", name, SAMPLERS)]
