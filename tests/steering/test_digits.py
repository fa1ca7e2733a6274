"""The guides on the digits world as shipped: nothing leaks, known pixels stay, and steering pays."""

import copy
import math

import pytest
import torch

import tiramisu_edu
from tiramisu_edu.diffusion.denoiser import Prediction
from tiramisu_edu.diffusion.samplers import SAMPLERS
from tiramisu_edu.diffusion.step import Step
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.beyond.twisted import twist
from tiramisu_edu.steering.evidence import Observation

GUIDES = ("mixture", "difference", "difference-calibrated", "precision", "learned")


@pytest.fixture(scope="module")
def world():
    return tiramisu_edu.load("digits")


@pytest.fixture(scope="module")
def task(world):
    images, _ = world.images("validation", 24)
    known = torch.zeros(24, 1, 8, 8, dtype=torch.bool)
    known[:, :, :4] = True
    return images[:24], known


@pytest.mark.parametrize("guide", GUIDES)
def test_what_is_hidden_is_never_read(world, task, guide):
    images, known = (t[:3] for t in task)
    options = {"guide": guide, "num_inference_steps": 4, "guided_fraction": 1.0}
    found = tiramisu_edu.inpaint(world, images, known, **options)
    blind = tiramisu_edu.inpaint(world, images.masked_fill(~known, math.nan), known, **options)
    assert torch.equal(found.images, blind.images)
    assert torch.equal(found.images[known], images[known]) and found.guide_seconds > 0


@pytest.mark.parametrize("guide", [None, "difference", "mixture"])
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_alone_or_in_a_batch(world, task, sampler, guide):
    """The same image, with every sampler: in float64, since a line search multiplies the rounding of float32."""
    images, known = task[0][:2].double(), task[1][:2]
    exact = copy.copy(world)
    exact.denoiser = copy.deepcopy(world.denoiser).double()

    def repaired(rows):
        seeds = [torch.Generator().manual_seed(row) for row in rows]
        options = {"sampler": sampler, "guide": guide, "num_inference_steps": 3, "generator": seeds}
        return tiramisu_edu.inpaint(exact, images[rows], known[rows], **options).images

    assert (torch.cat([repaired([0]), repaired([1])]) - repaired([0, 1])).abs().max() < 1e-12


def test_learned_weights_restore_noised_images_better_than_either_side(world, task):
    """One step at a middling noise level: the blend's error is below the network's and the circuit's."""
    images, known = task
    i = 600
    x_t = world.schedule.add_noise(images, i, torch.randn(images.shape, generator=torch.Generator().manual_seed(0)))
    prediction = world.denoiser(x_t, i)
    alpha_bar, variance = float(world.schedule.alpha_bar[i]), float(world.schedule.residual_variance[i])
    step = Step(i, 1000, alpha_bar, x_t, prediction, variance, torch.where(known, images, 0.0), known)
    guide = make_guide("learned", world)
    blend = guide(step)
    hidden = ~known
    errors = [float(((x - images)[hidden] ** 2).mean()) for x in (blend, prediction.x_0, guide.circuit_mean)]
    assert errors[0] < min(errors[1:])


def test_the_calibrated_difference_restores_noised_images_better_than_the_derived_one(world, task):
    """At a low noise level, where the circuit's own error is most of what it adds."""
    images, known = task
    x_t = world.schedule.add_noise(images, 200, torch.randn(images.shape, generator=torch.Generator().manual_seed(0)))
    alpha_bar, variance = float(world.schedule.alpha_bar[200]), float(world.schedule.residual_variance[200])
    prediction = world.denoiser(x_t, 200)
    step = Step(200, 1000, alpha_bar, x_t, prediction, variance, torch.where(known, images, 0.0), known)
    guided = [make_guide(name, world)(step) for name in ("difference-calibrated", "difference")]
    errors = [float(((x - images)[~known] ** 2).mean()) for x in (*guided, prediction.x_0)]
    assert errors[0] < min(errors[1:])


def test_the_twist_of_grey_levels_by_autograd(world, task):
    """grad log p_PC(known | x_t) = sqrt(a) / (1 - a) (difference of the posterior means), on the shipped circuit."""
    images, known = (t[:2] for t in task)
    a = 0.4
    x_t = a**0.5 * images + (1 - a) ** 0.5 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    circuit, book = copy.deepcopy(world.circuit).to(torch.float64), world.codebook
    image = torch.where(known, images, 0.0).double()

    def log_twist(x):
        return twist(circuit, book, Observation(x, a, image, known))

    _, shift = log_twist(x_t.double())
    for at in ((0, 0, 1, 2), (1, 0, 6, 3), (0, 0, 5, 5)):  # a known pixel and two hidden ones
        bump = torch.zeros_like(image)
        bump[at] = 1e-4
        slope = (log_twist(x_t.double() + bump)[0] - log_twist(x_t.double() - bump)[0])[at[0]] / 2e-4
        assert float(slope) == pytest.approx(float(a**0.5 / (1 - a) * shift[at]), abs=1e-4)
    still = Step(0, 1, a, x_t.double(), Prediction(torch.zeros_like(image), image), 0.1, image, known)
    assert torch.allclose(DifferenceGuide(circuit, book)(still), shift.clamp(-1, 1), atol=1e-9)


def test_fusion_of_digits_gets_closer_as_coherence_grows(world, task):
    references = task[0][:2]
    errors, log_z = [], []
    for coherence in (0.0, 0.1, 0.9):
        found = tiramisu_edu.fuse(world, references, "left-right", coherence, num_images=4)
        halves = torch.cat([references[:1, ..., :4], references[1:, ..., 4:]], -1)
        errors.append(float((found.images - halves).square().mean()))
        log_z.append(found.log_z)
        assert found.contradiction == pytest.approx(sum(found.log_z_each) - found.log_z)
    assert errors == sorted(errors, reverse=True)
    # log Z is taken against even weights: nothing asked, nothing gained; real halves are likelier than even ones.
    assert abs(log_z[0]) < 1e-4 and 0 < log_z[1] < log_z[2]
    assert errors[-1] < 0.1 * errors[0]
