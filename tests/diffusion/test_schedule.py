import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiramisu_edu.diffusion.pretrained import read_schedule
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import TiramisuError


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_respacing_table():
    """The values printed in the literature for 250 of 1000 linear steps."""
    s = Schedule.linear().respace(250)
    assert s.timesteps[:3].tolist() == [0, 4, 8] and s.timesteps[-2:].tolist() == [995, 999]
    rows = {249: (4.04e-5, 0.0775, 7.75e-2), 226: (2.38e-4, 0.0706, 7.06e-2), 201: (1.37e-3, 0.0630, 6.30e-2)}
    rows |= {150: (2.50e-2, 0.0474, 4.73e-2), 100: (0.192, 0.0318, 3.16e-2), 50: (0.654, 0.0162, 1.57e-2)}
    rows |= {20: (0.930, 0.0066, 6.05e-3), 5: (0.994, 0.0019, 1.32e-3)}
    for t, (alpha_bar, beta, variance) in rows.items():
        found = (s.alpha_bar[t].item(), s.beta[t].item(), s.posterior_variance[t].item())
        assert found == pytest.approx((alpha_bar, beta, variance), rel=0.03), t
    assert s.alpha_bar[0].item() == pytest.approx(0.9999)


@given(T=st.integers(1, 60), N=st.integers(60, 200))
def test_respacing_keeps_both_ends(T, N):
    s = Schedule.cosine(N).with_residual_variance(torch.arange(1, N + 1, dtype=torch.float64)).respace(T)
    assert len(s) == T and s.timesteps[-1] == N - 1 and (T == 1 or s.timesteps[0] == 0)
    assert torch.equal(s.residual_variance, s.timesteps + 1.0)


@pytest.mark.parametrize("T", [0, -1, 11, 2.5, "5"])
def test_respacing_out_of_range(T):
    with pytest.raises(TiramisuError, match="choose 1 to 10"):
        Schedule.cosine(10).respace(T)


@pytest.mark.parametrize("i", [0, 1, 5, 9])
def test_posterior_is_the_product_of_two_gaussians(i):
    """q(x_{t-1} | x_t, x_0) on a grid: q(x_{t-1} | x_0) q(x_t | x_{t-1}), normalised numerically."""
    s = Schedule.linear().respace(10)
    x_0, x_t = torch.tensor(0.7, dtype=torch.float64), torch.tensor(-0.4, dtype=torch.float64)
    mean, variance = s.posterior(x_0, x_t, i)
    if i == 0:
        assert mean == x_0 and variance == 0
        return
    before, beta = s.alpha_bar[i - 1], s.beta[i]
    grid = torch.linspace(-8, 8, 400_001, dtype=torch.float64)
    log_density = -((grid - before.sqrt() * x_0) ** 2) / (2 * (1 - before))
    log_density = log_density - (x_t - (1 - beta).sqrt() * grid) ** 2 / (2 * beta)
    p = torch.softmax(log_density, 0)
    brute_mean = (p * grid).sum()
    assert mean.item() == pytest.approx(brute_mean.item(), abs=1e-9)
    assert variance == pytest.approx((p * (grid - brute_mean) ** 2).sum().item(), rel=1e-6)
    assert variance == pytest.approx(s.posterior_variance[i].item(), rel=1e-12)


@pytest.mark.parametrize("make", [Schedule.linear, Schedule.cosine])
def test_ddim_with_a_perfect_epsilon_recovers_x_0(make):
    s = make().respace(7)
    x_0, noise = normal(2, 1, 3, 3), normal(2, 1, 3, 3, seed=1)
    x_t = s.add_noise(x_0, 6, noise)
    for i in reversed(range(7)):
        assert torch.allclose(x_t, s.add_noise(x_0, i, noise), atol=1e-12)
        x_t = s.ddim_step(x_t, x_0, None if i % 2 else noise, i)
    assert torch.equal(x_t, x_0)


@pytest.mark.parametrize("i", [1, 4, 9])
def test_ddim_with_eta_1_is_the_posterior(i):
    """Same mean, and the noise enters with exactly the posterior's standard deviation."""
    s = Schedule.cosine().respace(10)
    x_0, x_t, noise = normal(1, 1, 2, 2), normal(1, 1, 2, 2, seed=1), normal(1, 1, 2, 2, seed=2)
    mean, variance = s.posterior(x_0, x_t, i)
    x_next = s.ddim_step(x_t, x_0, None, i, eta=1.0, noise=noise)
    assert torch.allclose(x_next, mean + math.sqrt(variance) * noise, atol=1e-12)


def test_ddim_needs_noise_only_when_it_uses_it():
    s = Schedule.linear().respace(3)
    x = normal(1, 1, 2, 2)
    assert torch.equal(s.ddim_step(x, x, x, 0, eta=1.0), x)
    with pytest.raises(TiramisuError, match="needs noise"):
        s.ddim_step(x, x, x, 1, eta=0.5)


def test_add_noise_takes_one_index_per_image_and_keeps_the_dtype():
    s = Schedule.linear()
    x_0, noise = normal(3, 1, 2, 2), normal(3, 1, 2, 2, seed=1)
    i = torch.tensor([0, 500, 999])
    together = s.add_noise(x_0, i, noise)
    for b in range(3):
        assert torch.allclose(together[b], s.add_noise(x_0, int(i[b]), noise)[b], atol=1e-15)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert s.add_noise(x_0.to(dtype), i, noise.to(dtype)).dtype == dtype
        assert s.add_noise(x_0.to(dtype), 3, noise.to(dtype)).dtype == dtype


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_schedules_of_diffusers(name, zero_snr):
    from diffusers import EulerDiscreteScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    kind = EulerDiscreteScheduler if zero_snr and name not in ("sigmoid", "laplace") else DDPMScheduler
    settings = {"num_train_timesteps": 300, "beta_start": 1e-3, "beta_end": 0.03, "beta_schedule": name}
    scheduler = kind(**settings, prediction_type="v_prediction", rescale_betas_zero_snr=zero_snr)
    s = read_schedule("m", scheduler.config)
    atol = 1e-7 if kind is DDPMScheduler and zero_snr else 1e-8  # diffusers has 0 there, and not just above
    assert torch.allclose(s.alpha_bar.float(), scheduler.alphas_cumprod, rtol=2e-4, atol=atol)


def test_schedules_of_diffusers_with_trained_betas():
    s = read_schedule("m", {"trained_betas": [0.1, 0.2]})
    assert s.alpha_bar.tolist() == pytest.approx([0.9, 0.72])


@pytest.mark.parametrize(
    "config",
    [{"beta_schedule": "sine"}, {"trained_betas": []}, {"beta_schedule": "linear", "rescale_betas_zero_snr": True}],
)
def test_schedules_that_are_refused(config):
    with pytest.raises(TiramisuError, match=r"sine|alpha_bar|zero_snr"):
        read_schedule("m", config)


def test_wrong_tables():
    good = torch.tensor([0.9, 0.5], dtype=torch.float64)
    steps = torch.tensor([0, 1])
    for alpha_bar in (good.float(), good.flip(0), good * 2, good[:0], good - 0.5, good.log()):
        with pytest.raises(TiramisuError, match="alpha_bar"):
            Schedule(alpha_bar, steps)
    for timesteps in (steps.flip(0), steps.int(), torch.arange(3)):
        with pytest.raises(TiramisuError, match="timesteps"):
            Schedule(good, timesteps)
    for variance in (good - 0.5, good[:1], good * math.nan):
        with pytest.raises(TiramisuError, match="residual_variance"):
            Schedule(good, steps, variance)


def test_a_linear_schedule_is_not_made_too_short():
    assert len(Schedule.linear(21)) == 21
    with pytest.raises(TiramisuError, match=r"linear\(1000\)\.respace\(20\)"):
        Schedule.linear(20)


def test_repr_and_log_snr():
    s = Schedule.cosine().respace(25)
    assert "T=25" in repr(s) and "not calibrated" in repr(s)
    assert torch.allclose(torch.sigmoid(s.log_snr), s.alpha_bar, rtol=1e-12)
