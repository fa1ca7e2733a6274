import math

import pytest
import torch

from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.samplers import SAMPLERS, ddim, get_sampler, replacement
from tiramisu_edu.diffusion.samplers.step import standard_normal
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import ImageError, TiramisuError

T = 6
ALL = pytest.mark.parametrize("name", sorted(SAMPLERS))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def denoiser(smooth_denoiser):
    return smooth_denoiser()


@pytest.fixture
def image():
    return torch.rand(3, 1, 4, 4, generator=seeded(5)) * 2 - 1


@pytest.fixture
def known():
    mask = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    mask[:, :, :2], mask[1, :, 3] = True, True
    return mask


@pytest.fixture
def sample(denoiser, image, known):
    """Sample with everything at its default but what the test is about."""

    def run(name, **changes):
        arguments = {"image": image, "known": known, "generator": seeded()} | changes
        schedule = denoiser.schedule.respace(arguments.pop("steps", T))
        return SAMPLERS[name](denoiser, schedule, arguments.pop("image"), arguments.pop("known"), **arguments)

    return run


@ALL
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_known_pixels_are_exact_and_the_rest_is_an_image(sample, image, known, name, eta):
    out = sample(name, eta=eta)
    assert out.shape == image.shape and out.dtype == image.dtype and not out.requires_grad
    assert torch.equal(out[known], image[known])
    assert out.isfinite().all() and out.abs().max() <= 1 and not torch.allclose(out[~known], image[~known])


@ALL
@pytest.mark.parametrize("hidden", [0.3, -7.0, math.nan])
def test_hidden_pixels_do_not_leak(sample, image, known, name, hidden):
    assert torch.equal(sample(name), sample(name, image=torch.where(known, image, hidden)))


@ALL
def test_the_seed_decides_everything(sample, known, name):
    first, again, other = sample(name, eta=0.5), sample(name, eta=0.5), sample(name, eta=0.5, generator=seeded(1))
    assert torch.equal(first, again) and not torch.allclose(first[~known], other[~known])


@ALL
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_a_guide_that_changes_nothing_changes_nothing(sample, name, eta):
    guided = sample(name, eta=eta, guide=lambda step: step.prediction.x_0)
    assert torch.equal(sample(name, eta=eta), guided)


@ALL
def test_noise_does_not_depend_on_the_guide(sample, name):
    """A guide that draws and even reseeds torch's global state leaves the sampler's own noise as it is."""

    def restless(step):
        torch.manual_seed(step.index)
        torch.rand(7)
        return step.prediction.x_0.clone()

    assert torch.equal(sample(name, eta=1.0, guide=restless), sample(name, eta=1.0))


@ALL
def test_a_guide_steers(sample, known, name):
    """Guided to a constant at the last step, which jumps to the clean image, the sample is that constant."""
    out = sample(name, guide=lambda step: torch.full_like(step.x_t, 0.25))
    assert (out[~known] == 0.25).all()


@ALL
def test_what_guide_and_callback_see(sample, denoiser, image, known, name):
    seen, called = [], []

    def guide(step):
        seen.append(step)
        return step.prediction.x_0 / 2

    sample(name, guide=guide, callback=lambda step, x_0, x_next: called.append((step, x_0, x_next)))
    schedule = denoiser.schedule.respace(T)
    assert [step.index for step in seen] == list(reversed(range(T)))
    for step, (same, x_0, x_next) in zip(seen, called):
        assert step is same and step.num_steps == T and math.isnan(step.variance)
        assert step.alpha_bar == float(schedule.alpha_bar[step.index])
        assert torch.equal(step.image, image * known) and torch.equal(step.known, known)
        assert not step.x_t.requires_grad and not step.prediction.x_0.requires_grad
        expected = denoiser(step.x_t, int(schedule.timesteps[step.index]))
        assert torch.allclose(step.prediction.x_0, expected.x_0, atol=1e-5)
        assert torch.allclose(step.prediction.epsilon, expected.epsilon, atol=1e-5)
        assert torch.equal(x_0, step.prediction.x_0 / 2)
        assert torch.equal(x_next, schedule.ddim_step(step.x_t, x_0, step.prediction.epsilon, step.index))


@ALL
def test_calibrated_variance_reaches_the_guide(denoiser, image, known, name):
    table = torch.linspace(0.01, 0.3, 1000, dtype=torch.float64)
    schedule = denoiser.schedule.with_residual_variance(table).respace(3)
    seen = []
    SAMPLERS[name](
        denoiser, schedule, image, known, generator=seeded(), callback=lambda step, *_: seen.append(step.variance)
    )
    assert seen == [pytest.approx(0.3), float(table[500]), pytest.approx(0.01)]


@ALL
def test_one_generator_for_each_image(sample, image, known, name):
    """Each image is then the one it would be alone."""
    together = sample(name, eta=0.5, generator=[seeded(b) for b in range(3)])
    for b in range(3):
        alone = sample(name, eta=0.5, image=image[b : b + 1], known=known[b : b + 1], generator=seeded(b))
        assert torch.allclose(together[b : b + 1], alone, atol=1e-5)


@ALL
def test_masks_broadcast(sample, known, name):
    full, flat = known[:1].expand(3, 1, 4, 4), known[0, 0]
    assert torch.equal(sample(name, known=full), sample(name, known=flat))


@ALL
def test_nothing_known(sample, known, name):
    """There is nothing to look at, so all samplers are DDIM."""
    nothing = torch.zeros_like(known)
    assert torch.equal(sample(name, known=nothing), sample("ddim", known=nothing))
    assert torch.equal(sample(name, known=nothing, steps=1), sample("ddim", known=nothing, steps=1))


@ALL
def test_weights_that_could_be_trained_get_no_gradient(sample, denoiser, name):
    denoiser.requires_grad_(True)
    assert not sample(name).requires_grad
    assert all(p.grad is None for p in denoiser.parameters())


@ALL
def test_bad_arguments(sample, denoiser, image, known, name):
    with pytest.raises(ImageError, match="known must be bool"):
        sample(name, known=known.float())
    with pytest.raises(ImageError, match="does not fit"):
        sample(name, known=known[:, :, :3])
    with pytest.raises(ImageError, match="does not fit"):
        sample(name, known=known[0].expand(2, 3, 1, 4, 4))
    with pytest.raises(ImageError, match=r"expected float images \(B, C, H, W\)"):
        sample(name, image=image[0])
    with pytest.raises(ImageError, match=r"in \[-1, 1\]"):
        sample(name, image=image * math.nan)
    with pytest.raises(TiramisuError, match="2 generators for 3 images"):
        sample(name, generator=[seeded(), seeded()])
    with pytest.raises(TiramisuError, match=r"guide returned \(1,\)"):
        sample(name, guide=lambda step: torch.zeros(1))
    for schedule in (Schedule.linear().respace(3), Schedule.cosine(2000).respace(3)):
        with pytest.raises(TiramisuError, match="not one of this denoiser's"):
            SAMPLERS[name](denoiser, schedule, image, known, generator=seeded())


def test_registry():
    assert get_sampler("ddim") is ddim
    with pytest.raises(TiramisuError, match="expected ddim, replacement, copaint"):
        get_sampler("magic")


def test_a_generator_for_each_image_draws_what_it_would_alone():
    like = torch.empty(2, 1, 3, 3, dtype=torch.float64)
    noise = standard_normal(like, [seeded(3), seeded(4)])
    assert noise.dtype == torch.float64
    assert torch.equal(noise[1:], standard_normal(like[1:], seeded(4)))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_samples_a_gaussian(gaussian_denoiser, eta):
    """With the exact denoiser of N(0.1, 0.2²), samples have that mean and deviation: 4 sigma of 4000 pixels."""
    denoiser = gaussian_denoiser()
    image = torch.zeros(250, 1, 4, 4)
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    out = ddim(denoiser, denoiser.schedule.respace(250), image, nothing, generator=seeded(), eta=eta)
    assert out.mean().item() == pytest.approx(0.1, abs=4 * 0.2 / math.sqrt(4000))
    assert out.std().item() == pytest.approx(0.2, abs=0.003 + 4 * 0.2 / math.sqrt(8000))


def test_ddim_converges_to_the_exact_map(gaussian_denoiser):
    """The deterministic sampler carries noise z to 0.1 + 0.2 z, the closer the more steps there are."""
    denoiser = gaussian_denoiser()
    z = standard_normal(torch.empty(20, 1, 4, 4), seeded())
    nothing = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    errors = []
    for steps in (10, 40, 160):
        out = ddim(denoiser, denoiser.schedule.respace(steps), torch.zeros_like(z), nothing, generator=seeded())
        errors.append((out - (0.1 + 0.2 * z)).abs().max().item())
    assert errors[0] > 3 * errors[1] and errors[1] > 3 * errors[2] and errors[2] < 0.02


class Pairs(torch.nn.Module):
    """E[x_0 | x_t] for two pixels that are N(0, 0.3²) with correlation 0.9."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.covariance = schedule, 0.09 * torch.tensor([[1.0, 0.9], [0.9, 1.0]])

    def forward(self, x, t):
        alpha_bar = float(self.schedule.alpha_bar[int(t[0])])
        noisy = alpha_bar * self.covariance + (1 - alpha_bar) * torch.eye(2)
        gain = math.sqrt(alpha_bar) * torch.linalg.solve(noisy, self.covariance)
        return x @ gain


@pytest.mark.parametrize(("name", "eta"), [("replacement", 1.0), ("copaint", 0.0)])
def test_hidden_pixels_follow_known_ones(name, eta):
    """The exact mean of the hidden pixel is 0.9 y = 0.45. Plain DDIM ignores y; these samplers go towards it."""
    schedule = Schedule.cosine()
    denoiser = Denoiser(Pairs(schedule), schedule, "sample")
    image, known = torch.full((200, 1, 1, 2), 0.5), torch.tensor([True, False])
    means = {}
    for sampler, e in ((name, eta), ("ddim", eta)):
        out = SAMPLERS[sampler](denoiser, schedule.respace(50), image, known, generator=seeded(), eta=e)
        means[sampler] = out[..., 1].mean().item()
    assert abs(means["ddim"]) < 0.08 and means[name] > 0.2


def test_replacement_injects_known_pixels_at_the_level_of_the_step(denoiser, image):
    """What is added to sqrt(ᾱ) y is sqrt(1 - ᾱ) times a standard normal: 4 sigma of 4000 pixels at each step."""
    steps = []
    images, known = image[:1].expand(500, 1, 4, 4), torch.ones(4, 4, dtype=torch.bool)
    known[2:] = False
    schedule = denoiser.schedule.respace(T)
    replacement(denoiser, schedule, images, known, generator=seeded(), callback=lambda step, *_: steps.append(step))
    for step in steps:
        noise = (step.x_t - math.sqrt(step.alpha_bar) * images)[..., :2, :] / math.sqrt(1 - step.alpha_bar)
        assert abs(noise.mean().item()) < 4 / math.sqrt(4000)
        assert noise.std().item() == pytest.approx(1, abs=4 / math.sqrt(8000))
