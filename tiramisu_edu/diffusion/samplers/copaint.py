"""CoPaint: before each step, move the noisy image until its clean prediction agrees with the known pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..denoiser import Denoiser, Prediction
from ..schedule import Schedule
from .step import (
    Callback,
    Generators,
    Guide,
    composite,
    first_x,
    guided_epsilon,
    guided_x_0,
    make_step,
    prepare,
    preset,
    step_noise,
)


@dataclass(frozen=True)
class CoPaintSettings:
    """The constants of CoPaint.

    The published growth factors belong to runs of 250 steps. Here they are spread so that a run of any length
    covers the same range: over the run the rate grows by 1.012^249 = 19.5, and λ by 1.01^249 = 11.9.

    Attributes:
        gradient_steps: G, gradient steps before each denoising step.
        rate: length of the first gradient step, before the factor sqrt(ᾱ_t / ᾱ_0).
        rate_growth: its growth per step of a run of `reference_steps`.
        prior_weight: λ, weight of staying close to the x_t that the sampler arrived with.
        prior_growth: its growth per step of a run of `reference_steps`.
        reference_steps: length of the runs that the growth factors were chosen for.
        backtrack: factor on the rate when a gradient step has raised the loss.
        max_backtracks: trials after which an image stays where it is.
    """

    gradient_steps: int = 2
    rate: float = 0.02
    rate_growth: float = 1.012
    prior_weight: float = 1e-4
    prior_growth: float = 1.01
    reference_steps: int = 250
    backtrack: float = 0.8
    max_backtracks: int = 20

    @classmethod
    def preset(cls, name: str) -> "CoPaintSettings":
        """Settings by name.

        Published, for 256 × 256 photographs: "celeba" (the defaults), "imagenet" (firmer prior) and "fast" (one
        gradient step; published for 100 steps with growth 1.03, the same range: 1.03^99 = 18.7).

        "digits", for 8 × 8 images in 25 steps, has a rate 80 times higher, the best of nine from 0.02 to 6.4 on 80
        held-out digits with two masks. On 100 others the squared error of the hidden pixels is 0.17 instead of
        0.40 with the top half given, and 0.12 instead of 0.22 with the centre given.

        Raises:
            TiramisuError: no such preset.
        """
        presets = {
            "celeba": cls(),
            "imagenet": cls(prior_weight=0.01, prior_growth=1.0),
            "fast": cls(gradient_steps=1),
            "digits": cls(rate=1.6),
        }
        return preset(presets, name)

    def weights(self, schedule: Schedule, i: int) -> tuple[float, float]:
        """Rate and λ at index i: rate · growth^k · sqrt(ᾱ_i / ᾱ_0) and λ · growth^k, k in reference steps.

        The square root undoes the 1 / sqrt(ᾱ_t) by which the clean prediction answers to x_t.
        """
        done = (len(schedule) - 1 - i) / max(len(schedule) - 1, 1)
        k = done * (self.reference_steps - 1)
        scale = float(schedule.alpha_bar[i] / schedule.alpha_bar[0]) ** 0.5
        return self.rate * self.rate_growth**k * scale, self.prior_weight * self.prior_growth**k


DEFAULTS = CoPaintSettings()


@torch.no_grad()
def copaint(
    denoiser: Denoiser,
    schedule: Schedule,
    image: Tensor,
    known: Tensor,
    *,
    guide: Guide | None = None,
    generator: Generators,
    eta: float = 0.0,
    callback: Callback | None = None,
    x_T: Tensor | None = None,
    settings: CoPaintSettings = DEFAULTS,
) -> Tensor:
    """Inpaint by making known and hidden pixels agree, through the gradient of the network.

        x_T ~ N(0, I);   for t = T … 1:
            G times:  x_t <- x_t - rate ∇L(x_t),   L(x) = |m (y - f(x, t))|² + λ |x - x_t^{orig}|²
            x_{t-1} = DDIM step from the optimised x_t

    Args:
        denoiser, schedule, image, known, guide, generator, eta, callback, x_T: as in `ddim`. The guide sees the
            optimised x_t.
        settings: the constants, see `CoPaintSettings`.

    Returns:
        (B, C, H, W) in [-1, 1], known pixels exact.

    Cost: T (1 + G) F + T G B (F forward, B backward evaluations of the network for one image), and one more F
    whenever its trial is rejected; in a batch where another image's is accepted, one more B too. The published code
    takes 1 + 2 G F a step, because it computes an accepted trial again to differentiate it.

    Where the published code differs: it accepts or rejects the whole batch at once, so that images influence
    each other, and never stops shortening the step when the gradient is NaN. It leaves out the last step, and
    scores the result without compositing.

    Source: Zhang et al., "Towards Coherent Image Inpainting Using Denoising Diffusion Implicit Models".
    """
    image, known = prepare(denoiser, schedule, image, known, generator)
    x_t = first_x(image, generator, x_T)

    for i in reversed(range(len(schedule))):
        x_t, prediction, _ = cohere(denoiser, schedule, i, x_t, image, known, settings)

        step = make_step(schedule, i, x_t, prediction, image, known)
        x_0 = guided_x_0(guide, step)
        epsilon = guided_epsilon(guide, step, x_0)
        noise = step_noise(image, generator, i, eta)
        x_next = schedule.ddim_step(x_t, x_0, epsilon, i, eta, noise)
        if callback is not None:
            callback(step, x_0, x_next)
        x_t = x_next

    return composite(x_t, image, known)


class Objective(NamedTuple):
    """L(x) = |m (y - f(x, t))|² + λ |x - x_orig|², sums over the pixels of one image.

    Attributes:
        denoiser: f.
        time: t, original index.
        image: y (B, C, H, W).
        known: m (B, 1 or C, H, W) bool.
        origin: x_orig (B, C, H, W).
        prior_weight: λ.
    """

    denoiser: Denoiser
    time: int
    image: Tensor
    known: Tensor
    origin: Tensor
    prior_weight: float

    def __call__(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Prediction]:
        """Loss (b,) and prediction for x (b, C, H, W), candidates for the images `rows` (b,)."""
        prediction = self.denoiser(x, self.time)
        mismatch = torch.where(self.known[rows], self.image[rows] - prediction.x_0, 0)
        drift = x - self.origin[rows]
        loss = mismatch.square().flatten(1).sum(1) + self.prior_weight * drift.square().flatten(1).sum(1)
        return loss, prediction


class Optimum(NamedTuple):
    """Where the gradient steps ended.

    Attributes:
        x_t: (B, C, H, W) optimised noisy images.
        prediction: the denoiser's at x_t.
        losses: (G + 1, B) loss before the first and after each gradient step, never rising.
    """

    x_t: Tensor
    prediction: Prediction
    losses: Tensor


def cohere(
    denoiser: Denoiser,
    schedule: Schedule,
    i: int,
    x_t: Tensor,
    image: Tensor,
    known: Tensor,
    settings: CoPaintSettings,
) -> Optimum:
    """The optimisation before the step from index i: x_t moved until f(x_t) agrees with the known pixels."""
    rate, prior_weight = settings.weights(schedule, i)
    objective = Objective(denoiser, int(schedule.timesteps[i]), image, known, x_t, prior_weight)
    return optimise(objective, rate, settings)


def optimise(objective: Objective, rate: float, settings: CoPaintSettings) -> Optimum:
    """G gradient steps on each image by itself, each one shortened until it does not raise the loss.

    The graph of an accepted trial also gives the next gradient: an image costs 1 + G network calls, plus
    one for each rejected trial. A rate once shortened stays short for the image's remaining gradient steps.

    Args:
        objective: L.
        rate: of the first trial, for all images.
        settings: G and the line search.
    """
    G = settings.gradient_steps
    best = _Best.at(objective, with_gradient=G > 0)
    rates = torch.full_like(best.loss, rate).reshape(-1, 1, 1, 1)
    losses = [best.loss.clone()]
    for g in range(G):
        _line_search(objective, best, rates, settings, with_gradient=g + 1 < G)
        losses.append(best.loss.clone())
    return Optimum(best.x, Prediction(best.x_0, best.epsilon), torch.stack(losses))


def _line_search(
    objective: Objective, best: "_Best", rates: Tensor, settings: CoPaintSettings, with_gradient: bool
) -> None:
    """Move each image once against its gradient, or not at all if even the shortest step raises the loss."""
    rows = best.gradient.flatten(1).isfinite().all(1).nonzero()[:, 0]
    for _ in range(1 + settings.max_backtracks):
        if len(rows) == 0:
            return
        trial = best.x[rows] - rates[rows] * best.gradient[rows]
        rows = best.accept(objective, trial, rows, with_gradient)
        rates[rows] *= settings.backtrack


@dataclass
class _Best:
    """The best point found for each image, all values and no graph: (B, C, H, W), the loss (B,)."""

    x: Tensor
    x_0: Tensor
    epsilon: Tensor
    gradient: Tensor
    loss: Tensor

    @classmethod
    def at(cls, objective: Objective, with_gradient: bool) -> "_Best":
        """The start: x_orig itself."""
        nothing = torch.full_like(objective.origin, torch.nan)
        x, x_0, epsilon, gradient = (nothing.clone() for _ in range(4))
        best = cls(x, x_0, epsilon, gradient, nothing.flatten(1)[:, 0].clone())
        rows = torch.arange(len(nothing), device=nothing.device)
        best.accept(objective, objective.origin, rows, with_gradient)
        return best

    def accept(self, objective: Objective, x: Tensor, rows: Tensor, with_gradient: bool) -> Tensor:
        """Take over those of the candidates x (b, C, H, W) for images `rows` (b,) that do not raise the loss.

        Returns:
            The rows that were rejected. Where there is no loss yet (NaN), nothing is.
        """
        with torch.set_grad_enabled(with_gradient):
            x = x.detach().requires_grad_(with_gradient)
            loss, prediction = objective(x, rows)
            good = (loss.isfinite() & (loss <= self.loss[rows])) | self.loss[rows].isnan()
            total = loss[good].sum()
        taken = rows[good]
        if with_gradient and len(taken) > 0:
            (gradient,) = torch.autograd.grad(total, x)
            self.gradient[taken] = gradient[good]
        self.x[taken], self.loss[taken] = x.detach()[good], loss.detach()[good]
        self.x_0[taken] = prediction.x_0.detach()[good]
        self.epsilon[taken] = prediction.epsilon.detach()[good]
        return rows[~good]
