"""The noise schedule: how much of the clean image is left at each step, and what follows from that.

The forward process turns a clean image x_0 into noise, q(x_t | x_0) = N(sqrt(ᾱ_t) x_0, (1 - ᾱ_t) I). A
schedule is nothing but the table ᾱ_0 > ᾱ_1 > … (index 0 is the cleanest) and, for each entry, the number that
the network was trained to read as its time. Tables are float64. Images keep their own dtype and device.
"""

import math
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from ..checks import instance
from ..errors import TiramisuError


@dataclass(frozen=True, eq=False)
class Schedule:
    """Signal levels ᾱ of T steps, from the cleanest (index 0) to the noisiest (index T - 1).

    Attributes:
        alpha_bar: (T,) float64, strictly falling, inside (0, 1).
        timesteps: (T,) long, strictly rising: what the network is fed at each index.
        residual_variance: (T,) float64, Var[x_0 | x_t] per pixel as calibrated for one denoiser
            (`calibration.calibrate_residual_variance`), or None.
    """

    alpha_bar: Tensor
    timesteps: Tensor
    residual_variance: Tensor | None = None

    def __post_init__(self) -> None:
        _check_tables(self.alpha_bar, self.timesteps, self.residual_variance)

    @classmethod
    def linear(cls, N: int = 1000) -> "Schedule":
        """β rises linearly from 1e-4 to 0.02 over N = 1000 steps; other N scale β by 1000 / N.

        Source: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", section 4.

        Raises:
            TiramisuError: N < 21, where β would reach 1.
        """
        if not isinstance(N, Integral) or N < 21:
            raise TiramisuError(f"a linear schedule has no {N} steps: take linear(1000).respace({N})")
        return cls.from_beta(torch.linspace(1e-4, 0.02, N, dtype=torch.float64) * (1000 / N))

    @classmethod
    def cosine(cls, N: int = 1000) -> "Schedule":
        """ᾱ follows cos²((t/N + 0.008) / 1.008 · π/2), with each β held below 0.999.

        Source: Nichol, Dhariwal, "Improved Denoising Diffusion Probabilistic Models", equation 17.

        Raises:
            TiramisuError: N is not a whole number of at least 1.
        """
        if not isinstance(N, Integral) or N < 1:
            raise TiramisuError(f"a cosine schedule has no {N} steps: give a whole number of at least 1")
        level = torch.cos((torch.arange(N + 1, dtype=torch.float64) / N + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls.from_beta((1 - level[1:] / level[:-1]).clamp(max=0.999))

    @classmethod
    def from_beta(cls, beta: Tensor) -> "Schedule":
        """ᾱ_t = (1 - β_1) … (1 - β_t), for β (T,) float64."""
        return cls(torch.cumprod(1 - beta, 0), torch.arange(len(beta)))

    def __len__(self) -> int:
        return len(self.alpha_bar)

    def __repr__(self) -> str:
        calibrated = "calibrated" if self.residual_variance is not None else "not calibrated"
        noisiest, cleanest = float(self.alpha_bar[-1]), float(self.alpha_bar[0])
        return f"Schedule(T={len(self)}, alpha_bar {cleanest:.6g} to {noisiest:.3g}, {calibrated})"

    @property
    def alpha_bar_previous(self) -> Tensor:
        """(T,) ᾱ of the next cleaner index; 1, the clean image itself, before index 0."""
        return torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar[:-1]])

    @property
    def beta(self) -> Tensor:
        """(T,) β_t = 1 - ᾱ_t / ᾱ_{t-1}, variance that one step of the forward process adds."""
        return 1 - self.alpha_bar / self.alpha_bar_previous

    @property
    def posterior_variance(self) -> Tensor:
        """(T,) Var[x_{t-1} | x_t, x_0] = β_t (1 - ᾱ_{t-1}) / (1 - ᾱ_t); 0 at index 0."""
        return self.beta * (1 - self.alpha_bar_previous) / (1 - self.alpha_bar)

    @property
    def log_snr(self) -> Tensor:
        """(T,) log of the signal-to-noise ratio ᾱ_t / (1 - ᾱ_t), strictly falling."""
        return torch.log(self.alpha_bar) - torch.log1p(-self.alpha_bar)

    def respace(self, T: int) -> "Schedule":
        """T of these N steps, evenly spread, both ends included: s(t) = round(t (N - 1) / (T - 1)).

        T = 1 keeps the noisiest step only. The network is still fed its original times, and a calibrated
        residual variance goes along.

        Raises:
            TiramisuError: T is not a whole number in 1 … N.
        """
        N = len(self)
        if not isinstance(T, Integral) or not 1 <= T <= N:
            raise TiramisuError(f"cannot take {T} steps of a schedule of {N}: choose 1 to {N}")
        evenly = torch.arange(T, dtype=torch.float64) * (N - 1) / max(T - 1, 1)
        kept = torch.tensor([N - 1]) if T == 1 else evenly.round().long()
        variance = None if self.residual_variance is None else self.residual_variance[kept]
        return Schedule(self.alpha_bar[kept], self.timesteps[kept], variance)

    def with_residual_variance(self, residual_variance: Tensor | None) -> "Schedule":
        """The same schedule with another calibration, (T,) positive."""
        return replace(self, residual_variance=residual_variance)

    def add_noise(self, x_0: Tensor, i: int | Tensor, noise: Tensor) -> Tensor:
        """One draw of q(x_t | x_0): sqrt(ᾱ_i) x_0 + sqrt(1 - ᾱ_i) noise.

        Args:
            x_0: (B, C, H, W) clean images.
            i: index into this schedule, or (B,) long with one index per image.
            noise: (B, C, H, W) standard normal.
        """
        signal, spread = signal_and_noise(self.alpha_bar, i, x_0)
        return signal * x_0 + spread * noise

    def posterior(self, x_0: Tensor, x_t: Tensor, i: int) -> tuple[Tensor, float]:
        """q(x_{t-1} | x_t, x_0): its mean c_1 x_0 + c_2 x_t, (B, C, H, W), and its variance.

            c_1 = β_t sqrt(ᾱ_{t-1}) / (1 - ᾱ_t),   c_2 = (1 - ᾱ_{t-1}) sqrt(1 - β_t) / (1 - ᾱ_t)

        At index 0 the mean is x_0 and the variance 0.
        """
        now, previous = self._levels(i)
        beta = 1 - now / previous
        c_1 = beta * math.sqrt(previous) / (1 - now)
        c_2 = (1 - previous) * math.sqrt(1 - beta) / (1 - now)
        return c_1 * x_0 + c_2 * x_t, beta * (1 - previous) / (1 - now)

    def ddpm_step(
        self, x_t: Tensor, x_0: Tensor, i: int, noise: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        """From index i to i - 1 by a draw of the posterior q(x_{t-1} | x_t, x_0); from index 0 to x_0 itself.

        The same as a DDIM step with eta = 1 and consistent ε. With a learned share s the draw has the variance
        β̃^(1 - s) β^s, between the posterior's β̃ and β.

        Args:
            x_t, x_0, noise: (B, C, H, W); noise is needed when i > 0.
            i: index into this schedule.
            share: s, (B, C, H, W), as in `Prediction`.

        Source: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", equation 7; the share is from Nichol,
        Dhariwal, "Improved Denoising Diffusion Probabilistic Models", equation 15.
        """
        mean, variance = self.posterior(x_0, x_t, i)
        if variance == 0:
            return mean
        if noise is None:
            raise TiramisuError("a DDPM step needs noise: pass standard normal of x_t's shape")
        if share is None:
            return mean + math.sqrt(variance) * noise
        now, previous = self._levels(i)
        low, high = math.log(variance), math.log(1 - now / previous)
        return mean + torch.exp((low + (high - low) * share) / 2) * noise

    def renoise(self, x_t: Tensor, i: int, noise: Tensor) -> Tensor:
        """From index i up to i + 1, one step of the forward process: sqrt(1 - β) x_t + sqrt(β) noise, β at i + 1."""
        beta = 1 - float(self.alpha_bar[i + 1]) / float(self.alpha_bar[i])
        return math.sqrt(1 - beta) * x_t + math.sqrt(beta) * noise

    def ddim_step(
        self,
        x_t: Tensor,
        x_0: Tensor,
        epsilon: Tensor | None,
        i: int,
        eta: float = 0.0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """From index i to i - 1; from index 0 straight to the clean image.

            σ = η sqrt((1 - ᾱ_{t-1}) / (1 - ᾱ_t)) sqrt(1 - ᾱ_t / ᾱ_{t-1})
            x_{t-1} = sqrt(ᾱ_{t-1}) x_0 + sqrt(1 - ᾱ_{t-1} - σ²) ε + σ noise

        Args:
            x_t: (B, C, H, W) noisy images at index i.
            x_0: (B, C, H, W) predicted clean images, possibly clipped or replaced by a guide.
            epsilon: (B, C, H, W) the network's raw noise prediction, which is not made consistent with a
                changed x_0. None computes the consistent one, (x_t - sqrt(ᾱ_t) x_0) / sqrt(1 - ᾱ_t).
            i: index into this schedule.
            eta: 0 is deterministic, 1 has the variance of the posterior.
            noise: (B, C, H, W) standard normal; needed when eta > 0 and i > 0.

        Returns:
            (B, C, H, W) at index i - 1. At i = 0 this is x_0: the jump to ᾱ = 1 leaves no noise behind.
            Published code often stops at index 0 instead, harmless for 250 steps and visible for 25.

        Source: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", equations 12 and 16.
        """
        if i == 0:
            return x_0
        now, previous = self._levels(i)
        if epsilon is None:
            epsilon = (x_t - math.sqrt(now) * x_0) / math.sqrt(1 - now)
        sigma = eta * math.sqrt((1 - previous) / (1 - now)) * math.sqrt(1 - now / previous)
        x_next = math.sqrt(previous) * x_0 + math.sqrt(1 - previous - sigma**2) * epsilon
        if sigma == 0:
            return x_next
        if noise is None:
            raise TiramisuError(f"a DDIM step with eta={eta} needs noise: pass standard normal of x_t's shape")
        return x_next + sigma * noise

    def levels_after(self, i: int) -> tuple[float, float]:
        """sqrt(ᾱ_{t-1}) and sqrt(1 - ᾱ_{t-1}): signal and noise after the step from index i; 1 and 0 after the last."""
        _, previous = self._levels(i)
        return math.sqrt(previous), math.sqrt(1 - previous)

    def _levels(self, i: int) -> tuple[float, float]:
        """ᾱ at index i and at the next cleaner one."""
        return float(self.alpha_bar[i]), float(self.alpha_bar[i - 1]) if i > 0 else 1.0


def signal_and_noise(alpha_bar: Tensor, i: int | Tensor, like: Tensor) -> tuple[Any, Any]:
    """sqrt(ᾱ_i) and sqrt(1 - ᾱ_i), ready to multiply images `like` (B, C, H, W).

    Two floats for an int; for (B,) indices two (B, 1, 1, 1) tensors in the dtype and on the device of the
    images. The square roots are taken in float64, where 1 - ᾱ has not yet lost its digits.
    """
    if isinstance(i, int):
        return math.sqrt(float(alpha_bar[i])), math.sqrt(1 - float(alpha_bar[i]))
    tables = torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()]).to(like.dtype).to(like.device)
    signal, spread = tables[:, i.to(like.device)].reshape(2, -1, *[1] * (like.ndim - 1))
    return signal, spread


def jump_schedule(T: int, length: int, repeats: int) -> list[int]:
    """The indices that a sampler with time travel visits: T - 1 down to -1, the clean image, with jumps back.

        jump_schedule(5, length=2, repeats=2)  ->  [4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0, -1]

    On arriving at each of the indices 0, length, 2 length, … below T - length for the first repeats - 1 times, it
    climbs `length` indices by renoising. So each stretch is denoised `repeats` times; repeats = 1 is a plain descent.

    Source: Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models", appendix B.
    """
    left = dict.fromkeys(range(0, T - length, length), repeats - 1)
    indices = [T - 1]
    while indices[-1] >= 0:
        here = indices[-1]
        if left.get(here, 0) > 0:
            left[here] -= 1
            indices += range(here + 1, here + length + 1)
        else:
            indices.append(here - 1)
    return indices


def _check_tables(alpha_bar: Tensor, timesteps: Tensor, residual_variance: Tensor | None) -> None:
    instance("alpha_bar", alpha_bar, Tensor)
    instance("timesteps", timesteps, Tensor)
    instance("residual_variance", residual_variance, Tensor, type(None))
    if alpha_bar.ndim != 1 or len(alpha_bar) == 0 or alpha_bar.dtype != torch.float64:
        found = f"{alpha_bar.dtype} {tuple(alpha_bar.shape)}"
        raise TiramisuError(f"alpha_bar must be float64 of shape (T,), T >= 1; got {found}")
    inside = bool(((alpha_bar > 0) & (alpha_bar < 1)).all())
    if not inside or not bool((alpha_bar.diff() < 0).all()):
        raise TiramisuError("alpha_bar must fall strictly from index 0 on, and stay between 0 and 1")
    if timesteps.dtype != torch.long or timesteps.shape != alpha_bar.shape or (timesteps.diff() <= 0).any():
        raise TiramisuError(f"timesteps must be long, strictly rising, of shape {tuple(alpha_bar.shape)}")
    r = residual_variance
    if r is not None and (r.shape != alpha_bar.shape or not bool(((r > 0) & r.isfinite()).all())):
        raise TiramisuError(f"residual_variance must be positive, of shape {tuple(alpha_bar.shape)}")
