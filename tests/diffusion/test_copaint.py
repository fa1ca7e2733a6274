import pytest
import torch

from tiramisu_edu.diffusion.copaint import Descent
from tiramisu_edu.diffusion.samplers import copaint, ddim
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.diffusion.walk import Walk

INDEX, PRIOR = 400, 1e-2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(denoiser, B=4, rows=slice(None)):
    """A walk along the full schedule, and noisy images to move at one of its indices."""
    image = torch.rand(B, 1, 4, 4, generator=seeded(1), dtype=torch.float64) * 2 - 1
    known = torch.rand(B, 1, 4, 4, generator=seeded(2)) < 0.5
    x_t = torch.randn(B, 1, 4, 4, generator=seeded(3), dtype=torch.float64)
    return Walk(denoiser, denoiser.schedule, image[rows], known[rows], generator=seeded()), x_t[rows]


def descend(walk, x_t, rate, gradient_steps=2, limits=None, **options):
    """Where a descent leads with this rate and weight at INDEX itself."""
    now, _ = Descent(rate=1.0).weights(walk.schedule, INDEX)
    descent = Descent(gradient_steps, rate / now, prior_weight=PRIOR, prior_growth=1.0, **options)
    return descent(walk, x_t, INDEX, descent.limits(walk) if limits is None else limits)


def loss(walk, x, origin):
    """L(x) = |m (y - f(x, t))|² + λ |x - x_orig|², (B,)."""
    mismatch = torch.where(walk.known, walk.image - walk.denoiser(x, INDEX).x_0, 0)
    return mismatch.square().flatten(1).sum(1) + PRIOR * (x - origin).square().flatten(1).sum(1)


def test_published_rates():
    """Rates of the published 250-step run, and the same range for any length."""
    schedule, published = Schedule.linear().respace(250), Descent()
    rates = {249: 1.27e-4, 226: 4.06e-4, 201: 1.31e-3, 150: 1.03e-2, 50: 0.17, 5: 0.37}
    for i, rate in rates.items():
        assert published.weights(schedule, i)[0] == pytest.approx(rate, rel=0.03)
        assert published.weights(schedule, i)[1] == pytest.approx(1e-4 * 1.01 ** (249 - i))
    for T in (2, 25):
        short = Schedule.linear().respace(T)
        for i in (0, -1):
            assert published.weights(short, i % T) == pytest.approx(published.weights(schedule, i % 250))


@torch.no_grad()
def test_one_step_is_the_gradient_step(smooth_denoiser):
    """Without a rejection x moves by rate times the gradient of the loss, taken here by finite differences."""
    walk, x_t = problem(smooth_denoiser(dtype=torch.float64), B=1)
    rate, h = 1e-3, 1e-6
    moved = descend(walk, x_t, rate, 1)[0] - x_t
    for pixel in (0, 5, 15):
        shift = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
        shift.view(-1)[pixel] = h
        slope = (loss(walk, x_t + shift, x_t) - loss(walk, x_t - shift, x_t)) / (2 * h)
        assert moved.view(-1)[pixel].item() == pytest.approx(-rate * slope.item(), abs=1e-9)


@pytest.mark.parametrize("rate", [1e-3, 0.3, 30.0, 1e6])
@torch.no_grad()
def test_the_loss_never_rises(smooth_denoiser, rate):
    walk, origin = problem(smooth_denoiser(dtype=torch.float64))
    losses = []
    for G in range(6):
        x_t, prediction = descend(walk, origin, rate, G)
        losses.append(loss(walk, x_t, origin))
        same = walk.denoiser(x_t, INDEX)
        assert torch.allclose(same.x_0, prediction.x_0) and torch.allclose(same.epsilon, prediction.epsilon)
        assert not (x_t.requires_grad or prediction.x_0.requires_grad)
    losses = torch.stack(losses)
    assert (losses.diff(dim=0) <= 1e-12).all() and (losses[-1] < losses[0]).any()


@pytest.mark.parametrize("rate", [0.3, 30.0])
@torch.no_grad()
def test_images_do_not_influence_each_other(smooth_denoiser, rate):
    """Each image of a batch ends where it would alone, though some need more trials than others."""
    denoiser = smooth_denoiser(dtype=torch.float64)
    walk, x_t = problem(denoiser)
    together = descend(walk, x_t, rate, 3)[0]
    for b in range(4):
        alone, x_b = problem(denoiser, rows=[b])
        assert torch.allclose(descend(alone, x_b, rate, 3)[0], together[[b]], atol=1e-12)


@torch.no_grad()
def test_an_image_that_cannot_improve_stays(smooth_denoiser):
    """An absurd rate is given up after the cap; NaN in one image neither spreads nor hangs."""
    walk, x_t = problem(smooth_denoiser(dtype=torch.float64))
    assert torch.equal(descend(walk, x_t, 1e15)[0], x_t)
    broken = x_t.clone()
    broken[1] = torch.nan
    moved, whole = (descend(walk, x, 0.1)[0] for x in (broken, x_t))
    assert moved[1].isnan().all()
    assert torch.allclose(moved[[0, 2, 3]], whole[[0, 2, 3]], atol=1e-12)


@pytest.mark.parametrize("G", [0, 1, 2, 3])
@torch.no_grad()
def test_network_calls(smooth_denoiser, G):
    """1 + G calls of an image per step when no trial is rejected."""
    walk, x_t = problem(smooth_denoiser(dtype=torch.float64))
    descend(walk, x_t, 1e-4, G)
    assert (walk.cost.forward, walk.cost.backward) == (4 * (1 + G), 4 * G)


@torch.no_grad()
def test_a_shortened_rate_is_carried(smooth_denoiser):
    """The next step begins with it, and may lengthen it; without carrying it pays for all rejections again."""
    forward = {}
    for carry in (True, False):
        walk, x_t = problem(smooth_denoiser(dtype=torch.float64))
        limits = Descent().limits(walk)
        descend(walk, x_t, 300.0, 1, limits, carry=carry)
        first, shortened = walk.cost.forward, limits.clone()
        assert (shortened < 300).all()
        descend(walk, x_t, 300.0, 1, limits, carry=carry)
        forward[carry] = first, walk.cost.forward - first
    assert forward[False][0] == forward[False][1] == forward[True][0] > 2 * forward[True][1]


def test_nothing_known_is_ddim(smooth_denoiser):
    denoiser = smooth_denoiser()
    schedule = denoiser.schedule.respace(5)
    image, nothing = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    plain = ddim(denoiser, schedule, image, nothing, generator=seeded())
    assert torch.equal(copaint(denoiser, schedule, image, nothing, generator=seeded()), plain)


def test_predictions_agree_with_known_pixels(smooth_denoiser):
    """What CoPaint is for: clean predictions closer to the known pixels than those of DDIM."""
    denoiser = smooth_denoiser()
    schedule = denoiser.schedule.respace(8)
    image = torch.rand(8, 1, 4, 4, generator=seeded(1)) * 1.6 - 0.8
    known = torch.rand(8, 1, 4, 4, generator=seeded(2)) < 0.5
    error = {}
    for sampler in (ddim, copaint):
        last = []
        sampler(
            denoiser,
            schedule,
            image,
            known,
            generator=seeded(),
            callback=lambda step, x_0, _, keep=last: keep.append(x_0),
        )
        error[sampler] = (last[-1] - image)[known].square().mean().item()
    assert error[copaint] < 0.5 * error[ddim]


def test_inside_no_grad_and_with_frozen_weights(smooth_denoiser):
    denoiser = smooth_denoiser().requires_grad_(False)
    schedule = denoiser.schedule.respace(3)
    image, known = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    known[..., 2:] = False
    outside = copaint(denoiser, schedule, image, known, generator=seeded())
    with torch.no_grad():
        inside = copaint(denoiser, schedule, image, known, generator=seeded())
    assert torch.equal(inside, outside)
