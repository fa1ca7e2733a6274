"""CoPaint: before each step, move the noisy image until its clean prediction agrees with the known pixels."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Prediction
from .schedule import Schedule, jump_schedule
from .walk import Amount, Count, Growth, Share, Steps, Walk, sampler

REFERENCE_STEPS = 250  # length of the runs that the growth factors were published for
MAX_BACKTRACKS = 20  # trials after which an image stays where it is
REGROWTH = 1.5  # by which a carried rate may grow from one denoising step to the next


@dataclass(frozen=True)
class Descent:
    """G gradient steps on L for each image by itself, each one shortened until it does not raise the loss.

    The graph of an accepted trial also gives the next gradient: an image costs 1 + G network calls, plus one for each
    rejected trial. A rate once shortened stays short for the image's remaining gradient steps.

    Args: as in `copaint`.
    """

    gradient_steps: Steps = 2
    rate: Amount = 0.02
    rate_growth: Growth = 1.012
    prior_weight: Amount = 1e-4
    prior_growth: Growth = 1.01
    backtrack: Share = 0.5
    carry: bool = True

    def weights(self, schedule: Schedule, i: int) -> tuple[float, float]:
        """Rate and λ at index i: rate · growth^k · sqrt(ᾱ_i / ᾱ_0) and λ · growth^k, k in steps of a run of 250.

        The square root cancels the factor 1 / sqrt(ᾱ_t) in d x_0 / d x_t.
        """
        done = (len(schedule) - 1 - i) / max(len(schedule) - 1, 1)
        k = done * (REFERENCE_STEPS - 1)
        scale = float(schedule.alpha_bar[i] / schedule.alpha_bar[0]) ** 0.5
        return self.rate * self.rate_growth**k * scale, self.prior_weight * self.prior_growth**k

    def limits(self, walk: Walk) -> Tensor:
        """(B, 1, 1, 1) the rate that each image may begin with: none is limited yet."""
        return torch.full_like(walk.image[:, :1, :1, :1], torch.inf)

    def __call__(self, walk: Walk, x_t: Tensor, i: int, limits: Tensor) -> tuple[Tensor, Prediction]:
        """x_t moved until f(x_t) agrees with the known pixels, and the prediction there.

        Args:
            limits: from `limits`, or as the step before left them; rejected trials lower them in place.
        """
        rate, prior_weight = self.weights(walk.schedule, i)
        limits.mul_(REGROWTH) if self.carry else limits.fill_(torch.inf)
        best = _Best(walk, i, x_t, prior_weight)
        best.accept(x_t, torch.arange(len(x_t), device=x_t.device), differentiate=self.gradient_steps > 0)
        for g in range(self.gradient_steps):
            rows = best.gradient.flatten(1).isfinite().all(1).nonzero()[:, 0]
            for _ in range(1 + MAX_BACKTRACKS):
                if len(rows) == 0:
                    break
                trial = best.x[rows] - limits[rows].clamp(max=rate) * best.gradient[rows]
                rows = best.accept(trial, rows, differentiate=g + 1 < self.gradient_steps)
                limits[rows] = limits[rows].clamp(max=rate) * self.backtrack
        limits[limits < rate * self.backtrack**MAX_BACKTRACKS] = torch.inf  # no trial was accepted: nothing to carry
        return best.x, Prediction(best.x_0, best.epsilon)


@sampler
def copaint(walk: Walk, eta: Share = 0.0, *, descent: Descent) -> Tensor:
    """Inpaint by making known and hidden pixels agree, through the gradient of the network.

        x_T ~ N(0, I);   for t = T … 1:
            G times:  x_t <- x_t - rate ∇L(x_t),   L(x) = |m (y - f(x, t))|² + λ |x - x_t^{orig}|²
            x_{t-1} = DDIM step from the optimised x_t

    A gradient step that would raise the loss is tried again with a shorter rate. The published growth factors belong to
    runs of 250 steps. Here they are spread so that a run of any length covers the same range: over the run the rate
    grows by 1.012^249 = 19.5, and λ by 1.01^249 = 11.9. Guide and callback are called with the optimised x_t. The
    defaults are published for CelebA, 256 × 256; for ImageNet λ = 0.01 without growth; for speed G = 1.

    Args:
        eta: as in `ddim`.
        descent: its fields are options.
            gradient_steps: G, gradient steps before each denoising step.
            rate: length of the first gradient step, before the factor sqrt(ᾱ_t / ᾱ_0).
            rate_growth: its growth per step of a run of 250.
            prior_weight: λ, weight of staying close to the x_t that the sampler arrived with.
            prior_growth: its growth per step of a run of 250.
            backtrack: factor on an image's rate when a trial has raised its loss. Published: 0.8.
            carry: an image's rate, once shortened, is carried to the next denoising step, where it may grow by
                `REGROWTH` up to the schedule's. Published: False, each step begins with the schedule's rate.

    Cost: T (1 + G) F + T G B (F forward, B backward evaluations of the network for one image), and one more F
    whenever its trial is rejected; in a batch where another image's is accepted, one more B too. The published code
    takes 1 + 2 G F a step, because it computes an accepted trial again to differentiate it.

    Where the published code differs: it has `backtrack=0.8, carry=False`. The late rates of its schedule are far too
    long at 12 steps, so that three trials of four are rejected. It tries until the loss falls, however often that is;
    here an image stays where it is after 1 + `MAX_BACKTRACKS` trials, which with long rates is no rare case at index 0.
    It accepts or rejects the whole batch at once, so that images influence each other. It leaves out the last step, and
    scores the result without compositing.

    Source: Zhang et al., "Towards Coherent Image Inpainting Using Denoising Diffusion Implicit Models".
    """
    x_t, limits = walk.start(), descent.limits(walk)
    for i in walk.indices:
        x_t, prediction = descent(walk, x_t, i, limits)
        x_0, epsilon = walk.guided(x_t, i, prediction)
        x_t = walk.step(walk.ddim(x_t, x_0, epsilon, i, eta))
    return walk.finish(x_t)


@sampler
def copaint_tt(
    walk: Walk, eta: Share = 0.0, jump_length: Count = 10, repeats: Count = 2, *, descent: Descent
) -> Tensor:
    """Inpaint as `copaint` does, along a schedule with jumps back: each stretch of steps is taken again, from noise.

        x_T ~ N(0, I);   along T - 1, …, with jumps back, …, -1 (`jump_schedule`):
            down from t:  optimise x_t as CoPaint does;  x_{t-1} = DDIM step from it
            up from t:    optimise x_t once more where the climb begins
                          x_{t+1} = sqrt(1 - β_{t+1}) x_t + sqrt(β_{t+1}) z

    Rate and λ belong to the index, so going back takes their growth back too. Guide and callback are called with every
    step down, so an index comes `repeats` times.

    Args:
        eta, descent: as in `copaint`.
        jump_length: steps back at a time.
        repeats: times that each stretch of `jump_length` steps is taken; 1 never goes back.

    Cost: N (1 + G) F + N G B with N = T + J (repeats - 1) (jump_length + 1) optimisations and
    J = ceil(T / jump_length) - 1 places to jump back from (F forward, B backward evaluations of the network for one
    image), and more where trials are rejected, as in `copaint`.

    Where the published code differs: as in `copaint`.

    Source: Zhang et al., "Towards Coherent Image Inpainting Using Denoising Diffusion Implicit Models", section 4.3.
    """
    x_t, limits, climbing = walk.start(), descent.limits(walk), False
    for i, following in pairwise(jump_schedule(len(walk.schedule), jump_length, repeats)):
        if following < i or not climbing:
            x_t, prediction = descent(walk, x_t, i, limits)
        climbing = following > i
        if climbing:
            x_t = walk.renoise(x_t, i)
        else:
            x_0, epsilon = walk.guided(x_t, i, prediction)
            x_t = walk.step(walk.ddim(x_t, x_0, epsilon, i, eta))
    return walk.finish(x_t)


class _Best:
    """The best point found for each image, all values and no graph: (B, C, H, W), the loss (B,), NaN at first."""

    def __init__(self, walk: Walk, i: int, origin: Tensor, prior_weight: float) -> None:
        self.walk, self.i, self.origin, self.prior_weight = walk, i, origin, prior_weight
        self.x, self.x_0, self.epsilon, self.gradient = (torch.full_like(origin, torch.nan) for _ in range(4))
        self.loss = self.x.flatten(1)[:, 0].clone()

    def accept(self, x: Tensor, rows: Tensor, differentiate: bool) -> Tensor:
        """Take over those of the candidates x (b, C, H, W) for images `rows` (b,) that do not raise the loss.

            L(x) = |m (y - f(x, t))|² + λ |x - x_orig|²,   sums over the pixels of one image

        Args:
            differentiate: note the gradient of L there, too.

        Returns:
            The rows that were rejected: none where there is no loss yet.
        """
        with torch.set_grad_enabled(differentiate):
            x = x.detach().requires_grad_(differentiate)
            prediction = self.walk.predict(x, self.i)
            mismatch = torch.where(self.walk.known[rows], self.walk.image[rows] - prediction.x_0, 0)
            drift = x - self.origin[rows]
            loss = mismatch.square().flatten(1).sum(1) + self.prior_weight * drift.square().flatten(1).sum(1)
            good = (loss.isfinite() & (loss <= self.loss[rows])) | self.loss[rows].isnan()
            taken = rows[good]
            if differentiate and len(taken) > 0:
                self.gradient[taken] = self.walk.gradient(loss[good].sum(), x)[good]
        found = ((self.x, x), (self.loss, loss), (self.x_0, prediction.x_0), (self.epsilon, prediction.epsilon))
        for kept, new in found:
            kept[taken] = new.detach()[good]
        return rows[~good]
